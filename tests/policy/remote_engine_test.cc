// The engine behind inference servers: what it asks, what it takes of answers, and whose weights they are.
#include <gtest/gtest.h>

#include <atomic>
#include <map>
#include <set>
#include <thread>

#include "absl/strings/match.h"
#include "absl/synchronization/notification.h"
#include "tests/policy/remote_engine_fixture.h"
#include "tests/testing/fake_inference_faults.h"

namespace swerve {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::SizeIs;

INSTANTIATE_TEST_SUITE_P(Dialects, RemoteEngineTest, testing::Values(FakeInferenceServer::Kind::kSglang, FakeInferenceServer::Kind::kVllm),
                         [](const auto& info) { return info.param == FakeInferenceServer::Kind::kSglang ? "sglang" : "vllm"; });

TEST_P(RemoteEngineTest, TokensComeBackAsTheServerSampledThem) {
  FakeInferenceServer& server = Server("a");
  auto engine = Engine();
  GenerateRequest request = Request({7, 0xfedcba9876543210u, 9});
  SWERVE_ASSERT_OK_AND_ASSIGN(const GenerateResult result, Ask(*engine, request));
  EXPECT_EQ(result.prompt_ids, *Text().Prompt(request));
  ASSERT_EQ(result.responses.size(), 3u);
  for (size_t i = 0; i < 3; ++i) {
    const v1::Response& r = result.responses[i];
    const uint64_t seed = request.seeds[i];
    const Said said = Says(absl::StrCat("seed ", seed & INT64_MAX));
    EXPECT_EQ(r.seed(), seed);
    EXPECT_EQ(r.text(), absl::StrCat("seed ", seed & INT64_MAX));
    EXPECT_EQ(std::vector<int32_t>(r.token_ids().begin(), r.token_ids().end()), said.ids);
    EXPECT_EQ(std::vector<float>(r.logprobs().begin(), r.logprobs().end()), said.logprobs);
    EXPECT_EQ(r.finish(), v1::STOP);
    EXPECT_EQ(r.parse(), v1::FAILED) << "it was read by the codec";
    ASSERT_EQ(r.weight_versions_size(), 1);
  }
  EXPECT_EQ(result.policy.directory(), Model());
  for (const Asked& asked : server.asked()) {
    EXPECT_EQ(asked.prompt, result.prompt_ids);
    EXPECT_EQ(asked.temperature, 1.2);
    EXPECT_EQ(asked.max_tokens, 64);
    EXPECT_EQ(asked.label, LabelOf(result.policy));
    const Json& sampling = sglang() ? asked.body["sampling_params"] : asked.body;
    EXPECT_EQ(sampling["top_k"], -1) << "the model's generation_config.json must not decide";
    EXPECT_EQ(sampling["repetition_penalty"], 1);
    EXPECT_EQ(sampling["stop_token_ids"], Json(Text().config().eos));
  }
  EXPECT_THAT(server.loads(), ElementsAre(std::filesystem::absolute(Model()).string()));
  ASSERT_OK(Ask(*engine, request).status());
  EXPECT_THAT(server.loads(), SizeIs(1)) << "it holds them already";
  EXPECT_EQ(engine->load().prompts, 0);
  EXPECT_EQ(engine->load().sequences, 0);
}

TEST_P(RemoteEngineTest, ATrajectoryIsRead) {
  const std::string answer = "<answer>[1.0,0.0,0.0],[2.0,0.0,0.0],[3.0,0.0,0.0],[4.0,0.0,0.0],[5.0,0.0,0.0],[6.0,0.0,0.0],[7.0,0.0,0.0],[8.0,0.0,0.0]</answer>";
  Server("a", [&](const Asked&) { return Says(answer); });
  GenerateRequest request = Request({1});
  request.max_new_tokens = 500;
  SWERVE_ASSERT_OK_AND_ASSIGN(const GenerateResult result, Ask(*Engine(), request));
  EXPECT_EQ(result.responses[0].parse(), v1::EXACT) << result.responses[0].text();
  EXPECT_EQ(result.responses[0].poses_size(), 8);
}

TEST_P(RemoteEngineTest, EachTokenIsToldAndThenTheEnd) {
  Server("a");
  GenerateRequest request = Request();
  request.top_logprobs = 2;
  std::vector<std::vector<int32_t>> told(3);
  int done = 0;
  request.on_token = [&](TokenEvent event) {
    EXPECT_EQ(done, 0);
    EXPECT_EQ(event.top.size(), 2u);
    EXPECT_EQ(event.top.at(0).id, 10) << "best first";
    told[event.sample].push_back(event.token.id);
  };
  request.on_done = [&](const GenerateResult&) { ++done; };
  SWERVE_ASSERT_OK_AND_ASSIGN(const GenerateResult result, Ask(*Engine(), request));
  EXPECT_EQ(done, 1);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(told[i], std::vector<int32_t>(result.responses[i].token_ids().begin(), result.responses[i].token_ids().end()));
}

TEST_P(RemoteEngineTest, WhatComesAfterAStopStringIsCutOff) {
  FakeInferenceServer& server = Server("a", [](const Asked&) { return Says("one two three four", false); });
  GenerateRequest request = Request({1});
  request.stop = {"two"};
  SWERVE_ASSERT_OK_AND_ASSIGN(const GenerateResult result, Ask(*Engine(), request));
  const v1::Response& r = result.responses[0];
  EXPECT_EQ(r.text(), "one ");
  EXPECT_EQ(r.finish(), v1::STOP);
  EXPECT_LT(r.token_ids_size(), static_cast<int>(Says("one two three four", false).ids.size()));
  EXPECT_EQ(r.token_ids_size(), r.logprobs_size());
  EXPECT_THAT(Text().tokenizer().Decode(std::vector<int32_t>(r.token_ids().begin(), r.token_ids().end())), HasSubstr("two")) << "its tokens keep what was sampled";
  const Json body = server.asked()[0].body;
  EXPECT_EQ((sglang() ? body["sampling_params"] : body)["stop"], Json({"two"}));
}

TEST_P(RemoteEngineTest, AResponseOfFullLengthEndsForItsLength) {
  Server("a", [](const Asked& asked) {
    Said said = Says("a b c d e f g h i j", false);
    said.ids.resize(asked.max_tokens);
    said.logprobs.resize(asked.max_tokens);
    said.finish = "length";
    return said;
  });
  GenerateRequest request = Request({1});
  request.max_new_tokens = 4;
  SWERVE_ASSERT_OK_AND_ASSIGN(const GenerateResult result, Ask(*Engine(), request));
  EXPECT_EQ(result.responses[0].finish(), v1::LENGTH);
}

TEST_P(RemoteEngineTest, APictureGoesAsPng) {
  FakeInferenceServer& server = Server("a");
  GenerateRequest request = Request({1, 2});
  request.prompt.image = Picture();
  server.ChatIds([&](const Json& body) {
    EXPECT_EQ(body["messages"].back()["content"][1]["text"], request.prompt.text);
    return *Text().Prompt(request);
  });
  SWERVE_ASSERT_OK_AND_ASSIGN(const GenerateResult result, Ask(*Engine(), request));
  EXPECT_EQ(result.responses[1].text(), "seed 2");
  const std::string sent = server.asked()[0].image_url;
  absl::string_view url = sent;
  std::string png;
  ASSERT_TRUE(absl::ConsumePrefix(&url, "data:image/png;base64,") && absl::Base64Unescape(url, &png));
  SWERVE_ASSERT_OK_AND_ASSIGN(const Image seen, DecodeImage(png));
  EXPECT_EQ(seen.rgb, request.prompt.image->rgb);
}

// vLLM keeps pictures in two places, and what its vision tower made of them in a third.
TEST_P(RemoteEngineTest, NewWeightsSeeAPictureAnew) {
  FakeInferenceServer& server = Server("a");
  GenerateRequest request = Request({1, 2});
  request.prompt.image = Picture();
  server.ChatIds([&](const Json&) { return *Text().Prompt(request); });
  auto engine = Engine();
  ASSERT_OK(Ask(*engine, request).status());
  ASSERT_OK(engine->LoadWeights(Weights(5)));
  ASSERT_OK(Ask(*engine, request).status());
  if (!sglang()) {
    EXPECT_EQ(server.asked().back().features_label, server.loads().back());
  }
}

TEST_P(RemoteEngineTest, AServerThatKeepsTheOldKeysAndValuesHasNotLoaded) {
  FakeInferenceServer& server = Server("a");
  server.KeepsPrefix(1);
  auto engine = Engine();
  ASSERT_OK(Ask(*engine, Request({1})).status());
  EXPECT_EQ(server.loads().size(), sglang() ? 1u : 2u);
  server.KeepsPrefix(1);
  const absl::Status loaded = engine->LoadWeights(Weights(5));
  if (sglang()) return;
  EXPECT_THAT(loaded, StatusIs(absl::StatusCode::kUnavailable, HasSubstr("http://a/reset_prefix_cache")));
  EXPECT_EQ(server.label(), "swerve:loading");
}

TEST_P(RemoteEngineTest, AnotherPromptThanWasSentIsRefused) {
  Server("a").Script({Edited([this](Json& body) {
    if (sglang()) {
      body["meta_info"]["prompt_tokens"] = 3;
    } else {
      body["choices"][0]["prompt_token_ids"][2] = 5;
    }
  })});
  EXPECT_THAT(Ask(*Engine(), Request({1})).status(), StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("http://a")));
}

TEST_P(RemoteEngineTest, WhatNoEngineServesIsNamed) {
  Server("a");
  auto engine = Engine();
  EXPECT_THAT(Ask(*engine, Request({})).status(), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("request 0: no seeds")));
  GenerateRequest request = Request({1});
  request.max_new_tokens = 1 << 20;
  EXPECT_THAT(engine->Check(request), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("positions")));
  request = Request({1});
  request.top_p = 0.5;
  if (sglang()) {
    EXPECT_THAT(engine->Check(request), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("nucleus")));
  } else {
    EXPECT_OK(Ask(*engine, request).status());
  }
}

TEST_P(RemoteEngineTest, LogprobsOfAnotherTemperatureAreRefused) {
  Server("a").RawLogprobs(true);
  auto engine = Engine();
  EXPECT_THAT(Ask(*engine, Request({1})).status(),
              StatusIs(absl::StatusCode::kFailedPrecondition, AllOf(HasSubstr("http://a"), HasSubstr(sglang() ? "SGLANG_RETURN_ORIGINAL_LOGPROB" : "--logprobs-mode processed_logprobs"))));
  for (const double temperature : {0.0, 1.0}) {
    GenerateRequest request = Request({1});
    request.temperature = temperature;
    EXPECT_OK(Ask(*engine, request).status());
  }
}

// Weights -------------------------------------------------------------------------------------------------------------

TEST_P(RemoteEngineTest, NewWeightsAreLoadedEverywhereBeforeTheNextResponse) {
  FakeInferenceServer &a = Server("a"), &b = Server("b");
  options_.path_here = testing::TempDir();
  options_.path_there = "/shared/";
  auto engine = Engine();
  ASSERT_OK(Ask(*engine, Request()).status());
  const v1::PolicyManifest v5 = Weights(5);
  ASSERT_OK(engine->LoadWeights(v5));
  EXPECT_EQ(engine->policy().version(), 5);
  for (FakeInferenceServer* server : {&a, &b}) {
    EXPECT_EQ(server->label(), LabelOf(v5));
    EXPECT_THAT(server->loads().back(), AllOf(HasSubstr("/shared/"), HasSubstr("_v5"), Not(HasSubstr(testing::TempDir()))));
  }
  SWERVE_ASSERT_OK_AND_ASSIGN(const GenerateResult result, Ask(*engine, Request()));
  EXPECT_EQ(result.policy.checksum(), v5.checksum());
  for (const v1::Response& r : result.responses) EXPECT_THAT(r.weight_versions(), ElementsAre(5));
  // What was cached of the old weights goes, and what ran was stopped.
  const auto calls = a.calls();
  EXPECT_THAT(calls, Contains(sglang() ? "POST /pause_generation" : "POST /pause"));
  EXPECT_THAT(calls, Contains(sglang() ? "POST /continue_generation" : "POST /resume"));
  EXPECT_EQ(Count(calls, "POST /reset_prefix_cache"), sglang() ? 0u : 2u);
}

TEST_P(RemoteEngineTest, WeightsThatCannotBeLoadedLeaveTheOldOnes) {
  FakeInferenceServer& server = Server("a");
  auto engine = Engine();
  ASSERT_OK(Ask(*engine, Request()).status());
  v1::PolicyManifest other = Weights(5);
  other.set_checksum(std::string(64, '0'));
  EXPECT_THAT(engine->LoadWeights(other), StatusIs(absl::StatusCode::kDataLoss, HasSubstr("announced")));
  other.set_directory(testing::TempDir() + "/absent");
  EXPECT_THAT(engine->LoadWeights(other), StatusIs(absl::StatusCode::kNotFound, testing::_));
  EXPECT_THAT(server.loads(), SizeIs(1));
  server.LoadsFail(true);
  EXPECT_THAT(engine->LoadWeights(Weights(6)), StatusIs(absl::StatusCode::kUnavailable, HasSubstr("cannot load")));
  EXPECT_EQ(engine->policy().version(), 0);
  server.LoadsFail(false);
  // Half of the failed ones may be in place, whatever the server says.
  server.Label(LabelOf(engine->policy()));
  const size_t before = server.loads().size();
  SWERVE_ASSERT_OK_AND_ASSIGN(const GenerateResult result, Ask(*engine, Request()));
  EXPECT_EQ(server.loads().size(), before + 1);
  EXPECT_EQ(server.loads().back(), std::filesystem::absolute(Model()).string());
}

TEST_P(RemoteEngineTest, OneServerThatLoadsIsEnough) {
  FakeInferenceServer &a = Server("a"), &b = Server("b");
  auto engine = Engine();
  ASSERT_OK(engine->LoadWeights(Weights(3)));
  b.LoadsFail(true);
  ASSERT_OK(engine->LoadWeights(Weights(4)));
  const size_t before = b.asked().size();
  SWERVE_ASSERT_OK_AND_ASSIGN(const GenerateResult result, Ask(*engine, Request({1, 2, 3, 4, 5, 6})));
  EXPECT_EQ(b.asked().size(), before);
  EXPECT_THAT(result.responses[5].weight_versions(), ElementsAre(4));
  b.LoadsFail(false);
  time_.Advance(absl::Minutes(1));
  ASSERT_OK(engine->LoadWeights(Weights(5)));
  ASSERT_OK(Ask(*engine, Request({1, 2, 3, 4, 5, 6})).status());
  EXPECT_GT(b.asked().size(), before) << "it carries its part again";
  EXPECT_EQ(b.label(), a.label());
}

TEST_P(RemoteEngineTest, AnAnswerOfOtherWeightsIsNeverTaken) {
  FakeInferenceServer* server = nullptr;
  std::atomic<int> answers{0};
  server = &Server("a", [&](const Asked& asked) {
    // Somebody else's weights, while it generates.
    if (answers++ == 0) server->Label("swerve:other:9:beef");
    return SaysSeed(asked);
  });
  if (sglang()) server->Script({Edited([](Json& body) { body["meta_info"]["weight_version"] = "swerve:other:9:beef"; })});
  auto engine = Engine();
  SWERVE_ASSERT_OK_AND_ASSIGN(const GenerateResult result, Ask(*engine, Request({4})));
  EXPECT_EQ(result.responses[0].text(), "seed 4");
  EXPECT_THAT(server->loads(), SizeIs(2)) << "loaded again before it is asked again";
  EXPECT_EQ(server->asked().size(), 2u);
  EXPECT_EQ(server->label(), LabelOf(engine->policy()));
}

TEST_P(RemoteEngineTest, ARestartedServerLoadsBeforeItIsAsked) {
  FakeInferenceServer& server = Server("a");
  auto engine = Engine();
  ASSERT_OK(engine->LoadWeights(Weights(5)));
  ASSERT_OK(Ask(*engine, Request()).status());
  server.Restart();
  server.Script({IsCut()});
  SWERVE_ASSERT_OK_AND_ASSIGN(const GenerateResult result, Ask(*engine, Request({1})));
  EXPECT_EQ(server.label(), LabelOf(engine->policy()));
  EXPECT_THAT(result.responses[0].weight_versions(), ElementsAre(5));
  EXPECT_EQ(server.asked().back().label, LabelOf(engine->policy()));
  // Nobody noticed the restart: the answer tells it.
  server.Restart();
  SWERVE_ASSERT_OK_AND_ASSIGN(const GenerateResult again, Ask(*engine, Request({1})));
  EXPECT_EQ(server.asked().back().label, LabelOf(engine->policy()));
}

TEST_P(RemoteEngineTest, LoadingWaitsForWhatIsBeingGenerated) {
  absl::Notification begun, go_on;
  FakeInferenceServer& server = Server("a", [&](const Asked& asked) {
    if (!begun.HasBeenNotified()) begun.Notify();
    go_on.WaitForNotification();
    return SaysSeed(asked);
  });
  auto engine = Engine();
  std::atomic<bool> loaded{false};
  absl::StatusOr<GenerateResult> result = absl::UnknownError("");
  std::thread generate([&] { result = Ask(*engine, Request({1})); });
  begun.WaitForNotification();
  std::thread load([&] {
    EXPECT_OK(engine->LoadWeights(Weights(2)));
    loaded = true;
  });
  EXPECT_FALSE(loaded);
  EXPECT_THAT(server.loads(), SizeIs(1));
  go_on.Notify();
  generate.join();
  load.join();
  ASSERT_OK(result.status());
  EXPECT_EQ(result->policy.version(), 0);
  EXPECT_EQ(server.asked()[0].label, absl::StrCat("swerve:run-7:0:", *WeightsChecksum(Model())));
  EXPECT_THAT(server.loads(), SizeIs(2));
}

TEST_P(RemoteEngineTest, ManyCallersAndVersionsNeverMix) {
  // What a server says names the weights that it held.
  const auto says = [](const Asked& asked) { return Says(absl::StrCat(asked.label.substr(0, asked.label.rfind(':')), " ", asked.seed)); };
  for (const char* name : {"a", "b", "c"}) Server(name, says);
  options_.max_attempts = 100;
  auto engine = Engine();
  std::vector<v1::PolicyManifest> versions;
  for (int v = 1; v <= 4; ++v) versions.push_back(Weights(v));
  std::atomic<int> groups{0};
  std::vector<std::thread> callers;
  for (int i = 0; i < 20; ++i) {
    callers.emplace_back([&, i] {
      for (uint64_t round = 0; round < 5; ++round, ++groups) {
        if (i == 0 && round > 0) servers_[round % 3]->Restart();
        if (i % 5 == 0 && round < 4) {
          EXPECT_OK(engine->LoadWeights(versions[round]));
        }
        const uint64_t seed = 100 * i + round;
        const auto result = Ask(*engine, Request({seed, seed + 10, seed + 20}));
        ASSERT_OK(result.status());
        for (size_t k = 0; k < 3; ++k) {
          const v1::Response& r = result->responses[k];
          EXPECT_THAT(r.weight_versions(), ElementsAre(result->policy.version()));
          EXPECT_EQ(r.text(), absl::StrCat("swerve:run-7:", result->policy.version(), " ", seed + 10 * k));
        }
      }
    });
  }
  for (std::thread& t : callers) t.join();
  EXPECT_EQ(groups, 100);
  EXPECT_EQ(engine->load().sequences, 0);
}

}  // namespace
}  // namespace swerve
