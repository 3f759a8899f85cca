#include <torch/torch.h>

#include "policy/model.h"

#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>

#include "base/files.h"
#include "base/random.h"
#include "base/status_matchers.h"
#include "policy/engine.h"
#include "policy/prompt_input.h"
#include "policy/token_logprobs.h"

namespace swerve {
namespace {

using Json = nlohmann::json;
const std::string kData = std::string(SWERVE_SOURCE_DIR) + "/tests/policy/data";
const std::string kModel = kData + "/model";

std::shared_ptr<const Image> Picture() {
  auto image = std::make_shared<Image>(Image{56, 56, {}});
  for (int i = 0; i < 56 * 56 * 3; ++i) image->rgb.push_back(static_cast<uint8_t>((7 * i + i / 256) % 256));
  return image;
}

// The models are too small for threads to help.
[[maybe_unused]] const bool kOneThread = (at::set_num_threads(1), true);

std::vector<Policy::Row> SampledRows(double temperature, std::vector<float>* logprobs) {
  auto engine = *CreateLocalEngine({.model_dir = kModel});
  std::vector<GenerateRequest> requests;
  for (int i = 0; i < 3; ++i) {
    requests.push_back({.prompt = {.text = std::string(i * 9, 'a') + " drive.", .image = i == 1 ? nullptr : Picture()},
                        .seeds = {1, 2, 3}, .temperature = temperature, .max_new_tokens = 12 * (i + 1)});
  }
  auto results = *engine->Generate(requests);
  std::vector<Policy::Row> rows;
  for (int i = 0; i < 3; ++i) {
    for (const auto& r : results[i].responses) {
      rows.push_back({results[i].prompt_ids, {r.token_ids().begin(), r.token_ids().end()}, requests[i].prompt.image});
      logprobs->insert(logprobs->end(), r.logprobs().begin(), r.logprobs().end());
    }
  }
  return rows;
}

TEST(Policy, ComputesWhatTransformersComputes) {
  SWERVE_ASSERT_OK_AND_ASSIGN(auto policy, Policy::Load(kModel));
  const Json golden = Json::parse(*ReadFile(kData + "/golden.json"));
  SWERVE_ASSERT_OK_AND_ASSIGN(ProcessedImage picture, VisionInput(policy->config(), *Picture()));
  const Policy::Images one{std::make_shared<const ProcessedImage>(std::move(picture))}, none;
  torch::NoGradGuard no_grad;
  for (const Json& c : golden["cases"]) {
    const auto ids = c["ids"].get<std::vector<int32_t>>();
    torch::Tensor lp = torch::log_softmax(policy->Logits(ids, c["image"].get<bool>() ? one : none), -1);
    for (size_t t = 1; t < ids.size(); ++t) {
      EXPECT_NEAR(lp.index({static_cast<int64_t>(t) - 1, ids[t]}).item<double>(), c["logprobs"][t - 1].get<double>(), 1e-5);
    }
  }
}

TEST(Policy, AgreesWithTheEngineThatSampled) {
  SWERVE_ASSERT_OK_AND_ASSIGN(auto policy, Policy::Load(kModel));
  std::vector<float> sampled;
  const auto rows = SampledRows(1.3, &sampled);
  ASSERT_OK(policy->Check(rows));
  torch::Tensor lp = policy->Logprobs(rows, 1.3);
  ASSERT_EQ(lp.size(0), static_cast<int64_t>(sampled.size()));
  for (size_t i = 0; i < sampled.size(); ++i) EXPECT_NEAR(lp[i].item<float>(), sampled[i], 1e-5);
}

TEST(Policy, SharingAPromptChangesNeitherValuesNorGradients) {
  SWERVE_ASSERT_OK_AND_ASSIGN(auto policy, Policy::Load(kModel));
  std::vector<float> sampled;
  const auto rows = SampledRows(1.0, &sampled);
  auto gradients = [&] {
    std::vector<torch::Tensor> out;
    for (auto& p : policy->parameters()) {
      out.push_back(p.grad().defined() ? p.grad().clone() : torch::zeros_like(p));
      p.mutable_grad() = torch::Tensor();
    }
    return out;
  };
  torch::Tensor together = policy->Logprobs(rows, 1.0);
  torch::Tensor weights = torch::linspace(-1, 1, together.size(0));
  (together * weights).sum().backward();
  const auto want = gradients();
  int64_t at = 0;
  for (const auto& row : rows) {
    torch::Tensor alone = policy->Logprobs({&row, 1}, 1.0);
    EXPECT_TRUE(torch::allclose(alone, together.narrow(0, at, alone.size(0)), 1e-5, 1e-5));
    (alone * weights.narrow(0, at, alone.size(0))).sum().backward();
    at += alone.size(0);
  }
  const auto got = gradients();
  for (size_t i = 0; i < want.size(); ++i) EXPECT_TRUE(torch::allclose(got[i], want[i], 1e-3, 1e-4)) << i;
}

// Of the whole policy, vision frozen as in training; and of adapters, under which no input of a layer wants a gradient at first.
TEST(Policy, CheckpointingGivesTheSameBitsOfValuesAndGradients) {
  std::vector<float> sampled;
  const auto rows = SampledRows(1.0, &sampled);
  for (const bool adapters : {false, true}) {
    std::vector<torch::Tensor> values;
    std::vector<std::map<std::string, torch::Tensor>> gradients;
    for (const bool on : {false, true}) {
      SWERVE_ASSERT_OK_AND_ASSIGN(auto policy, Policy::Load(kModel));
      policy->FreezeVision(true);
      if (adapters) {
        ASSERT_OK(policy->AddAdapters({.rank = 4, .seed = 3}));
      }
      policy->CheckpointGradients(on);
      const torch::Tensor lp = policy->Logprobs(rows, 1.2);
      lp.backward(torch::linspace(-1, 1, lp.size(0)));
      values.push_back(lp.detach());
      gradients.emplace_back();
      for (const auto& item : policy->named_parameters()) {
        if (item.value().grad().defined()) gradients.back()[item.key()] = item.value().grad();
      }
    }
    EXPECT_TRUE(torch::equal(values[0], values[1]));
    EXPECT_GT(gradients[0].size(), 10u);
    ASSERT_EQ(gradients[0].size(), gradients[1].size());
    for (const auto& [name, gradient] : gradients[0]) EXPECT_TRUE(torch::equal(gradient, gradients[1].at(name))) << name;
  }
}

TEST(Policy, FrozenVisionTakesNoGradient) {
  SWERVE_ASSERT_OK_AND_ASSIGN(auto policy, Policy::Load(kModel));
  std::vector<float> sampled;
  const auto rows = SampledRows(1.0, &sampled);
  torch::Tensor before = policy->Logprobs(rows, 1.0);
  policy->FreezeVision(true);
  EXPECT_TRUE(torch::equal(policy->Logprobs(rows, 1.0), before));
  policy->SftLoss(rows).backward();
  EXPECT_FALSE(policy->weight("vision_tower.embeddings.cls_token").grad().defined());
  EXPECT_FALSE(policy->weight("multi_modal_projector.linear_2.weight").grad().defined());
  EXPECT_TRUE(policy->weight("language_model.model.norm.weight").grad().defined());
  policy->FreezeVision(false);
  policy->SftLoss(rows).backward();
  EXPECT_TRUE(policy->weight("vision_tower.embeddings.cls_token").grad().defined());
}

TEST(Policy, SavesWhatItAndTheEngineLoad) {
  SWERVE_ASSERT_OK_AND_ASSIGN(auto policy, Policy::Load(kModel));
  {
    torch::NoGradGuard no_grad;
    for (auto& p : policy->parameters()) p.mul_(1.01);
  }
  const std::string dir = testing::TempDir() + "/policy_test_saved/v1";
  ASSERT_OK(policy->Save(dir));
  ASSERT_OK(policy->Save(dir));  // again, over itself
  SWERVE_ASSERT_OK_AND_ASSIGN(auto again, Policy::Load(dir));
  const auto a = policy->named_parameters(), b = again->named_parameters();
  ASSERT_EQ(a.size(), b.size());
  for (const auto& item : a) EXPECT_TRUE(torch::equal(item.value(), b[item.key()])) << item.key();
  SWERVE_ASSERT_OK_AND_ASSIGN(auto engine, CreateLocalEngine({.model_dir = dir}));
  EXPECT_EQ(engine->image_size(), 56);
}

TEST(Policy, RefusesRowsByNumber) {
  SWERVE_ASSERT_OK_AND_ASSIGN(auto policy, Policy::Load(kModel));
  std::vector<Policy::Row> rows{{{1, 2}, {3}, nullptr}, {{1, 5000}, {3}, nullptr}};
  EXPECT_THAT(policy->Check(rows), StatusIs(absl::StatusCode::kInvalidArgument, testing::HasSubstr("row 1")));
  rows = {{{1, 2}, {3}, Picture()}};
  EXPECT_THAT(policy->Check(rows), StatusIs(absl::StatusCode::kInvalidArgument, testing::HasSubstr("placeholder")));
  rows = {{{1, 2}, {}, nullptr}};
  EXPECT_FALSE(policy->Check(rows).ok());
}

TEST(TokenLogprobs, ChunksGiveTheValuesAndGradientsOfTheWhole) {
  torch::manual_seed(3);
  for (double temperature : {1.0, 0.7}) {
    const torch::Tensor targets = torch::randint(0, 50, {11}), upstream = torch::randn({11});
    std::vector<torch::Tensor> results;
    const torch::Tensor h0 = torch::randn({11, 6}), w0 = torch::randn({50, 6});
    for (int64_t chunk : {int64_t{1} << 24, int64_t{150}, int64_t{1}}) {  // whole, three rows at a time, one
      torch::Tensor h = h0.clone().requires_grad_(), w = w0.clone().requires_grad_();
      torch::Tensor lp = TokenLogprobs(h, w, targets, temperature, chunk);
      lp.backward(upstream);
      for (const torch::Tensor& t : {lp.detach(), h.grad(), w.grad()}) results.push_back(t);
    }
    for (size_t i = 3; i < results.size(); ++i) EXPECT_TRUE(torch::allclose(results[i], results[i % 3], 1e-5, 1e-6)) << i;
  }
  // A frozen head, as under adapters.
  torch::Tensor h = torch::randn({4, 6}).requires_grad_(), w = torch::randn({50, 6});
  TokenLogprobs(h, w, torch::arange(4), 1.0, 60).sum().backward();
  EXPECT_TRUE(h.grad().defined());
}

}  // namespace
}  // namespace swerve
