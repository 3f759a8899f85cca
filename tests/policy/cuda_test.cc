// On a CUDA device: the engine against the CPU engine, training against the CPU's, the engine against the learner. Skipped,
// and says so, where there is none.
#include <torch/torch.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "base/random.h"
#include "base/status_matchers.h"
#include "policy/cuda_library.h"
#include "policy/device_backend.h"
#include "policy/engines.h"
#include "policy/model.h"
#include "policy/torch_fused.h"
#include "tests/policy/architectures.h"
#include "tests/policy/drive_requests.h"

namespace swerve {
namespace {

using torch::Tensor;

const std::string kModel = std::string(SWERVE_SOURCE_DIR) + "/models/tiny";

class Cuda : public testing::Test {
 protected:
  void SetUp() override {
    if (const auto device = OpenDevice("cuda:0"); !device.ok()) GTEST_SKIP() << "no CUDA here: " << device.status();
  }
};
using CudaEngine = Cuda;
using CudaTraining = Cuda;

std::vector<GenerateRequest> Requests(double temperature) { return DriveRequests(6, temperature, 20, 30); }

std::unique_ptr<Engine> MakeEngine(EngineOptions options) {
  options.model_dir = kModel;
  auto engine = CreateEngine(options);
  EXPECT_THAT(engine.status(), IsOk());
  return *std::move(engine);
}

TEST_F(CudaEngine, GeneratesWhatTheCpuEngineGenerates) {
  auto cpu = MakeEngine({}), device = MakeEngine({.device = "cuda:0", .max_batch = 8, .cache_mb = 64});
  for (const double temperature : {0.0, 1.0}) {
    SWERVE_ASSERT_OK_AND_ASSIGN(const auto expected, cpu->Generate(Requests(temperature)));
    SWERVE_ASSERT_OK_AND_ASSIGN(const auto got, device->Generate(Requests(temperature)));
    int tokens = 0, same = 0;
    for (size_t i = 0; i < got.size(); ++i) {
      for (size_t r = 0; r < got[i].responses.size(); ++r) {
        const auto &a = got[i].responses[r], &b = expected[i].responses[r];
        for (int t = 0; t < std::min(a.token_ids_size(), b.token_ids_size()); ++t) {
          ++tokens;
          if (a.token_ids(t) != b.token_ids(t)) break;  // sums in another order: a tie may go the other way, and what follows with it
          ++same;
          EXPECT_NEAR(a.logprobs(t), b.logprobs(t), 1e-4) << i << " " << r << " " << t;
        }
      }
    }
    EXPECT_GT(same, 0.98 * tokens) << temperature;
    EXPECT_GT(tokens, 500);
  }
}

TEST_F(CudaEngine, ManyShortResponsesOfManyPromptsAreAllServed) {
  auto device = MakeEngine({.device = "cuda:0", .dtype = "bfloat16", .max_batch = 32, .cache_mb = 64});
  std::vector<GenerateRequest> requests;
  for (int i = 0; i < 100; ++i) {
    GenerateRequest r = Requests(1.0)[i % 6];
    r.max_new_tokens = 1 + i % 17;
    requests.push_back(std::move(r));
  }
  SWERVE_ASSERT_OK_AND_ASSIGN(const auto got, device->Generate(requests));
  for (size_t i = 0; i < got.size(); ++i) {
    ASSERT_EQ(got[i].responses.size(), requests[i].seeds.size());
    for (const auto& response : got[i].responses) {
      EXPECT_GT(response.token_ids_size(), 0);
      EXPECT_NE(response.finish(), v1::CANCELLED);
    }
  }
}

// Log-probabilities that the engine told and those that the learner computes of the same tokens.
struct GapOf {
  double worst, mean;
};
GapOf Gap(const std::string& dtype) {
  auto engine = MakeEngine({.device = "cuda:0", .dtype = dtype, .max_batch = 16, .cache_mb = 64});
  const auto requests = Requests(1.0);
  auto got = engine->Generate(requests);
  EXPECT_THAT(got.status(), IsOk());
  auto policy = Policy::Load(kModel, torch::Device("cuda:0"), torch::kFloat32, dtype == "float32" ? torch::kFloat32 : torch::kBFloat16);
  EXPECT_THAT(policy.status(), IsOk());
  std::vector<Policy::Row> rows;
  std::vector<float> told;
  for (size_t i = 0; i < got->size(); ++i) {
    for (const auto& r : (*got)[i].responses) {
      rows.push_back({(*got)[i].prompt_ids, {r.token_ids().begin(), r.token_ids().end()}, requests[i].prompt.image});
      told.insert(told.end(), r.logprobs().begin(), r.logprobs().end());
    }
  }
  torch::NoGradGuard constant;
  const Tensor lp = (*policy)->Logprobs(rows, 1.0).to(torch::kCPU);
  double worst = 0, sum = 0;
  for (size_t i = 0; i < told.size(); ++i) {
    const double gap = std::abs(told[i] - lp.data_ptr<float>()[i]);
    worst = std::max(worst, gap), sum += gap;
  }
  return {worst, sum / static_cast<double>(told.size())};
}

TEST_F(CudaEngine, TellsTheLearnersLogProbabilities) {
  EXPECT_LT(Gap("float32").worst, 3e-5);
  const GapOf half = Gap("bfloat16");  // both round to 8 bits, at other places
  EXPECT_LT(half.mean, 0.03);
  EXPECT_LT(half.worst, 1.0);
}

std::vector<Policy::Row> Rows(const Policy& policy) {
  const auto image = Picture();
  std::vector<Policy::Row> rows;
  Random random(3);
  for (int i = 0; i < 9; ++i) {
    Policy::Row row;
    for (int t = 0; t < 20 + 13 * (i / 3); ++t) row.prompt_ids.push_back(static_cast<int32_t>(random.Below(1000)));
    if (i % 3 != 0) row.prompt_ids = rows.back().prompt_ids;  // groups of three share a prompt
    for (int t = 0; t < 1 + 9 * i; ++t) row.response_ids.push_back(static_cast<int32_t>(random.Below(1000)));
    rows.push_back(std::move(row));
  }
  return rows;
}

struct Gradients {
  Tensor logprobs;
  std::map<std::string, Tensor> of;
};
Gradients GradientsOn(const std::string& device, torch::ScalarType compute, bool checkpoint) {
  auto policy = Policy::Load(kModel, torch::Device(device), torch::kFloat32, compute);
  EXPECT_THAT(policy.status(), IsOk());
  (*policy)->FreezeVision(true);
  (*policy)->CheckpointGradients(checkpoint);
  const Tensor lp = (*policy)->Logprobs(Rows(**policy), 1.3);
  lp.backward(torch::linspace(-1, 1, lp.numel()).to(lp.device()));
  Gradients out{lp.detach().to(torch::kCPU), {}};
  for (const auto& p : (*policy)->named_parameters()) {
    if (p.value().grad().defined()) out.of[p.key()] = p.value().grad().to(torch::kCPU);
  }
  return out;
}

void ExpectNear(const Gradients& got, const Gradients& expected, double values, double gradients) {
  EXPECT_LT((got.logprobs - expected.logprobs).abs().max().item<double>(), values);
  ASSERT_EQ(got.of.size(), expected.of.size());
  for (const auto& [name, g] : expected.of) {
    const double scale = g.norm().item<double>();
    EXPECT_LT((got.of.at(name) - g).norm().item<double>(), gradients * scale + 1e-7) << name;
  }
}

TEST_F(CudaTraining, GradientsAreThoseOfTheCpu) {
  const Gradients cpu = GradientsOn("cpu", torch::kFloat32, false);
  ExpectNear(GradientsOn("cuda:0", torch::kFloat32, false), cpu, 1e-4, 1e-4);
  // Products in bfloat16: eight bits of each factor.
  ExpectNear(GradientsOn("cuda:0", torch::kBFloat16, false), cpu, 0.15, 0.05);
  ExpectNear(GradientsOn("cuda:0", torch::kBFloat16, true), cpu, 0.15, 0.05);
}

TEST_F(CudaTraining, EveryArchitectureGivesTransformersLogProbabilities) {
  for (const std::string& name : testing_policy::ArchitectureNames()) {
    const std::string dir = testing_policy::ArchitecturesDir() + "/" + name;
    SWERVE_ASSERT_OK_AND_ASSIGN(auto policy, Policy::Load(dir, torch::Device("cuda:0")));
    torch::NoGradGuard constant;
    for (const auto& c : testing_policy::CasesOf(name, policy->config())) {
      const Tensor lp = torch::log_softmax(policy->Logits(c.ids, c.images), -1).to(torch::kCPU);
      for (size_t t = 0; t + 1 < c.ids.size(); ++t) ASSERT_NEAR(lp[t][c.ids[t + 1]].item<float>(), c.logprobs[t], 2e-4) << name << " " << t;
      EXPECT_EQ(policy->Greedy(c.ids, c.images, static_cast<int>(c.greedy.size())), c.greedy) << name;
    }
  }
}

TEST_F(CudaTraining, FusedOperationsAreWhatTheyAreComposedOf) {
  for (const auto type : {torch::kFloat32, torch::kBFloat16}) {
    const double tolerance = type == torch::kFloat32 ? 1e-5 : 0.03;
    torch::manual_seed(1);
    const Tensor x = torch::randn({37, 6, 64}).to(type), up = torch::randn({37, 6, 64}).to(type), g = torch::randn({37, 6, 64}).to(type);
    const Tensor angle = torch::randn({37, 1, 32}), cos = torch::cat({angle.cos(), angle.cos()}, -1), sin = torch::cat({angle.sin(), angle.sin()}, -1);
    const Tensor rows = torch::randn({150, 136}), weight = torch::randn({136}), gn = torch::randn({150, 136}).to(type);
    auto run = [&](const std::string& device) {
      std::vector<Tensor> out;
      const Tensor r = rows.clone().to(device).requires_grad_(), w = weight.clone().to(device).requires_grad_();
      const Tensor normed = RmsNorm(r, w, 1e-6, type);
      normed.backward(gn.to(device));
      for (const Tensor& t : {normed, r.grad(), w.grad()}) out.push_back(t.detach().to(torch::kCPU, torch::kFloat32));
      Tensor a = x.detach().clone().to(device).requires_grad_(), b = up.detach().clone().to(device).requires_grad_();
      const Tensor rotated = Rotate(a, cos.to(device), sin.to(device)), gated = Swiglu(a, b);
      torch::autograd::backward({rotated, gated}, {g.to(device), g.to(device)});
      for (const Tensor& t : {rotated, gated, a.grad(), b.grad()}) out.push_back(t.detach().to(torch::kCPU, torch::kFloat32));
      return out;
    };
    const auto cpu = run("cpu"), device = run("cuda:0");
    for (size_t i = 0; i < cpu.size(); ++i) EXPECT_LT((cpu[i] - device[i]).abs().max().item<double>(), tolerance * std::max(1.0, cpu[i].abs().max().item<double>())) << i;
  }
}

}  // namespace
}  // namespace swerve
