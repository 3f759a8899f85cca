// Many callers of one engine: their requests are continued together, under a bound on memory, while weights change.
#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "base/status_matchers.h"
#include "policy/checkpoint.h"
#include "policy/engine.h"
#include "policy/fused_model.h"

namespace swerve {
namespace {

const std::string kModel = std::string(SWERVE_SOURCE_DIR) + "/tests/policy/data/model";

std::unique_ptr<Engine> Make(EngineOptions options) {
  options.model_dir = kModel;
  auto engine = CreateLocalEngine(options);
  EXPECT_OK(engine.status());
  return *std::move(engine);
}

GenerateRequest Ask(int number, int tokens) {
  return {.prompt = {.text = absl::StrCat("speed ", number, ".5. drive.")}, .seeds = {1, 2}, .temperature = 1.2, .max_new_tokens = tokens};
}

GenerateResult Generate(Engine& engine, const GenerateRequest& request) {
  auto results = engine.Generate({&request, 1});
  EXPECT_OK(results.status());
  return std::move((*results)[0]);
}

// Other weights of the same model.
v1::PolicyManifest OtherWeights(int64_t version) {
  const std::string dir = absl::StrCat(testing::TempDir(), "/engine_callers_weights_", getpid());
  if (!std::filesystem::exists(dir)) {
    auto config = LoadModelConfig(kModel);
    auto tensors = LoadTensors(kModel, *config);
    std::vector<NamedTensor> named;
    for (auto& [name, t] : *tensors) {
      for (float& v : t.data) v *= 1.5f;
      named.push_back({name, t.shape, t.data.data()});
    }
    EXPECT_OK(SaveCheckpoint(dir, kModel, *config, named));
  }
  v1::PolicyManifest manifest;
  manifest.set_version(version);
  manifest.set_directory(dir);
  return manifest;
}

TEST(EngineCallers, GetWhatTheyWouldGetAlone) {
  std::vector<GenerateResult> want;
  {
    auto engine = Make({});
    for (int i = 0; i < 12; ++i) want.push_back(Generate(*engine, Ask(i, 10 + 3 * i)));
  }
  for (const auto& [threads, rows] : {std::pair{1, 64}, {2, 6}}) {
    auto engine = Make({.threads = threads, .max_batch = rows});
    std::vector<GenerateResult> got(12);
    std::vector<std::thread> callers;
    for (int i = 0; i < 12; ++i) callers.emplace_back([&, i] { got[i] = Generate(*engine, Ask(i, 10 + 3 * i)); });
    for (std::thread& t : callers) t.join();
    for (int i = 0; i < 12; ++i) {
      for (int s = 0; s < 2; ++s) EXPECT_EQ(got[i].responses[s].SerializeAsString(), want[i].responses[s].SerializeAsString());
    }
    EXPECT_EQ(engine->load().sequences, 0);
  }
}

// A short request that comes while a long one runs is answered before that ends.
TEST(EngineCallers, ANewRequestJoinsThoseUnderWay) {
  auto engine = Make({});
  absl::Notification running, answered;
  GenerateRequest slow = Ask(1, 300);
  slow.seeds.assign(8, 0);
  for (size_t i = 0; i < slow.seeds.size(); ++i) slow.seeds[i] = i;
  slow.cancelled = std::make_shared<std::atomic<bool>>(false);
  int tokens = 0;
  slow.on_token = [&](const TokenEvent&) {
    if (++tokens == 1) running.Notify();
    answered.WaitForNotificationWithTimeout(absl::Milliseconds(20));  // a slow model
  };
  std::atomic<bool> slow_ended{false};
  std::thread caller([&] {
    Generate(*engine, slow);
    slow_ended = true;
  });
  running.WaitForNotification();
  const GenerateResult quick = Generate(*engine, Ask(2, 3));
  EXPECT_FALSE(slow_ended);
  answered.Notify();
  EXPECT_GT(quick.responses[0].token_ids_size(), 0);
  caller.join();
}

TEST(EngineCallers, WhatIsUnderWayEndsWithTheWeightsItBeganWith) {
  auto engine = Make({});
  const GenerateResult want = Generate(*engine, Ask(3, 40));
  GenerateRequest request = Ask(3, 40);
  int tokens = 0;
  request.on_token = [&](const TokenEvent&) {
    if (++tokens == 10) {
      EXPECT_OK(engine->LoadWeights(OtherWeights(7)));
    }
  };
  const GenerateResult got = Generate(*engine, request);
  for (int s = 0; s < 2; ++s) EXPECT_EQ(got.responses[s].SerializeAsString(), want.responses[s].SerializeAsString());
  EXPECT_EQ(got.policy.version(), 0);
  EXPECT_EQ(Generate(*engine, Ask(3, 4)).policy.version(), 7);
}

TEST(EngineCallers, StreamedWeightsAreTakenUpAtTheNextTokenAndEachTokenSaysWhose) {
  const GenerateResult before = Generate(*Make({}), Ask(3, 40));
  auto engine = Make({.stream_weights = true});
  GenerateRequest request = Ask(3, 40);
  int tokens = 0;
  request.on_token = [&](const TokenEvent&) {
    if (++tokens == 10) {  // five tokens of each sequence
      EXPECT_OK(engine->LoadWeights(OtherWeights(7)));
    }
  };
  const GenerateResult got = Generate(*engine, request);
  bool differs = false;
  for (int s = 0; s < 2; ++s) {
    const v1::Response& r = got.responses[s];
    ASSERT_GT(r.token_ids_size(), 6);
    ASSERT_EQ(r.weight_versions_size(), r.token_ids_size());
    for (int t = 0; t < r.token_ids_size(); ++t) {
      EXPECT_EQ(r.weight_versions(t), t < 5 ? 0 : 7);
      if (t < 5) {
        EXPECT_EQ(r.token_ids(t), before.responses[s].token_ids(t));
      }
    }
    differs = differs || r.text() != before.responses[s].text();
  }
  EXPECT_TRUE(differs);
  EXPECT_EQ(got.policy.version(), 0) << "the weights that its prompt was run with";
  EXPECT_EQ(Generate(*engine, Ask(3, 4)).responses[0].weight_versions_size(), 1) << "one for all tokens";
}

TEST(EngineCallers, KeysAndValuesStayBelowTheBound) {
  SWERVE_ASSERT_OK_AND_ASSIGN(const ModelConfig config, LoadModelConfig(kModel));
  const int64_t bound = 1 << 20, row = FusedModel::CacheBytes(config, 160);
  auto engine = Make({.threads = 1, .cache_mb = 1});
  const int fit = static_cast<int>(bound / row);
  ASSERT_GT(fit, 3);
  GenerateRequest large = Ask(0, 160);
  large.seeds.assign(fit + 1, 5);
  EXPECT_THAT(engine->Check(large), StatusIs(absl::StatusCode::kInvalidArgument, testing::HasSubstr("cache_mb")));
  EXPECT_FALSE(engine->Generate({&large, 1}).ok());
  // Many that fit wait for each other.
  std::vector<GenerateRequest> requests;
  std::atomic<int64_t> most{0};
  for (int i = 0; i < 3 * fit; ++i) {
    requests.push_back(Ask(i, 160));
    requests.back().on_token = [&](const TokenEvent&) { most = std::max<int64_t>(most, engine->load().sequences); };
  }
  SWERVE_ASSERT_OK_AND_ASSIGN(const auto results, engine->Generate(requests));
  for (const GenerateResult& result : results) EXPECT_NE(result.responses[1].finish(), v1::CANCELLED);
  EXPECT_LE(most * row, bound);
  EXPECT_GT(most, 1);
}

// More would take each other's keys and values out of the caches; the rest follow as these end.
TEST(EngineCallers, ContinuesNoMoreAtOnceThanTheCachesHold) {
  auto config = LoadModelConfig(kModel);
  ASSERT_OK(config.status());
  auto tensors = MapTensors(kModel, *config);
  ASSERT_OK(tensors.status());
  auto model = FusedModel::Create(*config, *tensors);
  ASSERT_OK(model.status());
  const int rows = (*model)->rows_at_once();
  const size_t samples = 3 * static_cast<size_t>(rows) + 5;
  auto engine = Make({.threads = 1, .max_batch = static_cast<int>(samples)});
  GenerateRequest request = Ask(4, 6);
  request.seeds.clear();
  for (size_t i = 0; i < samples; ++i) request.seeds.push_back(i);
  int64_t most = 0;
  request.on_token = [&](const TokenEvent&) { most = std::max<int64_t>(most, engine->load().sequences); };
  const GenerateResult got = Generate(*engine, request);
  EXPECT_EQ(got.responses.size(), samples);
  for (const v1::Response& response : got.responses) EXPECT_GT(response.token_ids_size(), 0);
  EXPECT_EQ(most, rows);
}

TEST(EngineCallers, AnEngineInBf16AnswersInKind) {
  auto engine = Make({.dtype = "bfloat16"});
  const GenerateResult a = Generate(*engine, Ask(1, 20)), b = Generate(*engine, Ask(1, 20));
  EXPECT_EQ(a.responses[0].SerializeAsString(), b.responses[0].SerializeAsString());
  EXPECT_GT(a.responses[0].token_ids_size(), 0);
  EXPECT_THAT(CreateLocalEngine({.model_dir = kModel, .dtype = "float16"}).status(),
              StatusIs(absl::StatusCode::kInvalidArgument, testing::HasSubstr("float16")));
}

}  // namespace
}  // namespace swerve
