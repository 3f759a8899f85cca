// The OpenAI-compatible teacher over real sockets, against a server that plays every fault.
#include "teacher_gateway/openai_teacher.h"

#include <gmock/gmock.h>
#include <prometheus/text_serializer.h>
#include <spdlog/sinks/ostream_sink.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/files.h"
#include "base/status_matchers.h"
#include "teacher_gateway/gateway.h"
#include "tests/testing/fake_http.h"
#include "tests/teacher_gateway/test_cases.h"
#include "tests/testing/fake_openai.h"

namespace swerve {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class OpenAiTest : public testing::Test {
 protected:
  // One for all: to stop civetweb takes seconds.
  static void SetUpTestSuite() { shared_ = new FakeOpenAi(); }
  static void TearDownTestSuite() { delete shared_; }
  OpenAiTest() : server_(*shared_), scene_(StoppedLead()) {
    server_.Reset();
    spec_.set_name("vlm");
    spec_.set_url(server_.url());
    spec_.set_model("m");
    spec_.set_image_size(64);
  }

  std::unique_ptr<OpenAiTeacher> Teacher(bool real_time = false) {
    OpenAiTeacher::Parts parts;
    parts.spec = spec_;
    parts.key = key_;
    parts.failed = PromptTemplate::ShippedFailed();
    parts.correct = PromptTemplate::ShippedCorrect();
    parts.http = std::make_shared<CurlHttp>();
    limits_ = parts.limits = std::make_shared<TeacherLimits>(spec_, Cost());
    if (!real_time) parts.clock = time_.clock();
    return std::make_unique<OpenAiTeacher>(std::move(parts));
  }
  v1::DiagnoseResult Ask(bool real_time = false) {
    const auto teacher = Teacher(real_time);
    const auto reply = teacher->Diagnose(Request({Crash("lead none.")}), scene_);
    EXPECT_EQ(reply.results_size(), 1);
    return reply.results(0);
  }
  void Expect(v1::Outcome outcome, const std::string& detail, size_t requests) {
    const v1::DiagnoseResult result = Ask();
    EXPECT_EQ(v1::Outcome_Name(result.outcome()), v1::Outcome_Name(outcome)) << result.detail();
    EXPECT_THAT(result.detail(), HasSubstr(detail));
    EXPECT_EQ(result.has_feedback(), outcome == v1::OK);
    EXPECT_EQ(server_.asked().size(), requests);
  }

  static FakeOpenAi* shared_;
  FakeOpenAi& server_;
  const v1::Scene scene_;
  v1::TeacherSpec spec_;
  ApiKey key_;
  FakeTime time_;
  std::shared_ptr<TeacherLimits> limits_;
};

FakeOpenAi* OpenAiTest::shared_ = nullptr;

TEST_F(OpenAiTest, TheModelGetsEverythingAndItsReportComesBack) {
  const v1::DiagnoseResult result = Ask();
  ASSERT_EQ(result.outcome(), v1::OK) << result.detail();
  const v1::Feedback& f = result.feedback();
  EXPECT_EQ(f.safety(), "its front hits a vehicle at 1.8 s");
  EXPECT_EQ(f.longitudinal_correction(), "brake to a stop within 12 m");
  EXPECT_EQ(f.teacher(), "vlm");
  EXPECT_EQ(f.teacher_version(), "m template 1");
  EXPECT_EQ(f.template_hash(), PromptTemplate::ShippedFailed().hash());
  ASSERT_EQ(server_.asked().size(), 1u);
  const auto asked = server_.asked()[0];
  EXPECT_EQ(asked.path, "/v1/chat/completions");
  EXPECT_EQ(asked.authorization, "");
  EXPECT_EQ(asked.body["response_format"]["type"], "json_schema");
  const auto& user = asked.body["messages"][1]["content"];
  EXPECT_THAT(user[0]["text"].get<std::string>(),
              AllOf(HasSubstr("its front hits a vehicle at 1.8 s"), HasSubstr("[3.5,0.0,0.00]"),
                    HasSubstr("<think>lead none.</think>"), HasSubstr("move forward"), HasSubstr("NC 0")));
  const std::string image = user[1]["image_url"]["url"];
  EXPECT_EQ(image.substr(0, 27), "data:image/png;base64,iVBOR");
  EXPECT_EQ(limits_->spent().tokens, 1000);
}

TEST_F(OpenAiTest, CorrectResponsesCostNothingUnlessAsked) {
  auto reply = Teacher()->Diagnose(Request({Good(), {}}), scene_);
  EXPECT_EQ(reply.results(0).feedback().prompt_text(), kPraise);
  EXPECT_EQ(reply.results(1).outcome(), v1::SCHEMA_INVALID);  // no reward
  EXPECT_TRUE(server_.asked().empty());
  spec_.set_ask_correct(true);
  reply = Teacher()->Diagnose(Request({Good()}), scene_);
  EXPECT_THAT(reply.results(0).feedback().prompt_text(), HasSubstr("right. action:"));
  EXPECT_TRUE(reply.results(0).feedback().positive());
  EXPECT_EQ(reply.results(0).feedback().template_hash(), PromptTemplate::ShippedCorrect().hash());
  server_.Always(Errs(400));
  reply = Teacher()->Diagnose(Request({Good()}), scene_);
  EXPECT_EQ(reply.results(0).outcome(), v1::OK);
  EXPECT_EQ(reply.results(0).feedback().prompt_text(), kPraise);
}

TEST_F(OpenAiTest, AnInvalidAnswerIsRepairedOnce) {
  nlohmann::json without = FakeReport();
  without.erase("safety");
  server_.Script({Says(without.dump())});
  Expect(v1::OK, "", 2);
  const auto messages = server_.asked()[1].body["messages"];
  ASSERT_EQ(messages.size(), 4u);
  EXPECT_EQ(messages[2]["role"], "assistant");
  EXPECT_THAT(messages[3]["content"].get<std::string>(), HasSubstr("member \"safety\" is missing"));
  EXPECT_EQ(limits_->spent().tokens, 2000);  // both were paid for
}

TEST_F(OpenAiTest, ASecondInvalidAnswerIsSchemaInvalid) {
  server_.Always(Says("The car should brake."));
  Expect(v1::SCHEMA_INVALID, "after one repair: the answer is not JSON", 2);
}

TEST_F(OpenAiTest, ARefusalIsOne) {
  FakeAnswer refusal = Says("");
  refusal.body = R"({"choices":[{"message":{"content":null,"refusal":"I cannot help"},"finish_reason":"stop"}]})";
  server_.Always(refusal);
  Expect(v1::REFUSED, "I cannot help", 1);
  server_.Always(Errs(401, R"({"error":{"message":"bad key","code":"invalid_api_key"}})"));
  Expect(v1::REFUSED, "HTTP 401: invalid_api_key: bad key", 2);
  server_.Always(Errs(400, R"({"error":{"message":"flagged","code":"content_filter"}})"));
  Expect(v1::REFUSED, "flagged", 3);
}

TEST_F(OpenAiTest, RetryAfterIsHonoured) {
  server_.Script({Errs(429, "{}", "Retry-After: 7\r\n"), Errs(429, "{}", "retry-after-ms: 1500\r\n")});
  const absl::Time start = time_.clock().now();
  Expect(v1::OK, "", 3);
  EXPECT_GE(time_.clock().now() - start, absl::Milliseconds(8500));
  EXPECT_LE(time_.clock().now() - start, absl::Milliseconds(11000));
}

TEST_F(OpenAiTest, APauseBeyondTheDeadlineIsRateLimitedAtOnce) {
  server_.Always(Errs(429, R"({"error":{"message":"slow down"}})", "Retry-After: 600\r\n"));
  Expect(v1::RATE_LIMITED, "its server asked for a pause", 1);
  EXPECT_LE(time_.clock().now(), absl::FromUnixSeconds(1'700'000'000) + absl::Seconds(1));
}

TEST_F(OpenAiTest, RetryAfterMayBeADate) {
  const absl::Time now = absl::FromUnixSeconds(1'700'000'000);
  HttpReply reply;
  reply.retry_after = absl::FormatTime("%a, %d %b %Y %H:%M:%S GMT", now + absl::Seconds(90), absl::UTCTimeZone());
  EXPECT_EQ(RetryTime(reply, now), now + absl::Seconds(90));
  reply.retry_after = "-5";
  EXPECT_EQ(RetryTime(reply, now), now);
  reply.retry_after = "1e300";
  EXPECT_EQ(RetryTime(reply, now), now + absl::Hours(1));
  for (const char* none : {"", "soon", "nan"}) {
    reply.retry_after = none;
    EXPECT_EQ(RetryTime(reply, now), std::nullopt) << none;
  }
}

TEST_F(OpenAiTest, A500IsTriedAgainWithGrowingPauses) {
  server_.Script({Errs(500), Errs(503)});
  Expect(v1::OK, "", 3);
  EXPECT_THAT(time_.slept(), testing::ElementsAre(absl::Milliseconds(250), absl::Milliseconds(500)));
}

TEST_F(OpenAiTest, A500ToTheEndIsUnavailableAndTheBreakerSparesTheServer) {
  spec_.set_breaker_failures(4);
  server_.Always(Errs(500, "<html>oops</html>"));
  const auto teacher = Teacher();
  const auto ask = [&] { return teacher->Diagnose(Request({Crash("")}), scene_).results(0); };
  v1::DiagnoseResult result = ask();
  EXPECT_EQ(result.outcome(), v1::UNAVAILABLE);
  EXPECT_THAT(result.detail(), HasSubstr("HTTP 500: <html>oops</html>"));
  EXPECT_EQ(server_.asked().size(), 4u);
  EXPECT_THAT(ask().detail(), HasSubstr("left alone after 4 failures"));
  EXPECT_EQ(server_.asked().size(), 4u);
  server_.Always(Says(FakeReport().dump()));
  time_.Advance(absl::Seconds(31));
  EXPECT_EQ(ask().outcome(), v1::OK);
}

TEST_F(OpenAiTest, BrokenJsonAndCutConnectionsAreTriedAgain) {
  FakeAnswer broken;
  broken.body = "{\"choices\": [{\"mess";
  FakeAnswer cut = Says(FakeReport().dump());
  cut.manner = FakeAnswer::kCut;
  cut.headers = "Connection: close\r\n";
  server_.Script({broken, cut});
  Expect(v1::OK, "", 3);
  spec_.set_max_retries(0);
  server_.Script({broken});
  Expect(v1::SCHEMA_INVALID, "the reply is not JSON", 4);
}

TEST_F(OpenAiTest, SettingsThatNeedAPersonAreInternalAndNotRetried) {
  server_.Always(Errs(404, R"({"error":{"message":"The model `m` does not exist."}})"));
  Expect(v1::INTERNAL, "HTTP 404: The model `m` does not exist.", 1);
  server_.Always(Errs(302, "", "Location: http://127.0.0.1:9/elsewhere\r\n"));
  Expect(v1::INTERNAL, "HTTP 302", 2);
  server_.Always(Errs(429, R"({"error":{"message":"You exceeded your quota","code":"insufficient_quota"}})"));
  Expect(v1::OVER_BUDGET, "insufficient_quota", 3);
}

TEST_F(OpenAiTest, AServerThatNeverAnswersIsATimeout) {
  FakeAnswer hang;
  hang.manner = FakeAnswer::kHang;
  server_.Always(hang);
  spec_.set_deadline_seconds(0.2);
  const v1::DiagnoseResult result = Ask(/*real_time=*/true);
  EXPECT_EQ(result.outcome(), v1::TIMEOUT);
  EXPECT_THAT(result.detail(), HasSubstr("no whole answer within"));
}

TEST_F(OpenAiTest, ASlowDripIsATimeoutToo) {
  FakeAnswer drip = Says(FakeReport().dump());
  drip.manner = FakeAnswer::kDrip;
  server_.Always(drip);
  spec_.set_deadline_seconds(0.3);
  EXPECT_EQ(Ask(/*real_time=*/true).outcome(), v1::TIMEOUT);
}

TEST_F(OpenAiTest, AHugeBodyIsRefusedWithoutBeingKept) {
  server_.Always(SaysEndlessly(100 << 20));
  Expect(v1::SCHEMA_INVALID, "larger than", 1);
  // The client hung up at its own limit of 4 MiB; what was in the sockets' buffers is on top.
  EXPECT_LT(server_.bytes_sent(), size_t{32} << 20);
}

TEST_F(OpenAiTest, NobodyListeningIsUnavailable) {
  spec_.set_url("http://127.0.0.1:1/v1");
  const v1::DiagnoseResult result = Ask();
  EXPECT_EQ(result.outcome(), v1::UNAVAILABLE) << result.detail();
  EXPECT_EQ(limits_->spent().tokens, 0);
}

TEST_F(OpenAiTest, OurOwnLimitsAreTypedToo) {
  spec_.set_requests_per_minute(1);
  spec_.set_deadline_seconds(20);
  const auto teacher = Teacher();
  const auto reply = teacher->Diagnose(Request({Crash("a"), Crash("b")}), scene_);
  std::vector<v1::Outcome> outcomes = {reply.results(0).outcome(), reply.results(1).outcome()};
  EXPECT_THAT(outcomes, testing::UnorderedElementsAre(v1::OK, v1::RATE_LIMITED));
  spec_.set_requests_per_minute(0);
  spec_.set_budget_tokens(10);
  Expect(v1::OVER_BUDGET, "budget_tokens of 10", 1);
}

TEST_F(OpenAiTest, AGroupIsAskedAtOnceOverConnectionsThatStay) {
  spec_.set_concurrency(4);
  const auto teacher = Teacher();
  for (int round = 0; round < 3; ++round) {
    std::vector<v1::DiagnoseItem> items;
    for (int i = 0; i < 8; ++i) items.push_back(Crash(absl::StrCat("round ", round, " item ", i)));
    const auto reply = teacher->Diagnose(Request(std::move(items)), scene_);
    for (const auto& result : reply.results()) EXPECT_EQ(result.outcome(), v1::OK) << result.detail();
  }
  EXPECT_EQ(server_.asked().size(), 24u);
  EXPECT_LE(server_.most_at_once(), 4);
  EXPECT_LE(server_.connections(), 4u);
}

// The key goes into one header and nowhere else: not into replies, logs, metrics, files or what `list` shows, even when
// the endpoint quotes it.
TEST_F(OpenAiTest, TheKeyReachesTheEndpointAndNothingElse) {
  const std::string key = "sk-Zq81vN3xT0-do-not-tell";
  const std::string root = absl::StrCat(testing::TempDir(), "/key-", getpid());
  std::filesystem::remove_all(root);
  ASSERT_OK(MakeDirectories(root));
  setenv("SWERVE_TEST_TEACHER_KEY", key.c_str(), 1);
  std::ostringstream log;
  const auto before = spdlog::default_logger();
  spdlog::set_default_logger(std::make_shared<spdlog::logger>("t", std::make_shared<spdlog::sinks::ostream_sink_mt>(log)));
  spdlog::set_level(spdlog::level::trace);
  const std::string yaml = absl::StrCat("teachers:\n  - name: keyed\n    model: m\n    image_size: 0\n    max_retries: 1\n"
                                        "    key_env: SWERVE_TEST_TEACHER_KEY\n    url: ", server_.url(), "\n");
  ASSERT_OK(WriteFileAtomically(root + "/teachers.yaml", yaml));
  Gateway::Options options;
  options.run_root = root;
  options.clock = time_.clock();
  std::string told;
  {
    SWERVE_ASSERT_OK_AND_ASSIGN(const auto gateway, Gateway::Open(options));
    nlohmann::json quoting = FakeReport();
    quoting["safety"] = absl::StrCat("your key is ", key);
    const std::string error = absl::StrCat(R"({"error":{"message":"Incorrect API key: )", key, "\"}}");
    std::vector<FakeAnswer> answers = {Says(quoting.dump()), Errs(401, error), Errs(500, error), Errs(500, key),
                                       Errs(429, error), Errs(429, error), Says(key), Says(key)};
    server_.Script(answers);
    for (int i = 0; i < 5; ++i) {
      told += gateway->Diagnose(Request({Crash(absl::StrCat("case ", i))}), scene_).DebugString();
    }
    EXPECT_EQ(server_.asked().size(), 8u);
    for (const auto& asked : server_.asked()) EXPECT_EQ(asked.authorization, "Bearer " + key);
    ASSERT_OK(WriteFileAtomically(root + "/teachers.yaml", yaml + "    key_env: " + key + "\n"));
    told += gateway->ReloadIfChanged().ToString();
    ASSERT_OK(WriteFileAtomically(root + "/teachers.yaml", yaml + "    weight: 2\n"));
    EXPECT_OK(gateway->ReloadIfChanged());
    told += gateway->List().DebugString();
  }
  spdlog::set_default_logger(before);
  EXPECT_THAT(told, HasSubstr("your key is ***"));
  told += log.str();
  told += prometheus::TextSerializer().Serialize(metrics::Registry()->Collect());
  std::filesystem::remove(root + "/teachers.yaml");  // the one that we put it into
  for (const auto& entry : std::filesystem::directory_iterator(root)) {
    SWERVE_ASSERT_OK_AND_ASSIGN(const std::string bytes, ReadFile(entry.path().string()));
    told += bytes;
  }
  EXPECT_THAT(log.str(), HasSubstr("teachers: set 2"));
  EXPECT_THAT(told, AllOf(HasSubstr("keyed"), Not(HasSubstr(key)), Not(HasSubstr("Zq81vN3xT0"))));
  std::filesystem::remove_all(root);
}

}  // namespace
}  // namespace swerve
