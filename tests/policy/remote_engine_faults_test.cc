// Inference servers that fail: who is asked instead, what is tried again, and what is never made of it.
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "absl/synchronization/notification.h"
#include "base/http_server.h"
#include "policy/engine_metrics.h"
#include "tests/policy/remote_engine_fixture.h"
#include "tests/testing/fake_inference_faults.h"

namespace swerve {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::SizeIs;

class RemoteEngineFaults : public RemoteEngineTest {};

INSTANTIATE_TEST_SUITE_P(Dialects, RemoteEngineFaults, testing::Values(FakeInferenceServer::Kind::kSglang, FakeInferenceServer::Kind::kVllm),
                         [](const auto& info) { return info.param == FakeInferenceServer::Kind::kSglang ? "sglang" : "vllm"; });

TEST_P(RemoteEngineFaults, WhatMayPassIsTriedAgain) {
  FakeInferenceServer& server = Server("a");
  auto engine = Engine();
  for (const auto& fault : {IsCut(), ErrsWith(500), ErrsWith(503), ErrsWith(429), SaysInstead("not JSON"), SaysInstead(""), SaysInstead("[]"), SaysInstead("{\"a\": ")}) {
    server.Script({fault, fault});
    SWERVE_ASSERT_OK_AND_ASSIGN(const GenerateResult result, Ask(*engine, Request({6})));
    EXPECT_EQ(result.responses[0].text(), "seed 6");
  }
  EXPECT_EQ(server.asked().size(), 24u);
  EXPECT_THAT(server.loads(), SizeIs(1)) << "it never lost them";
}

TEST_P(RemoteEngineFaults, PausesGrowAndRetryAfterIsKept) {
  FakeInferenceServer& server = Server("a");
  auto engine = Engine();
  ASSERT_OK(Ask(*engine, Request({1})).status());
  const absl::Time before = time_.clock().now();
  server.Script({ErrsWith(429, "7")});
  ASSERT_OK(Ask(*engine, Request({1})).status());
  EXPECT_GE(time_.clock().now() - before, absl::Seconds(7));
  EXPECT_LT(time_.clock().now() - before, absl::Seconds(9));
  const absl::Time then = time_.clock().now();
  server.Script({ErrsWith(500), ErrsWith(500), ErrsWith(500), ErrsWith(500)});
  ASSERT_OK(Ask(*engine, Request({1})).status());
  EXPECT_GE(time_.clock().now() - then, absl::Milliseconds(250 + 500 + 1000 + 2000));
}

TEST_P(RemoteEngineFaults, AfterSoManyAttemptsItIsUnavailable) {
  options_.max_attempts = 3;
  FakeInferenceServer& server = Server("a");
  auto engine = Engine();
  server.Script(std::vector<FakeInferenceServer::Fault>(9, ErrsWith(500)));
  const absl::Status status = Ask(*engine, Request({1})).status();
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kUnavailable, AllOf(HasSubstr("3 attempts"), HasSubstr("http://a"), HasSubstr("as the test wants it"))));
  EXPECT_TRUE(IsRetryable(status)) << "the worker drops the group, and it becomes no reward";
  EXPECT_EQ(server.asked().size(), 3u);
}

TEST_P(RemoteEngineFaults, WhatCannotPassIsNot) {
  FakeInferenceServer& server = Server("a");
  auto engine = Engine();
  const std::pair<int, absl::StatusCode> cases[] = {{400, absl::StatusCode::kInvalidArgument}, {401, absl::StatusCode::kPermissionDenied}, {404, absl::StatusCode::kUnimplemented},
                                                    {422, absl::StatusCode::kInvalidArgument}, {302, absl::StatusCode::kFailedPrecondition}};
  size_t asked = 0;
  for (const auto& [http, code] : cases) {
    server.Script({ErrsWith(http)});
    EXPECT_THAT(Ask(*engine, Request({1})).status(), StatusIs(code, HasSubstr(absl::StrCat("HTTP ", http))));
    EXPECT_EQ(server.asked().size(), ++asked);
  }
}

TEST_P(RemoteEngineFaults, AnswersThatAreNotWhatTheyShouldBe) {
  FakeInferenceServer& server = Server("a");
  options_.max_attempts = 1;
  auto engine = Engine();
  const std::function<void(Json&)> sglang_edits[] = {
      [](Json& b) { b["meta_info"]["output_token_logprobs"][1][0] = nullptr; },
      [](Json& b) { b["meta_info"]["output_token_logprobs"][1][0] = 0.5; },
      [](Json& b) { b["meta_info"]["output_token_logprobs"][1][1] = 1 << 20; },
      [](Json& b) { b["meta_info"]["output_token_logprobs"][1][1] = -1; },
      [](Json& b) { b["meta_info"]["output_token_logprobs"][1][1] = 1.5; },
      [](Json& b) { b["meta_info"]["output_token_logprobs"].erase(1); },
      [](Json& b) { b["meta_info"]["output_token_logprobs"] = Json::array(), b["meta_info"]["completion_tokens"] = 0; },
      [](Json& b) { b["meta_info"].erase("output_token_logprobs"); },
      [](Json& b) { b["meta_info"].erase("prompt_tokens"); },
      [](Json& b) { b["meta_info"]["finish_reason"] = {{"type", "abort"}, {"message", "paused"}}; },
      [](Json& b) { b["meta_info"]["finish_reason"] = nullptr; },
      [](Json& b) { b.erase("meta_info"); },
      [](Json& b) { b = Json::array({b}); },
  };
  const std::function<void(Json&)> vllm_edits[] = {
      [](Json& b) { b["choices"][0]["logprobs"]["token_logprobs"][1] = nullptr; },
      [](Json& b) { b["choices"][0]["logprobs"]["token_logprobs"][1] = 0.5; },
      [](Json& b) { b["choices"][0]["logprobs"]["token_logprobs"].erase(1); },
      [](Json& b) { b["choices"][0]["logprobs"]["tokens"][1] = "token_id:3"; },
      [](Json& b) { b["choices"][0]["logprobs"]["tokens"][1] = "ab"; },
      [](Json& b) { b["choices"][0]["token_ids"].erase(1); },
      [](Json& b) { b["choices"][0]["token_ids"][1] = -7; },
      [](Json& b) { b["choices"][0]["logprobs"] = nullptr; },
      [](Json& b) { b["choices"][0]["finish_reason"] = "abort"; },
      [](Json& b) { b["choices"][0]["finish_reason"] = nullptr; },
      [](Json& b) { b["choices"].push_back(b["choices"][0]); },
      [](Json& b) { b["choices"] = 4; },
  };
  const std::vector<std::function<void(Json&)>> edits = sglang() ? std::vector(std::begin(sglang_edits), std::end(sglang_edits)) : std::vector(std::begin(vllm_edits), std::end(vllm_edits));
  for (size_t i = 0; i < edits.size(); ++i) {
    server.Script({Edited(edits[i])});
    EXPECT_THAT(Ask(*engine, Request({1})).status(), StatusIs(absl::StatusCode::kUnavailable, HasSubstr("http://a"))) << i;
    EXPECT_OK(Ask(*engine, Request({1})).status()) << i;
  }
  // NaN, as Python writes it.
  server.Script({[](const HttpRequest&, HttpReply reply) -> absl::StatusOr<HttpReply> {
    reply.body.replace(reply.body.find("-0.125"), 6, "NaN");
    return reply;
  }});
  EXPECT_THAT(Ask(*engine, Request({1})).status(), StatusIs(absl::StatusCode::kUnavailable, testing::_));
}

TEST_P(RemoteEngineFaults, AServerThatTellsTooLittleIsRefused) {
  FakeInferenceServer& server = Server("a");
  auto engine = Engine();
  server.Script({Edited([this](Json& b) { sglang() ? b["meta_info"].erase("weight_version") : b["choices"][0].erase("token_ids"); })});
  EXPECT_THAT(Ask(*engine, Request({1})).status(), StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("newer")));
  // Ends that would teach the wrong thing.
  server.Script({Edited([this](Json& b) {
    if (sglang()) {
      b["meta_info"]["finish_reason"]["type"] = "length";
      b["meta_info"]["output_token_logprobs"].erase(b["meta_info"]["output_token_logprobs"].size() - 1);
      b["meta_info"]["completion_tokens"] = b["meta_info"]["output_token_logprobs"].size();
    } else {
      Json& c = b["choices"][0];
      c["finish_reason"] = "length";
      const size_t last = c["token_ids"].size() - 1;
      c["token_ids"].erase(last), c["logprobs"]["tokens"].erase(last), c["logprobs"]["token_logprobs"].erase(last), c["logprobs"]["top_logprobs"].erase(last);
    }
  })});
  EXPECT_THAT(Ask(*engine, Request({1})).status(), StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("context length")));
  server.Script({Edited([this](Json& b) {
    if (sglang()) {
      b["meta_info"]["output_token_logprobs"].back()[1] = 5;
    } else {
      b["choices"][0]["token_ids"].back() = 5, b["choices"][0]["logprobs"]["tokens"].back() = "token_id:5";
    }
  })});
  EXPECT_THAT(Ask(*engine, Request({1})).status(), StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("end-of-turn")));
}

TEST_P(RemoteEngineFaults, AnAnswerWithoutEndIsCutOff) {
  options_.max_reply_mb = 1;
  FakeInferenceServer& server = Server("a");
  server.Script({SaysInstead(std::string(2 << 20, ' '))});
  SWERVE_ASSERT_OK_AND_ASSIGN(const GenerateResult result, Ask(*Engine(), Request({6})));
  EXPECT_EQ(server.asked().size(), 2u);
}

TEST_P(RemoteEngineFaults, AServerThatIsDownIsUnavailableAndNothingElse) {
  FakeInferenceServer& server = Server("a");
  server.Down(true);
  auto engine = Engine();
  const absl::Time before = time_.clock().now();
  EXPECT_THAT(Ask(*engine, Request()).status(), StatusIs(absl::StatusCode::kUnavailable, AllOf(HasSubstr("http://a"), HasSubstr("Couldn't connect"))));
  EXPECT_GE(time_.clock().now() - before, options_.deadline) << "it waited for it";
  EXPECT_THAT(engine->LoadWeights(Weights(5)), StatusIs(absl::StatusCode::kUnavailable, testing::_));
  server.Down(false);
  EXPECT_OK(Ask(*engine, Request()).status());
}

TEST_P(RemoteEngineFaults, TheOthersCarryTheLoadUntilItIsHealthyAndLoaded) {
  FakeInferenceServer &a = Server("a"), &b = Server("b");
  auto engine = Engine();
  ASSERT_OK(engine->LoadWeights(Weights(5)));
  b.Restart();
  b.Healthy(false);
  b.Script({IsCut(), IsCut(), IsCut(), IsCut(), IsCut(), IsCut()});
  for (int i = 0; i < 5; ++i) ASSERT_OK(Ask(*engine, Request()).status());
  const size_t asked = b.asked().size();
  EXPECT_GE(asked, 1u);
  EXPECT_LE(asked, 3u) << "those that found it out";
  EXPECT_THAT(b.loads(), SizeIs(1)) << "not while it is not healthy";
  b.Healthy(true);
  b.Script({});
  time_.Advance(absl::Minutes(1));
  // Looked at beside what the other one answers.
  for (int i = 0; i < 10000 && b.asked().size() == asked; ++i) ASSERT_OK(Ask(*engine, Request()).status());
  EXPECT_GT(b.asked().size(), asked);
  EXPECT_THAT(b.loads(), SizeIs(2));
  EXPECT_EQ(b.asked().back().label, a.label());
}

TEST_P(RemoteEngineFaults, WhatServersDoIsTold) {
  FakeInferenceServer& server = Server("told");
  auto engine = Engine();
  const ServerMetrics told("http://told");
  const double served = told.served.Value(), failed = told.failed.Value(), loads = told.loads.Value();
  EXPECT_EQ(told.ready.Value(), 0);
  server.Script({ErrsWith(500)});
  ASSERT_OK(Ask(*engine, Request({6, 7})).status());
  EXPECT_EQ(told.ready.Value(), 1);
  EXPECT_EQ(told.in_use.Value(), 0);
  EXPECT_EQ(told.served.Value() - served, 2);
  EXPECT_EQ(told.failed.Value() - failed, 1);
  EXPECT_EQ(told.loads.Value() - loads, 1);
}

TEST_P(RemoteEngineFaults, ADeadlineEndsResponsesWithoutTokens) {
  FakeInferenceServer& server = Server("a");
  auto engine = Engine();
  ASSERT_OK(Ask(*engine, Request({1})).status());
  server.Script({Hangs(), Hangs(), Hangs()});
  GenerateRequest request = Request();
  request.deadline = time_.clock().now() + absl::Seconds(5);
  absl::Notification done;
  std::thread clock([&] {
    while (server.asked().size() < 4) std::this_thread::yield();
    time_.Advance(absl::Seconds(6));
  });
  SWERVE_ASSERT_OK_AND_ASSIGN(const GenerateResult result, Ask(*engine, request));
  clock.join();
  for (const v1::Response& r : result.responses) {
    EXPECT_EQ(r.finish(), v1::CANCELLED);
    EXPECT_EQ(r.token_ids_size(), 0);
  }
  EXPECT_OK(Ask(*engine, Request({1})).status()) << "the server is not blamed";
  EXPECT_EQ(Count(server.calls(), "GET /health"), 2u);
}

TEST_P(RemoteEngineFaults, ACancelledRequestEndsAtOnce) {
  FakeInferenceServer& server = Server("a");
  auto engine = Engine();
  server.Script({Hangs(), Hangs(), Hangs()});
  GenerateRequest request = Request();
  const auto cancelled = std::make_shared<std::atomic<bool>>(false);
  request.cancelled = cancelled;
  int done = 0;
  request.on_done = [&](const GenerateResult&) { ++done; };
  std::thread canceller([&] {
    while (server.asked().size() < 3) std::this_thread::yield();
    *cancelled = true;
  });
  SWERVE_ASSERT_OK_AND_ASSIGN(const GenerateResult result, Ask(*engine, request));
  canceller.join();
  EXPECT_EQ(result.responses[2].finish(), v1::CANCELLED);
  EXPECT_EQ(done, 1);
  // While no server can be asked, too.
  server.Down(true);
  EXPECT_EQ((*Ask(*engine, request)).responses[0].finish(), v1::CANCELLED);
}

TEST_P(RemoteEngineFaults, OneLostResponseEndsItsGroupSoon) {
  FakeInferenceServer& server = Server("a");
  auto engine = Engine();
  ASSERT_OK(Ask(*engine, Request({1})).status());
  server.Script({ErrsWith(400), Hangs(), Hangs()});
  EXPECT_THAT(Ask(*engine, Request()).status(), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("HTTP 400")));
}

TEST_P(RemoteEngineFaults, ThePlacesOfAServerAreKept) {
  options_.concurrency = 3;
  std::atomic<int> now{0}, most{0};
  Server("a", [&](const Asked& asked) {
    const int at = ++now;
    for (int seen = most; seen < at && !most.compare_exchange_weak(seen, at);) continue;
    std::this_thread::yield();
    --now;
    return SaysSeed(asked);
  });
  GenerateRequest request = Request();
  for (uint64_t i = 0; i < 60; ++i) request.seeds.push_back(i);
  ASSERT_OK(Ask(*Engine(), request).status());
  EXPECT_LE(most, 3);
}

TEST(RemoteEngineOptions, AreChecked) {
  const auto refused = [](ServerOptions servers, const std::string& engine = "sglang") {
    return CreateRemoteEngine({.engine = engine, .servers = std::move(servers), .model_dir = std::string(SWERVE_SOURCE_DIR) + "/tests/policy/data/model"}).status();
  };
  EXPECT_THAT(refused({}), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("no inference server")));
  for (const char* url : {"a:30000", "ftp://a", "http://", "http://a/v1", "http://user@a"}) {
    EXPECT_THAT(refused({.urls = {url}}), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(url)));
  }
  EXPECT_THAT(refused({.urls = {"http://a"}, .concurrency = 0}), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("concurrency")));
  EXPECT_THAT(refused({.urls = {"http://a"}, .api_key_env = "SWERVE_TEST_NO_SUCH_KEY"}), StatusIs(absl::StatusCode::kNotFound, HasSubstr("SWERVE_TEST_NO_SUCH_KEY")));
  EXPECT_THAT(refused({.urls = {"http://a"}}, "tgi"), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("sglang, vllm")));
}

TEST(WeightsLabelTest, HoldsNothingThatAServerMightNotTake) { EXPECT_EQ(WeightsLabel("my run/ü", 4, "ab"), "swerve:my-run---:4:ab"); }

// vLLM alone -----------------------------------------------------------------------------------------------------------

class VllmWithoutLabel : public RemoteEngineTest {
 protected:
  Kind kind() const override { return Kind::kVllm; }
};
INSTANTIATE_TEST_SUITE_P(Vllm, VllmWithoutLabel, testing::Values(FakeInferenceServer::Kind::kVllm));

TEST_P(VllmWithoutLabel, IsKnownByItsProcess) {
  FakeInferenceServer& server = Server("a");
  server.KeepsLabel(false);
  auto engine = Engine();
  ASSERT_OK(engine->LoadWeights(Weights(5)));
  ASSERT_OK(Ask(*engine, Request()).status());
  EXPECT_THAT(server.loads(), SizeIs(1));
  server.Restart();
  SWERVE_ASSERT_OK_AND_ASSIGN(const GenerateResult result, Ask(*engine, Request()));
  EXPECT_THAT(server.loads(), SizeIs(2));
  EXPECT_GE(server.asked().size(), 7u) << "what it said before it had loaded them was dropped";
  server.TellsBoot(false);
  EXPECT_THAT(Ask(*engine, Request()).status(), StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("restart")));
}

// Over real sockets ------------------------------------------------------------------------------------------------------

TEST(RemoteEngineOverSockets, SpeaksHttpWithItsKey) {
  FakeInferenceServer server(FakeInferenceServer::Kind::kSglang, [](const FakeInferenceServer::Asked&) {
    return FakeInferenceServer::Said{{20, 21, 1015}, {-1, -2, -3}};
  });
  auto http = HttpServer::Start({}, [&](const HttpCall& call) {
    HttpRequest request{.method = call.method, .body = call.body};
    const auto reply = server.Answer(request, call.path);
    return reply.ok() ? HttpResponse{reply->status, reply->body} : HttpResponse{503, "{}"};
  });
  ASSERT_OK(http.status());
  const std::string key_file = absl::StrCat(testing::TempDir(), "/remote_engine_key_", getpid());
  std::ofstream(key_file) << "sk-1234\n";
  const std::string url = absl::StrCat("http://127.0.0.1:", (*http)->port());
  SWERVE_ASSERT_OK_AND_ASSIGN(auto engine, CreateRemoteEngine({.engine = "sglang", .servers = {.urls = {url}, .api_key_file = key_file, .deadline = absl::Seconds(30)},
                                                               .model_dir = std::string(SWERVE_SOURCE_DIR) + "/tests/policy/data/model"}));
  const GenerateRequest request{.prompt = {.text = "drive."}, .seeds = {1, 2, 3, 4}, .max_new_tokens = 8};
  SWERVE_ASSERT_OK_AND_ASSIGN(const auto results, engine->Generate({&request, 1}));
  EXPECT_THAT(results[0].responses[3].token_ids(), ElementsAre(20, 21, 1015));
  EXPECT_THAT(results[0].responses[3].logprobs(), ElementsAre(-1, -2, -3));
  server.Script({ErrsWith(401)});
  const absl::Status refused = engine->Generate({&request, 1}).status();
  EXPECT_THAT(refused, StatusIs(absl::StatusCode::kPermissionDenied, AllOf(HasSubstr(url), Not(HasSubstr("sk-1234")))));
}

}  // namespace
}  // namespace swerve
