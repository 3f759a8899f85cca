// Every architecture and layout against transformers: logits, greedy text, gradients; and adapters.
#include <torch/torch.h>

#include "policy/model.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "absl/strings/match.h"
#include "absl/strings/str_replace.h"
#include "base/status_matchers.h"
#include "tests/policy/architectures.h"

namespace swerve {
namespace {

using testing_policy::ArchitectureGolden;
using testing_policy::ArchitecturesDir;
using testing_policy::CasesOf;
using torch::Tensor;

// The models are too small for threads to help.
[[maybe_unused]] const bool kOneThread = (at::set_num_threads(1), true);

Tensor Losses(Policy& policy, const testing_policy::GoldenCase& c) {
  const Tensor lp = torch::log_softmax(policy.Logits(c.ids, c.images), -1);
  const Tensor next = torch::tensor(std::vector<int64_t>(c.ids.begin() + 1, c.ids.end()), torch::kInt64);
  return -lp.narrow(0, 0, next.size(0)).gather(1, next.unsqueeze(1)).squeeze(1);
}

class Architecture : public testing::TestWithParam<std::string> {
 protected:
  std::string dir() const { return ArchitecturesDir() + "/" + GetParam(); }
  std::shared_ptr<Policy> Load(torch::ScalarType dtype = torch::kFloat32) const { return *Policy::Load(dir(), torch::kCPU, dtype); }
};

TEST_P(Architecture, LogitsAndGreedyTextAreThoseOfTransformers) {
  auto policy = Load();
  torch::NoGradGuard constant;
  for (const auto& c : CasesOf(GetParam(), policy->config())) {
    const Tensor logits = policy->Logits(c.ids, c.images);
    for (size_t i = 0; i < c.last_logits.size(); ++i) ASSERT_NEAR(logits[-1][i].item<float>(), c.last_logits[i], 1e-4) << i;
    const Tensor losses = Losses(*policy, c);
    for (size_t t = 0; t < c.logprobs.size(); ++t) EXPECT_NEAR(-losses[t].item<double>(), c.logprobs[t], 1e-4) << t;
    EXPECT_EQ(policy->Greedy(c.ids, c.images, 64), c.greedy);
  }
}

TEST_P(Architecture, GradientsAreThoseOfTransformers) {
  auto policy = Load();
  for (const auto& c : CasesOf(GetParam(), policy->config())) Losses(*policy, c).sum().backward();
  const auto golden = ArchitectureGolden(GetParam())["gradients"];
  double largest = 0;
  for (const auto& g : golden) largest = std::max(largest, g["largest"].get<double>());
  for (const auto& [name, g] : golden.items()) {
    const Tensor grad = policy->weight(name).grad();
    ASSERT_TRUE(grad.defined()) << name;
    const Tensor flat = grad.reshape(-1);
    // What is zero in exact arithmetic (a key's bias) has no scale of its own.
    const double scale = std::max(g["largest"].get<double>(), 1e-4 * largest);
    EXPECT_NEAR(flat.abs().max().item<double>(), g["largest"].get<double>(), 1e-4 * scale) << name;
    for (size_t i = 0; i < g["at"].size(); ++i) EXPECT_NEAR(flat[g["at"][i].get<int64_t>()].item<double>(), g["values"][i].get<double>(), 1e-4 * scale) << name;
  }
}

TEST_P(Architecture, HalfPrecisionStaysNear) {
  auto policy = Load(torch::kBFloat16);
  torch::NoGradGuard constant;
  for (const auto& c : CasesOf(GetParam(), policy->config())) {
    const Tensor losses = Losses(*policy, c);
    double gap = 0;
    for (size_t t = 0; t < c.logprobs.size(); ++t) gap += std::abs(-losses[t].item<double>() - c.logprobs[t]) / c.logprobs.size();
    EXPECT_LT(gap, 0.2);
    EXPECT_GT(gap, 0);
  }
}

TEST_P(Architecture, AdaptersStartAsNothingTrainAloneAndComeBack) {
  auto policy = Load();
  const auto c = CasesOf(GetParam(), policy->config())[0];
  const Tensor before = policy->Logits(c.ids, c.images).detach();
  ASSERT_OK(policy->AddAdapters({.rank = 3, .alpha = 6, .targets = {"q_proj", "down_proj"}}));
  EXPECT_TRUE(torch::equal(policy->Logits(c.ids, c.images), before));
  Losses(*policy, c).sum().backward();
  torch::NoGradGuard constant;
  int trained = 0;
  for (auto& item : policy->named_parameters()) {
    const bool adapter = absl::StrContains(item.key(), "lora_");
    EXPECT_EQ(item.value().grad().defined(), adapter) << item.key();
    if (adapter && item.value().grad().abs().max().item<float>() > 0) ++trained;
    if (adapter) item.value().add_(torch::randn_like(item.value()) * 0.1);
  }
  EXPECT_EQ(trained, 2 * policy->config().text.layers);  // B alone: A's gradient starts at zero
  const Tensor tuned = policy->Logits(c.ids, c.images);
  EXPECT_FALSE(torch::allclose(tuned, before, 1e-3, 1e-3));
  policy->UseAdapters(false);
  EXPECT_TRUE(torch::equal(policy->Logits(c.ids, c.images), before));
  policy->UseAdapters(true);
  const std::string out = testing::TempDir() + "/adapters-" + GetParam();
  ASSERT_OK(policy->SaveAdapters(out + "/adapter"));
  ASSERT_OK(policy->Save(out + "/merged"));
  auto again = Load();
  ASSERT_OK(again->LoadAdapters(out + "/adapter"));
  EXPECT_TRUE(torch::equal(again->Logits(c.ids, c.images), tuned));
  SWERVE_ASSERT_OK_AND_ASSIGN(auto merged, Policy::Load(out + "/merged"));
  EXPECT_TRUE(torch::allclose(merged->Logits(c.ids, c.images), tuned, 1e-4, 1e-4));
}

TEST_P(Architecture, ImagesThatDoNotFitAreAnError) {
  auto policy = Load();
  torch::NoGradGuard constant;
  for (auto c : CasesOf(GetParam(), policy->config())) {
    if (c.images.empty()) continue;
    c.ids.insert(c.ids.end(), {policy->config().image_token_id, 1});
    EXPECT_THROW(policy->Logits(c.ids, c.images), c10::Error);
  }
}

INSTANTIATE_TEST_SUITE_P(All, Architecture, testing::ValuesIn(testing_policy::ArchitectureNames()), [](const auto& info) { return info.param; });

TEST(Adapters, OfAnotherBaseOrKindAreRefusedByName) {
  SWERVE_ASSERT_OK_AND_ASSIGN(auto policy, Policy::Load(ArchitecturesDir() + "/qwen2"));
  const LoraOptions options{.rank = 2, .alpha = 4, .targets = {"k_proj"}};
  EXPECT_THAT(policy->AddAdapters({.rank = 2, .targets = {"fc1"}}), StatusIs(absl::StatusCode::kInvalidArgument, testing::HasSubstr("'fc1'")));
  EXPECT_THAT(policy->AddAdapters({.rank = 0}), StatusIs(absl::StatusCode::kInvalidArgument, testing::HasSubstr("rank")));
  ASSERT_OK(policy->AddAdapters(options));
  const std::string out = testing::TempDir() + "/adapters-refused";
  ASSERT_OK(policy->SaveAdapters(out));
  SWERVE_ASSERT_OK_AND_ASSIGN(auto other, Policy::Load(ArchitecturesDir() + "/qwen2_sharded"));
  EXPECT_THAT(other->LoadAdapters(out), StatusIs(absl::StatusCode::kInvalidArgument, testing::HasSubstr("does not fit the base")));
  const std::string good = *ReadFile(out + "/adapter_config.json");
  SWERVE_ASSERT_OK_AND_ASSIGN(auto fresh, Policy::Load(ArchitecturesDir() + "/qwen2"));
  for (auto [from, to, named] : {std::tuple{"\"use_dora\": false", "\"use_dora\": true", "use_dora"}, {"\"LORA\"", "\"IA3\"", "peft_type"}, {"\"r\": 2", "\"r\": 0", "r = 0"}}) {
    ASSERT_OK(WriteFileAtomically(out + "/adapter_config.json", absl::StrReplaceAll(good, {{from, to}})));
    EXPECT_THAT(fresh->LoadAdapters(out), StatusIs(absl::StatusCode::kInvalidArgument, testing::HasSubstr(named)));
  }
}

}  // namespace
}  // namespace swerve
