// Kernels of CUDA decoding, run on the CPU, against plain sums in double.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <vector>

#include "base/random.h"
#include "tests/testing/emulated_ops.h"

namespace swerve {
namespace {

using device::DrawnRow;
using device::DrawRow;
using device::Shape;
using device::StepRow;

// Values as the device holds them: float, or the upper half of one.
class Buffer {
 public:
  Buffer(bool half, size_t n) : half_(half), floats_(half ? 0 : n), bits_(half ? n : 0) {}
  Buffer(bool half, size_t n, Random* random) : Buffer(half, n) {
    for (size_t i = 0; i < n; ++i) Set(i, static_cast<float>(random->Normal()));
  }
  void Set(size_t i, float v) {
    if (!half_) {
      floats_[i] = v;
      return;
    }
    uint32_t b;
    std::memcpy(&b, &v, 4);
    bits_[i] = static_cast<uint16_t>((b + 0x8000u) >> 16);
  }
  float at(size_t i) const {
    if (!half_) return floats_[i];
    const uint32_t b = uint32_t{bits_[i]} << 16;
    float v;
    std::memcpy(&v, &b, 4);
    return v;
  }
  void* data() { return half_ ? static_cast<void*>(bits_.data()) : floats_.data(); }
  size_t size() const { return half_ ? bits_.size() : floats_.size(); }

 private:
  bool half_;
  std::vector<float> floats_;
  std::vector<uint16_t> bits_;
};

struct Case {
  Shape shape;
  std::vector<std::pair<int, int>> lengths;  // of prompts and own tokens
  int together = 1;                          // rows that share a prompt, the first's
};

class Attention : public testing::TestWithParam<Case> {};

TEST_P(Attention, EqualsPlainSumsOverPagesInAnyOrder) {
  const Shape s = GetParam().shape;
  Random random(5);
  const int rows = static_cast<int>(GetParam().lengths.size()), together = GetParam().together, d = s.head_dim, group = s.heads / s.kv_heads, width = (s.heads + 2 * s.kv_heads) * d;
  std::vector<StepRow> steps(rows);
  std::vector<int32_t> tables;
  int pages = 0;
  for (int r = 0; r < rows; ++r) {
    const int begun = r / together * together, prompt = GetParam().lengths[begun].first, own = GetParam().lengths[r].second, before = (prompt + 63) / 64;
    steps[r] = {1, prompt + own, static_cast<int32_t>(tables.size()), prompt, own};
    if (r % 5 == 4) steps[r].token = -1;  // fills up the graph
    for (int i = 0; i < before; ++i) tables.push_back(r == begun ? pages++ : tables[steps[begun].table + i]);
    for (int i = 0; i < (own + 64) / 64; ++i) tables.push_back(pages++);
  }
  std::vector<int32_t> shuffled(pages);
  std::iota(shuffled.begin(), shuffled.end(), 0);
  for (size_t i = shuffled.size(); i > 1; --i) std::swap(shuffled[i - 1], shuffled[random.Below(i)]);
  for (int32_t& page : tables) page = shuffled[page];
  // Rows of one prompt, the last first; those that only fill up are in none.
  std::vector<int32_t> cohorts(3 * rows);
  for (int r = 0, at = 0, cohort = -1; r < rows; r += together) {
    for (int i = std::min(rows, r + together) - 1, in = 0; i >= r; --i) {
      if (steps[i].token < 0) continue;
      if (in++ % device::CohortRows(s) == 0) cohorts[rows + ++cohort] = at;
      ++cohorts[2 * rows + cohort];
      cohorts[at++] = i;
    }
  }
  const size_t slots = static_cast<size_t>(pages) * device::kPage;
  Buffer keys(s.half, slots * s.kv_heads * d, &random), values(s.half, slots * s.kv_heads * d, &random), qkv(s.half, static_cast<size_t>(rows) * width, &random);
  Buffer out(s.half, static_cast<size_t>(rows) * s.heads * d);
  // What lies beyond a sequence must not matter.
  std::vector<bool> used(slots);
  auto slot_of = [&](const StepRow& row, int t) {
    const int own = t - row.prompt, before = (row.prompt + 63) / 64;
    return own < 0 ? tables[row.table + t / 64] * 64 + t % 64 : tables[row.table + before + own / 64] * 64 + own % 64;
  };
  for (const StepRow& row : steps) {
    for (int t = 0; t <= row.prompt + row.own; ++t) used[slot_of(row, t)] = true;
  }
  for (size_t slot = 0; slot < slots; ++slot) {
    for (int i = 0; i < s.kv_heads * d && !used[slot]; ++i) {
      keys.Set(slot * s.kv_heads * d + i, NAN);
      values.Set(slot * s.kv_heads * d + i, NAN);
    }
  }
  std::vector<float> partial(device::PartialFloats(s, rows), NAN);
  std::vector<int32_t> arrivals(static_cast<size_t>(rows) * s.kv_heads);
  auto ops = EmulatedOps();
  for (int again = 0; again < 2; ++again) {  // arrivals are ready for the next step
    ops->Attend(s, steps.data(), tables.data(), cohorts.data(), rows, qkv.data(), keys.data(), values.data(), partial.data(), arrivals.data(), out.data());
  }
  const double tolerance = s.half ? 0.02 : 2e-6;  // bf16 keeps 8 bits
  for (int r = 0; r < rows; ++r) {
    if (steps[r].token < 0) continue;
    for (int h = 0; h < s.heads; ++h) {
      const int length = steps[r].prompt + steps[r].own + 1;
      std::vector<double> weights(length), mixed(d);
      double top = -1e30, sum = 0;
      auto base = [&](int t) { return (static_cast<size_t>(slot_of(steps[r], t)) * s.kv_heads + h / group) * d; };
      for (int t = 0; t < length; ++t) {
        for (int j = 0; j < d; ++j) weights[t] += qkv.at(static_cast<size_t>(r) * width + h * d + j) * static_cast<double>(keys.at(base(t) + j)) / std::sqrt(d);
        top = std::max(top, weights[t]);
      }
      for (double& w : weights) sum += w = std::exp(w - top);
      for (int t = 0; t < length; ++t) {
        for (int j = 0; j < d; ++j) mixed[j] += weights[t] / sum * values.at(base(t) + j);
      }
      for (int j = 0; j < d; ++j) ASSERT_NEAR(out.at((static_cast<size_t>(r) * s.heads + h) * d + j), mixed[j], tolerance) << r << " " << h << " " << j;
    }
  }
}

std::vector<std::pair<int, int>> Many(int count, int prompt) {
  std::vector<std::pair<int, int>> out;
  for (int i = 0; i < count; ++i) out.push_back({prompt + i % 7, i * 11 % 150});
  return out;
}

INSTANTIATE_TEST_SUITE_P(Shapes, Attention, testing::Values(
    Case{{false, 0, 4, 2, 32}, {{1, 0}, {63, 0}, {64, 1}, {65, 130}, {300, 5}, {2, 2}}},
    Case{{true, 0, 4, 2, 32}, {{1, 0}, {63, 0}, {64, 1}, {65, 130}, {300, 5}, {2, 2}}},
    Case{{true, 0, 14, 2, 64}, {{70, 3}, {5, 200}, {70, 4}, {70, 5}}, 4},  // Qwen2.5-0.5B
    Case{{true, 0, 12, 2, 128}, {{600, 70}, {1, 1}}},                      // Qwen2.5-1.5B
    Case{{true, 0, 12, 2, 128}, Many(64, 90), 24},                         // cohorts larger than a block takes
    Case{{true, 0, 4, 4, 32}, Many(40, 33)},                               // more cohorts than blocks beside each other
    Case{{false, 0, 10, 1, 128}, {{33, 40}}},                              // more query heads than a block takes at once
    Case{{true, 0, 20, 1, 64}, {{33, 40}, {80, 1}}},
    Case{{true, 0, 2, 2, 32}, {{640, 0}}}));

TEST(Place, AddsBiasRotatesAndStores) {
  const Shape s{false, 0, 4, 2, 32};
  Random random(6);
  const int d = 32, width = 8 * d;
  Buffer qkv(false, 2 * width, &random), bias(false, width, &random), keys(false, 192 * 2 * d), values(false, 192 * 2 * d);
  std::vector<float> before(2 * width), frequencies(16);
  for (size_t i = 0; i < before.size(); ++i) before[i] = qkv.at(i);
  for (int i = 0; i < 16; ++i) frequencies[i] = std::pow(10000.0f, -2.0f * i / d);
  const StepRow steps[] = {{-1, 0, 0, 0, 0}, {3, 1234, 1, 65, 64}};  // the first fills up the graph
  const int32_t tables[] = {9, 0, 1, 9, 2};
  EmulatedOps()->Place(s, steps, tables, 2, qkv.data(), bias.data(), frequencies.data(), keys.data(), values.data());
  for (int i = 0; i < width; ++i) ASSERT_EQ(qkv.at(i), before[i]);
  const int slot = 2 * 64;  // pages 0 and 1 are the prompt's, the third in the row's table is full
  for (int head = 0; head < 8; ++head) {
    for (int j = 0; j < 16; ++j) {
      const int at = head * d + j;
      const double a = before[width + at] + bias.at(at), b = before[width + at + 16] + bias.at(at + 16), angle = 1234 * frequencies[j];
      const bool rotated = head < 6;
      const double x = rotated ? a * std::cos(angle) - b * std::sin(angle) : a, y = rotated ? b * std::cos(angle) + a * std::sin(angle) : b;
      auto got = [&](int k) {
        if (head < 4) return qkv.at(width + at + k);
        return (head < 6 ? keys : values).at((slot * 2 + head % 2) * d + j + k);
      };
      // float32 angles of a thousand turns keep four digits
      ASSERT_NEAR(got(0), x, 1e-3) << head << " " << j;
      ASSERT_NEAR(got(16), y, 1e-3) << head << " " << j;
    }
  }
}

TEST(RmsNormAndSwiglu, EqualPlainSums) {
  for (const bool half : {false, true}) {
    Shape s{half, 136, 1, 1, 32, 70};
    s.eps = 1e-6f;
    Random random(7);
    std::vector<float> x(3 * 136), weight(136);
    for (float& v : x) v = static_cast<float>(random.Normal());
    for (float& v : weight) v = static_cast<float>(random.Normal());
    Buffer n(half, 3 * 136), gate_up(half, 3 * 140, &random), out(half, 3 * 70);
    auto ops = EmulatedOps();
    ops->RmsNorm(s, x.data(), weight.data(), 3, n.data());
    ops->Swiglu(s, gate_up.data(), 3, out.data());
    const double tolerance = half ? 0.03 : 1e-5;
    for (int r = 0; r < 3; ++r) {
      double squares = 0;
      for (int i = 0; i < 136; ++i) squares += x[r * 136 + i] * x[r * 136 + i] / 136;
      for (int i = 0; i < 136; ++i) ASSERT_NEAR(n.at(r * 136 + i), x[r * 136 + i] / std::sqrt(squares + 1e-6) * weight[i], tolerance);
      for (int i = 0; i < 70; ++i) {
        const double g = gate_up.at(r * 140 + i), u = gate_up.at(r * 140 + 70 + i);
        ASSERT_NEAR(out.at(r * 70 + i), g / (1 + std::exp(-g)) * u, tolerance);
      }
    }
  }
}

TEST(Sample, DrawsByTheCumulativeMassAndTellsTheLogProbability) {
  for (const int vocab : {5, 1024, 9000}) {
    Shape s{};
    s.vocab = vocab;
    Random random(8);
    std::vector<float> logits(2 * vocab);
    for (float& v : logits) v = static_cast<float>(3 * random.Normal());
    logits[vocab / 2] = -INFINITY;
    std::vector<DrawRow> draws;
    for (int i = 0; i < 40; ++i) draws.push_back({i % 2, i % 5 == 0 ? 0.0f : 0.5f + i % 3, i == 39 ? 0.999999999999 : i == 38 ? 0.0 : random.Uniform()});
    draws[3].logits = -1;
    std::vector<float> partial(device::SamplePartialFloats(s, 40), NAN);
    std::vector<DrawnRow> drawn(40, DrawnRow{-7, 0});
    EmulatedOps()->Sample(s, draws.data(), 40, logits.data(), vocab, partial.data(), drawn.data());
    EXPECT_EQ(drawn[3].token, -7);
    for (int i = 0; i < 40; ++i) {
      if (i == 3) continue;
      const float* row = logits.data() + draws[i].logits * vocab;
      const double scale = draws[i].scale > 0 ? draws[i].scale : 1;
      std::vector<double> p(vocab);
      double sum = 0;
      for (int j = 0; j < vocab; ++j) sum += p[j] = std::exp(row[j] * scale);
      double below = 0;
      for (int j = 0; j < drawn[i].token; ++j) below += p[j];
      if (draws[i].scale == 0) {
        EXPECT_EQ(drawn[i].token, std::max_element(row, row + vocab) - row);
      } else {
        // sums of thousands of floats, taken in another order
        EXPECT_LE(below / sum, draws[i].uniform + 1e-6) << vocab << " " << i;
        EXPECT_GE((below + p[drawn[i].token]) / sum, draws[i].uniform - 1e-6) << vocab << " " << i;
      }
      EXPECT_NEAR(drawn[i].logprob, row[drawn[i].token] * scale - std::log(sum), 2e-5);
    }
  }
}

}  // namespace
}  // namespace swerve
