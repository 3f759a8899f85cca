#include "policy/openai_server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "base/files.h"
#include "base/status_matchers.h"
#include "policy/fake_engine.h"

namespace swerve {
namespace {

using Json = nlohmann::json;

class OpenAiServerTest : public testing::Test {
 protected:
  FakeEngine engine_{[](const Prompt& p, uint64_t) { return p.text == "say" ? "one two STOP three" : absl::StrCat("heard ", p.text, p.image ? " with a picture" : "", p.before.empty() ? "" : " after " + p.before[0].text); }};
  OpenAiServer server_{&engine_, {.model = "tiny"}};

  HttpResponse Post(Json body) {
    if (!body.contains("model")) body["model"] = "tiny";
    if (!body.contains("messages")) body["messages"] = {{{"role", "user"}, {"content", "hello"}}};
    return server_.Answer({"POST", "/v1/chat/completions", body.dump()});
  }
  static Json Body(const HttpResponse& r) { return Json::parse(r.body); }
  // Says that it is 4096 x 4096.
  static std::string LargeJpeg() {
    std::string jpeg = *ReadFile(std::string(SWERVE_SOURCE_DIR) + "/tests/policy/data/images/tall.jpg");
    jpeg.replace(jpeg.find("\xff\xc0") + 5, 4, std::string("\x10\0\x10\0", 4));
    return jpeg;
  }
  static std::string DataUrl(const char* type, const std::string& file) {
    return absl::StrCat("data:image/", type, ";base64,", absl::Base64Escape(*ReadFile(std::string(SWERVE_SOURCE_DIR) + "/tests/policy/data/images/" + file)));
  }
};

TEST_F(OpenAiServerTest, AnswersEveryChoice) {
  const HttpResponse r = Post({{"n", 3}, {"seed", 7}, {"messages", {{{"role", "system"}, {"content", "rules"}}, {{"role", "user"}, {"content", "hello"}}}}});
  ASSERT_EQ(r.status, 200) << r.body;
  const Json json = Body(r);
  ASSERT_EQ(json["choices"].size(), 3u);
  EXPECT_EQ(json["object"], "chat.completion");
  EXPECT_EQ(json["choices"][2]["index"], 2);
  EXPECT_EQ(json["choices"][2]["message"]["content"], "heard hello after rules");
  EXPECT_EQ(json["choices"][0]["finish_reason"], "stop");
  EXPECT_EQ(json["usage"]["prompt_tokens"], 5);
  EXPECT_EQ(json["usage"]["completion_tokens"], 3 * 24);
}

TEST_F(OpenAiServerTest, TellsLogprobsWithoutTheEndOfTurn) {
  const Json json = Body(Post({{"logprobs", true}, {"top_logprobs", 2}}));
  const Json& content = json["choices"][0]["logprobs"]["content"];
  ASSERT_EQ(content.size(), std::string("heard hello").size());
  EXPECT_EQ(content[0]["token"], "h");
  EXPECT_EQ(content[0]["bytes"], Json::array({'h'}));
  EXPECT_EQ(content[0]["logprob"], -0.5);
  EXPECT_EQ(content[0]["top_logprobs"].size(), 2u);
}

TEST_F(OpenAiServerTest, ReadsPictures) {
  auto part = [](const std::string& url) { return Json{{"type", "image_url"}, {"image_url", {{"url", url}}}}; };
  const Json text = {{"type", "text"}, {"text", "drive"}};
  auto ask = [&](Json parts) { return Post({{"messages", {{{"role", "user"}, {"content", parts}}}}}); };
  EXPECT_EQ(Body(ask({part(DataUrl("png", "wide.png")), text}))["choices"][0]["message"]["content"], "heard drive with a picture");
  EXPECT_EQ(Body(ask({part(DataUrl("jpeg", "tall.jpg")), text}))["choices"][0]["message"]["content"], "heard drive with a picture");
  for (const auto& [parts, what] : std::vector<std::pair<Json, std::string>>{
           {{part("http://example.com/a.png"), text}, "only data: URLs"},
           {{part("data:image/png;base64,AAAA"), text}, "cannot be read"},
           {{part("data:image/png;base64,%%"), text}, "not base64"},
           {{text, part(DataUrl("png", "wide.png"))}, "before the text"},
           {{part(absl::StrCat("data:image/jpeg;base64,", absl::Base64Escape(LargeJpeg()))), text}, "beyond the limits"},
           {Json::array({{{"type", "video"}}}), "must be"}}) {
    const HttpResponse r = ask(parts);
    EXPECT_EQ(r.status, 400);
    EXPECT_THAT(Body(r)["error"]["message"].get<std::string>(), testing::HasSubstr(what));
    EXPECT_TRUE(absl::StartsWith(Body(r)["error"]["param"].get<std::string>(), "messages[0].content["));
  }
}

TEST_F(OpenAiServerTest, StreamsWhatCanNoLongerChange) {
  const HttpResponse r = Post({{"stream", true}, {"stop", "STOP"}, {"stream_options", {{"include_usage", true}}}, {"messages", {{{"role", "user"}, {"content", "say"}}}}});
  ASSERT_TRUE(r.stream);
  std::string text, all;
  int usages = 0;
  r.stream([&](absl::string_view bytes) {
    all.append(bytes.data(), bytes.size());
    EXPECT_TRUE(absl::StartsWith(bytes, "data: ") && absl::EndsWith(bytes, "\n\n"));
    const Json json = Json::parse(std::string(bytes.substr(6)), nullptr, false);
    if (!json.is_object()) return true;
    EXPECT_EQ(json["object"], "chat.completion.chunk");
    usages += json.contains("usage");
    for (const Json& c : json["choices"]) text += c["delta"].value("content", "");
    return true;
  });
  EXPECT_EQ(text, "one two ");
  EXPECT_EQ(usages, 1);
  EXPECT_TRUE(absl::EndsWith(all, "data: [DONE]\n\n"));
  EXPECT_THAT(all, testing::HasSubstr("\"finish_reason\":\"stop\""));
}

TEST_F(OpenAiServerTest, NamesWhatItRefuses) {
  for (const auto& [field, value] : std::vector<std::pair<std::string, Json>>{
           {"temperature", 3}, {"temperature", "x"}, {"top_p", 0}, {"n", 0}, {"n", 1.5}, {"max_tokens", -1}, {"stop", {"a", "b", "c", "d", "e"}}, {"stop", ""}, {"top_logprobs", 5},
           {"tools", {{{"type", "function"}}}}, {"presence_penalty", 1}, {"response_format", {{"type", "json_object"}}}, {"messages", Json::array()}, {"seed", "x"}, {"stream", 1}}) {
    const HttpResponse r = Post({{field, value}});
    EXPECT_EQ(r.status, 400) << field << r.body;
    EXPECT_EQ(Body(r)["error"]["type"], "invalid_request_error");
    EXPECT_EQ(Body(r)["error"]["param"], field) << r.body;
  }
  EXPECT_EQ(server_.Answer({"POST", "/v1/chat/completions", "{"}).status, 400);
  const HttpResponse other = Post({{"model", "gpt"}});
  EXPECT_EQ(other.status, 404);
  EXPECT_EQ(Body(other)["error"]["code"], "model_not_found");
  EXPECT_EQ(server_.Answer({"GET", "/v1/none", ""}).status, 404);
  EXPECT_EQ(server_.Answer({"GET", "/v1/chat/completions", ""}).status, 405);
}

TEST_F(OpenAiServerTest, FailuresOfTheEngineAreNotAnswers) {
  engine_.FailNext(absl::UnavailableError("the device is gone"));
  const HttpResponse r = Post(Json::object());
  EXPECT_EQ(r.status, 503);
  EXPECT_EQ(Body(r)["error"]["type"], "server_error");
  EXPECT_EQ(Post(Json::object()).status, 200);
}

// Generates until it is told to stop.
class EndlessEngine final : public Engine {
 public:
  absl::StatusOr<std::vector<GenerateResult>> Generate(absl::Span<const GenerateRequest> requests) override {
    std::vector<GenerateResult> results(requests.size());
    for (size_t i = 0; i < requests.size(); ++i) {
      started.Notify();
      while (!requests[i].cancelled->load()) {
        if (requests[i].on_token) requests[i].on_token({0, {'a', -1}, {}});
        absl::SleepFor(absl::Milliseconds(1));  // a token's time
      }
      for (uint64_t seed : requests[i].seeds) results[i].responses.emplace_back().set_seed(seed);
      for (v1::Response& r : results[i].responses) r.set_finish(v1::CANCELLED);
      if (requests[i].on_done) requests[i].on_done(results[i]);
    }
    ended.Notify();
    return results;
  }
  absl::Status Check(const GenerateRequest&) const override { return absl::OkStatus(); }
  absl::Status LoadWeights(const v1::PolicyManifest&) override { return absl::OkStatus(); }
  v1::PolicyManifest policy() const override { return {}; }
  std::string TokenBytes(int32_t) const override { return "a"; }
  int image_size() const override { return 0; }
  absl::Notification started, ended;
};

// Over real sockets: a client that closes its connection ends what is generated for it, streamed or not.
TEST(OpenAiOverHttp, GenerationEndsWhenTheClientIsGone) {
  for (const bool stream : {false, true}) {
    SCOPED_TRACE(stream);
    EndlessEngine engine;
    OpenAiServer openai(&engine, {.model = "tiny"});
    SWERVE_ASSERT_OK_AND_ASSIGN(auto http, HttpServer::Start({}, [&](const HttpCall& call) { return openai.Answer(call); }));
    const int client = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address = {};
    address.sin_family = AF_INET, address.sin_port = htons(static_cast<uint16_t>(http->port())), address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ASSERT_EQ(connect(client, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    const std::string body = Json{{"model", "tiny"}, {"stream", stream}, {"messages", {{{"role", "user"}, {"content", "hello"}}}}}.dump();
    const std::string head = absl::StrCat("POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: ", body.size(), "\r\n\r\n", body);
    ASSERT_EQ(write(client, head.data(), head.size()), static_cast<ssize_t>(head.size()));
    ASSERT_TRUE(engine.started.WaitForNotificationWithTimeout(absl::Seconds(20)));
    EXPECT_FALSE(engine.ended.HasBeenNotified());
    close(client);
    EXPECT_TRUE(engine.ended.WaitForNotificationWithTimeout(absl::Seconds(20)));
  }
}

TEST(EngineQueue, RefusesMoreThanMayWaitAndDropsWhatNobodyWaitsFor) {
  EndlessEngine engine;
  absl::StatusOr<GenerateResult> ends[3] = {absl::InternalError("none"), absl::InternalError("none"), absl::InternalError("none")};
  {
    EngineQueue queue(&engine, 1, 2);
    std::vector<std::shared_ptr<std::atomic<bool>>> cancelled;
    auto submit = [&](absl::Time deadline) {
      cancelled.push_back(std::make_shared<std::atomic<bool>>(false));
      const size_t i = cancelled.size() - 1;
      return queue.Submit({.prompt = {.text = "x"}, .seeds = {1}, .deadline = deadline, .cancelled = cancelled.back()}, [&ends, i](auto result) { ends[i] = std::move(result); });
    };
    ASSERT_OK(submit(absl::InfiniteFuture()));
    ASSERT_TRUE(engine.started.WaitForNotificationWithTimeout(absl::Seconds(20)));
    ASSERT_OK(submit(absl::InfiniteFuture()));
    ASSERT_OK(submit(absl::InfinitePast()));
    EXPECT_THAT(submit(absl::InfiniteFuture()), StatusIs(absl::StatusCode::kResourceExhausted, testing::HasSubstr("2 requests wait")));
    cancelled[1]->store(true);
    cancelled[0]->store(true);
    ASSERT_TRUE(engine.ended.WaitForNotificationWithTimeout(absl::Seconds(20)));
  }
  EXPECT_OK(ends[0].status());
  // The queue may have ended before it came to them; then they are told that.
  EXPECT_THAT(ends[1].status(), testing::AnyOf(StatusIs(absl::StatusCode::kCancelled, testing::_), StatusIs(absl::StatusCode::kUnavailable, testing::_)));
  EXPECT_THAT(ends[2].status(), testing::AnyOf(StatusIs(absl::StatusCode::kDeadlineExceeded, testing::_), StatusIs(absl::StatusCode::kUnavailable, testing::_)));
}

TEST_F(OpenAiServerTest, SaysWhatItServes) {
  EXPECT_EQ(Body(server_.Answer({"GET", "/v1/models", ""}))["data"][0]["id"], "tiny");
  EXPECT_EQ(server_.Answer({"GET", "/v1/models/tiny", ""}).status, 200);
  EXPECT_EQ(Body(server_.Answer({"GET", "/health", ""}))["status"], "ok");
}

}  // namespace
}  // namespace swerve
