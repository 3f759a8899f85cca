// The engine's model and its kernels beyond what goldens say (engine_test.cc): instruction sets, bf16, teams, sampling.
#include "policy/fused_model.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <numeric>

#include "base/random.h"
#include "base/status_matchers.h"
#include "policy/bench_input.h"
#include "policy/checkpoint.h"
#include "policy/sampler.h"

namespace swerve {
namespace {

const std::string kModel = std::string(SWERVE_SOURCE_DIR) + "/models/tiny";

std::vector<float> Floats(int64_t n, uint64_t seed) {
  Random random(seed);
  std::vector<float> out(n);
  for (float& x : out) x = static_cast<float>(random.Uniform(-1, 1));
  return out;
}

// Rows around every tile's size, columns that are no whole pair of panels, k beyond one part of it and no multiple of
// anything but two.
TEST(Kernels, MultiplyAsDoublesDo) {
  for (const kernels::Table* table : kernels::Supported()) {
    for (const auto& [m, n, k] : {std::tuple{1, 16, 2}, {7, 48, 130}, {12, 272, 96}, {13, 40, 1030}, {29, 16, 514}, {251, 304, 518}}) {
      const int64_t padded = kernels::Padded(n);
      const std::vector<float> a = Floats(m * k, 1), w = Floats(int64_t{n} * k, 2), bias = Floats(padded, 3), held = Floats(m * padded, 4);
      std::vector<float> packed(padded * k);
      std::vector<uint16_t> half(padded * k), a16(a.size());
      kernels::Pack(w.data(), n, k, packed.data());
      kernels::PackBf16(w.data(), n, k, half.data());
      table->to_bf16(a.data(), m * k, a16.data());
      for (const bool add : {false, true}) {
        std::vector<float> c = held, c16 = held;
        table->gemm(a.data(), k, m, packed.data(), static_cast<int>(padded), k, bias.data(), c.data(), padded, add);
        table->gemm16(a16.data(), k, m, half.data(), static_cast<int>(padded), k, bias.data(), c16.data(), padded, add);
        for (int i = 0; i < m; i += 3) {
          for (int j = 0; j < n; ++j) {
            double want = bias[j] + (add ? held[i * padded + j] : 0);
            for (int p = 0; p < k; ++p) want += static_cast<double>(a[i * k + p]) * w[int64_t{j} * k + p];
            // Rounding of k terms below 1; bf16 keeps 8 bits of each factor.
            ASSERT_NEAR(c[i * padded + j], want, 1e-6 * std::sqrt(k) * 4) << table->name << " " << m << "x" << n << "x" << k;
            ASSERT_NEAR(c16[i * padded + j], want, 5e-3 * std::sqrt(k)) << table->name << " " << m << "x" << n << "x" << k;
          }
        }
      }
    }
  }
}

TEST(Kernels, RoundToBf16ToTheNearestTiesToEven) {
  const std::vector<float> x = {1.0f, 1.00390625f, 1.01171875f, 1.005f, -3.0e38f, 3.4e38f, 0.0f, std::nanf("")};
  for (const kernels::Table* table : kernels::Supported()) {
    std::vector<uint16_t> out(x.size());
    table->to_bf16(x.data(), static_cast<int64_t>(x.size()), out.data());
    EXPECT_EQ(std::vector<uint16_t>(out.begin(), out.begin() + 7), (std::vector<uint16_t>{0x3f80, 0x3f80, 0x3f82, 0x3f81, 0xff62, 0x7f80, 0})) << table->name;
    EXPECT_GT(out[7] & 0x7fff, 0x7f80) << "not a number any longer";
  }
}

TEST(Kernels, FindTheFirstOfTheLargest) {
  for (const kernels::Table* table : kernels::Supported()) {
    for (const int n : {1, 15, 16, 17, 255, 256, 257, 1000, 4099}) {
      std::vector<float> x = Floats(n, 7);
      for (const int at : {0, n / 3, n / 2, n - 1}) {
        const std::vector<float> before = x;
        for (int i = at; i < n; i += 7) x[i] = 2;  // and none before it
        EXPECT_EQ(table->largest(x.data(), n), at) << table->name << " " << n;
        x = before;
      }
      const std::vector<float> low(n, -1e30f);
      EXPECT_EQ(table->largest(low.data(), n), 0) << table->name << " " << n;
    }
  }
}

// Halves of heads that are whole vectors, parts of one, and both.
TEST(Kernels, RotateAndScaleInPlace) {
  for (const kernels::Table* table : kernels::Supported()) {
    for (const int d : {8, 24, 32, 72, 128}) {
      const std::vector<float> x = Floats(3 * d, 8), cos = Floats(d / 2, 9), sin = Floats(d / 2, 10);
      std::vector<float> y = x;
      table->rope(y.data(), 3, d, cos.data(), sin.data(), 0.3f);
      for (int h = 0; h < 3; ++h) {
        for (int i = 0; i < d / 2; ++i) {
          const double a = x[h * d + i], b = x[h * d + i + d / 2];
          EXPECT_NEAR(y[h * d + i], 0.3 * (a * cos[i] - b * sin[i]), 1e-7) << table->name << " " << d;
          EXPECT_NEAR(y[h * d + i + d / 2], 0.3 * (b * cos[i] + a * sin[i]), 1e-7) << table->name << " " << d;
        }
      }
    }
  }
}

// Values far apart, far below the largest, and one alone; sums as doubles keep them.
TEST(Kernels, SumExponentials) {
  for (const kernels::Table* table : kernels::Supported()) {
    for (const int n : {1, 16, 77, 5000}) {
      std::vector<float> x = Floats(n, 11);
      for (float& v : x) v = 12 * v + 3;
      if (n > 50) x[20] = -300;
      const std::vector<float> before = x;
      x.resize(n + 16);
      float max = 0;
      const double sum = table->exp_sum(x.data(), n, &max);
      ASSERT_EQ(max, *std::max_element(before.begin(), before.end())) << table->name;
      double want = 0;
      for (const float v : before) want += std::exp(static_cast<double>(v) - max);
      EXPECT_NEAR(sum, want, 3e-7 * want) << table->name << " " << n;  // each within 2 ulp
      for (int i = 0; i < n; ++i) ASSERT_NEAR(x[i], std::exp(static_cast<double>(before[i]) - max), 2e-7) << table->name;
      if (n > 50) {
        EXPECT_EQ(x[20], 0) << table->name;
      }
    }
  }
}

struct Outcome {
  std::vector<float> prefill, step;
};

// A prompt and a step of three rows after it.
Outcome Compute(const FusedModel& model, Team* team) {
  FusedModel::Scratch scratch;
  scratch.team = team;
  Outcome out;
  out.prefill.resize(model.logit_stride());
  out.step.resize(3 * model.logit_stride());
  FusedModel::Cache prompt;
  std::vector<int32_t> ids = BenchIds(model.config(), 150, 5);
  std::replace(ids.begin(), ids.end(), model.config().image_token_id, 7);
  EXPECT_OK(model.Prefill(ids, {}, &prompt, out.prefill.data(), &scratch));
  FusedModel::Row rows[3];
  FusedModel::Row* which[3];
  for (int i = 0; i < 3; ++i) rows[i].prompt = &prompt, rows[i].own.Reset(model, 8), which[i] = &rows[i];
  for (int s = 0; s < 3; ++s) {
    const int32_t tokens[] = {11 + s, 12, 13};
    model.Step(which, tokens, out.step.data(), &scratch);
  }
  return out;
}

std::shared_ptr<const FusedModel> Load(FusedModel::Precision precision, const kernels::Table& table = kernels::Best()) {
  auto config = LoadModelConfig(kModel);
  EXPECT_OK(config.status());
  auto tensors = MapTensors(kModel, *config);
  EXPECT_OK(tensors.status());
  auto model = FusedModel::Create(*config, *tensors, precision, table);
  EXPECT_OK(model.status());
  return *model;
}

// Differences of log-probabilities, so that what shifts all logits alike does not count.
double Distance(const std::vector<float>& a, const std::vector<float>& b, int vocab) {
  auto normal = [vocab](std::vector<float> v) {
    double sum = 0;
    for (int i = 0; i < vocab; ++i) sum += std::exp(v[i]);
    for (float& x : v) x -= static_cast<float>(std::log(sum));
    return v;
  };
  const std::vector<float> x = normal(a), y = normal(b);
  double most = 0;
  for (int i = 0; i < vocab; ++i) most = std::max<double>(most, std::abs(x[i] - y[i]) * std::exp(std::max(x[i], y[i]) / 2));
  return most;
}

TEST(FusedModel, ATeamComputesTheSameBits) {
  for (const auto precision : {FusedModel::Precision::kFloat32, FusedModel::Precision::kBfloat16}) {
    const auto model = Load(precision);
    const Outcome alone = Compute(*model, nullptr);
    for (const int size : {1, 2, 3, 5}) {
      Team team(size);
      const Outcome together = Compute(*model, &team);
      EXPECT_EQ(together.prefill, alone.prefill) << size;
      EXPECT_EQ(together.step, alone.step) << size;
    }
  }
}

TEST(FusedModel, Bf16IsTheSameModelLessPrecisely) {
  const Outcome whole = Compute(*Load(FusedModel::Precision::kFloat32), nullptr);
  for (const kernels::Table* table : kernels::Supported()) {
    const auto model = Load(FusedModel::Precision::kBfloat16, *table);
    const int vocab = model->config().text.vocab;
    const Outcome half = Compute(*model, nullptr);
    // 8 bits a factor through four layers: a few per cent of a probability's root. Seen: 0.01.
    EXPECT_LT(Distance(half.prefill, whole.prefill, vocab), 0.05) << table->name;
    EXPECT_GT(Distance(half.prefill, whole.prefill, vocab), 0) << "is it bf16 at all?";
    EXPECT_EQ(std::max_element(half.prefill.begin(), half.prefill.begin() + vocab) - half.prefill.begin(),
              std::max_element(whole.prefill.begin(), whole.prefill.begin() + vocab) - whole.prefill.begin());
  }
}

TEST(Team, EveryMemberWorksOnceARoundAndNothingOverlapsRounds) {
  Team team(4);
  std::vector<int> counts(4);
  std::atomic<int> inside{0};
  for (int round = 0; round < 2000; ++round) {
    team.Run([&](int member) {
      ++inside;
      ++counts[member];
    });
    ASSERT_EQ(inside.exchange(0), 4);
  }
  EXPECT_EQ(counts, std::vector<int>(4, 2000));
}

TEST(Sampler, DrawsTheTokenWhoseShareHoldsTheNumber) {
  for (const int vocab : {1, 5, 256, 257, 1000, 70000}) {
    std::vector<float> logits = Floats(vocab, vocab);
    for (float& x : logits) x *= 6;
    std::vector<float> scratch;
    const GenerateRequest request{.temperature = 0.8};
    std::vector<double> cumulative(vocab);
    double sum = 0;
    for (int i = 0; i < vocab; ++i) cumulative[i] = sum += std::exp(logits[i] / 0.8);
    Random random(9);
    for (int t = 0; t < 300; ++t) {
      const double u = t == 0 ? 0 : t == 1 ? std::nextafter(1.0, 0.0) : random.Uniform();
      const DrawnToken drawn = DrawToken(logits.data(), vocab, request, u, &scratch);
      const int id = drawn.token.id;
      ASSERT_GE(id, 0);
      ASSERT_LT(id, vocab);
      EXPECT_GE(cumulative[id], u * sum * (1 - 1e-5)) << vocab;
      EXPECT_LE(id == 0 ? 0 : cumulative[id - 1], u * sum * (1 + 1e-5)) << vocab;
      EXPECT_NEAR(drawn.token.logprob, logits[id] / 0.8 - std::log(sum), 1e-4);
    }
    const int best = static_cast<int>(std::max_element(logits.begin(), logits.end()) - logits.begin());
    EXPECT_EQ(DrawToken(logits.data(), vocab, {.temperature = 0}, 0.5, &scratch).token.id, best);
  }
}

}  // namespace
}  // namespace swerve
