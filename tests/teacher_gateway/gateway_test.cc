// Several teachers behind one face: who gets which group, what happens when one gives no report, and how they change.
#include "teacher_gateway/gateway.h"

#include <gmock/gmock.h>
#include <prometheus/text_serializer.h>
#include <unistd.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <thread>

#include "absl/strings/str_split.h"
#include "absl/synchronization/notification.h"
#include "base/files.h"
#include "base/status_matchers.h"
#include "teacher_gateway/admin.h"
#include "tests/testing/fake_http.h"
#include "tests/teacher_gateway/test_cases.h"

namespace swerve {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

HttpReply Reply(int status, const std::string& content) {
  HttpReply reply;
  reply.status = status;
  reply.body = nlohmann::json({{"choices", {{{"message", {{"content", content}}}, {"finish_reason", "stop"}}}},
                               {"usage", {{"prompt_tokens", 900}, {"completion_tokens", 100}}}})
                   .dump();
  return reply;
}

std::string Report(const std::string& safety = "hits a vehicle") {
  return nlohmann::json({{"meta_action", "stop"},
                         {"think_process", "missed it"},
                         {"safety", safety},
                         {"efficiency", "fine"},
                         {"correction", {{"lateral", "keep"}, {"longitudinal", "brake"}}}})
      .dump();
}

class GatewayTest : public testing::Test {
 protected:
  GatewayTest()
      : root_(absl::StrCat(testing::TempDir(), "/gateway-", getpid(), "-",
                           testing::UnitTest::GetInstance()->current_test_info()->name())),
        scene_(StoppedLead()) {
    std::filesystem::remove_all(root_);
    EXPECT_OK(MakeDirectories(root_));
    options_.run_root = root_;
    options_.clock = time_.clock();
    Answer([](const HttpRequest&) { return Reply(200, Report()); });
  }
  ~GatewayTest() override { std::filesystem::remove_all(root_); }

  void Answer(FakeHttp::Answer answer) {
    http_ = std::make_shared<FakeHttp>(std::move(answer));
    options_.http = http_;
  }
  std::string file() const { return root_ + "/teachers.yaml"; }
  void Write(const std::string& yaml) { ASSERT_OK(WriteFileAtomically(file(), yaml)); }
  std::shared_ptr<Gateway> Open() {
    auto gateway = Gateway::Open(options_);
    EXPECT_TRUE(gateway.ok()) << gateway.status();
    return *std::move(gateway);
  }
  v1::DiagnoseResult Ask(const Gateway& gateway, uint64_t group = 3) {
    const auto reply = gateway.DiagnoseBy(Request({Crash("lead none.")}, group), scene_,
                                          options_.clock.now() + absl::Seconds(30));
    EXPECT_EQ(reply.results_size(), 1);
    return reply.results(0);
  }

  const std::string root_;
  const v1::Scene scene_;
  FakeTime time_;
  std::shared_ptr<FakeHttp> http_;
  Gateway::Options options_;
};

constexpr char kVlm[] = "teachers:\n  - name: vlm\n    url: http://127.0.0.1:1/v1\n    model: m\n    image_size: 64\n";

// What the demo depends on: without a teachers file the workers get what the embedded teacher says, to the last byte.
TEST_F(GatewayTest, WithoutAFileTheKindAnswersAsEver) {
  for (const char* kind : {"oracle", "rule", "ground_truth"}) {
    options_.config.set_kind(kind);
    options_.config.set_report_noise(std::string(kind) == "oracle" ? 1.5 : 0);
    SWERVE_ASSERT_OK_AND_ASSIGN(const auto plain, CreateTeacher(options_.config));
    const auto request = Request({Crash("lead none. plan maintain, keep."), Good(), {}});
    v1::DiagnoseReply reply = Open()->Diagnose(request, scene_);
    EXPECT_EQ(reply.teacher(), kind);
    reply.clear_teacher();
    reply.clear_set_version();
    for (v1::DiagnoseResult& result : *reply.mutable_results()) {  // what the gateway notes about a report
      result.clear_cost();
      result.clear_failed();
      if (!result.has_feedback()) continue;
      result.mutable_feedback()->clear_cost();
      EXPECT_EQ(result.feedback().holds_ground_truth(),
                std::string(kind) == "ground_truth" && !result.feedback().positive());
      result.mutable_feedback()->clear_holds_ground_truth();
    }
    EXPECT_EQ(reply.SerializeAsString(), plain->Diagnose(request, scene_).SerializeAsString());
  }
  EXPECT_TRUE(std::filesystem::is_empty(root_));  // nothing is written either
}

TEST_F(GatewayTest, WeightsSplitGroupsAndMoveOnlyWhatTheyMust) {
  Write("teachers:\n  - {name: a, kind: rule, weight: 3}\n  - {name: b, kind: oracle}\n");
  const auto gateway = Open();
  std::vector<std::string> before;
  for (uint64_t group = 0; group < 2000; ++group) {
    const auto reply = gateway->Diagnose(Request({Crash("")}, group), scene_);
    before.push_back(reply.teacher());
    EXPECT_EQ(reply.results(0).feedback().teacher(), reply.teacher());
  }
  EXPECT_NEAR(static_cast<double>(std::count(before.begin(), before.end(), "a")) / 2000, 0.75, 0.03);
  Write("teachers:\n  - {name: b, kind: oracle}\n  - {name: a, kind: rule, weight: 3}\n  - {name: c, kind: rule}\n");
  EXPECT_OK(gateway->Reload().status());
  int moved = 0;
  for (uint64_t group = 0; group < 2000; ++group) {
    const std::string now = gateway->Diagnose(Request({Crash("")}, group), scene_).teacher();
    if (now == before[group]) continue;
    ++moved;
    EXPECT_EQ(now, "c");
  }
  EXPECT_NEAR(moved / 2000.0, 0.2, 0.03);
}

TEST_F(GatewayTest, AFailedTeachersGroupTrainsAsItsChainSaysAndIsMarked) {
  Write(absl::StrCat(kVlm, "    max_retries: 0\n    fallback: [second, oracle]\n"
                           "  - {name: second, url: \"http://127.0.0.1:2/v1\", model: m, weight: 0, max_retries: 0}\n"));
  Answer([](const HttpRequest& r) -> absl::StatusOr<HttpReply> {
    if (absl::StrContains(r.url, ":1/")) return absl::DeadlineExceededError("slow");
    return Reply(429, "");
  });
  const auto gateway = Open();
  const v1::DiagnoseResult result = Ask(*gateway);
  ASSERT_EQ(result.outcome(), v1::OK) << result.detail();
  EXPECT_EQ(result.feedback().teacher(), "oracle");
  EXPECT_EQ(result.feedback().safety(), "front hits vehicle at 1.8 s.");
  ASSERT_EQ(result.feedback().fallen_from_size(), 2);
  EXPECT_EQ(result.feedback().fallen_from(0).teacher(), "vlm");
  EXPECT_EQ(result.feedback().fallen_from(0).outcome(), v1::TIMEOUT);
  EXPECT_EQ(result.feedback().fallen_from(1).teacher(), "second");
  EXPECT_EQ(result.feedback().fallen_from(1).outcome(), v1::RATE_LIMITED);
  EXPECT_GT(result.feedback().fallen_from(0).cost().tokens(), 1000);  // a timeout may have been paid for: the estimate
  EXPECT_EQ(result.feedback().fallen_from(1).cost().tokens(), 0);
  const auto list = gateway->List();
  EXPECT_EQ(list.teachers(0).reports().at("TIMEOUT"), 1u);
  EXPECT_EQ(list.teachers(1).reports().at("RATE_LIMITED"), 1u);
}

TEST_F(GatewayTest, AChainThatEndsInNoneLeavesTheTypedFailure) {
  Write(absl::StrCat(kVlm, "    max_retries: 0\n    fallback: [none, oracle]\n"));
  Answer([](const HttpRequest&) { return absl::UnavailableError("refused"); });
  const v1::DiagnoseResult result = Ask(*Open());
  EXPECT_EQ(result.outcome(), v1::UNAVAILABLE);
  EXPECT_FALSE(result.has_feedback());
  EXPECT_THAT(result.detail(), HasSubstr("refused"));
}

TEST_F(GatewayTest, AChangedFileTakesEffectAndAnInvalidOneIsRefusedWhole) {
  options_.config.set_kind("oracle");
  const auto gateway = Open();
  EXPECT_EQ(Ask(*gateway).feedback().teacher(), "oracle");
  EXPECT_OK(gateway->ReloadIfChanged());
  EXPECT_EQ(gateway->List().set_version(), 1u);
  Write(kVlm);
  EXPECT_OK(gateway->ReloadIfChanged());
  EXPECT_EQ(gateway->List().set_version(), 2u);
  const v1::Feedback f = Ask(*gateway).feedback();
  EXPECT_EQ(f.teacher(), "vlm");
  EXPECT_EQ(f.teacher_version(), "m template 1");
  EXPECT_EQ(f.template_hash().size(), 16u);
  Write("teachers:\n  - {name: a, kind: rule}\n  - {name: b, kind: rule, weight: -1}\n");
  EXPECT_THAT(gateway->ReloadIfChanged(), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("teachers.yaml:3")));
  EXPECT_OK(gateway->ReloadIfChanged());  // told once
  EXPECT_EQ(gateway->List().set_version(), 2u);
  EXPECT_EQ(Ask(*gateway).feedback().teacher(), "vlm");
  // A change by hand would overwrite what somebody is writing.
  EXPECT_THAT(gateway->Edit([](v1::TeachersFile*) { return absl::OkStatus(); }, "x").status(),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("put it right")));
  // Half a file, a missing key and a missing template keep the old set as well.
  for (const char* bad : {"    key_env: SWERVE_NO_SUCH_KEY\n", "    failed_template: no.txt\n", "    weight: x\n"}) {
    Write(absl::StrCat(kVlm, bad));
    EXPECT_THAT(gateway->ReloadIfChanged(), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("teachers.yaml:6"))) << bad;
  }
  std::filesystem::remove(file());
  EXPECT_OK(gateway->ReloadIfChanged());
  EXPECT_EQ(Ask(*gateway).feedback().teacher(), "vlm");
  SWERVE_ASSERT_OK_AND_ASSIGN(const std::string log, ReadFile(root_ + "/teacher_changes.jsonl"));
  EXPECT_EQ(nlohmann::json::parse(log)["teachers"][0]["name"], "vlm");
}

TEST_F(GatewayTest, AProcessThatStartsOnABrokenFileGoesOnWithWhatWasInForce) {
  Write("teachers:\n  - {name: broken\n");
  EXPECT_THAT(Gateway::Open(options_).status(), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("teachers.yaml")));
  Write("teachers:\n  - {name: r, kind: rule}\n");
  Open();
  Write("teachers:\n  - {name: broken\n");
  EXPECT_EQ(Ask(*Open()).feedback().teacher(), "r");
  options_.config.set_teachers_file(root_ + "/elsewhere.yaml");
  std::filesystem::remove(root_ + "/teachers.applied.yaml");
  EXPECT_THAT(Gateway::Open(options_).status(), StatusIs(absl::StatusCode::kNotFound, HasSubstr("elsewhere.yaml")));
}

TEST_F(GatewayTest, WhatIsInFlightEndsUnderTheOldSet) {
  absl::Notification asked, go;
  Answer([&](const HttpRequest&) {
    asked.Notify();
    go.WaitForNotification();
    return Reply(200, Report());
  });
  Write(kVlm);
  const auto gateway = Open();
  v1::DiagnoseResult late;
  std::thread worker([&] { late = Ask(*gateway); });
  asked.WaitForNotification();
  Write("teachers:\n  - {name: r, kind: rule}\n");
  EXPECT_OK(gateway->ReloadIfChanged());
  EXPECT_EQ(Ask(*gateway).feedback().teacher(), "r");  // at once, beside the other
  go.Notify();
  worker.join();
  EXPECT_EQ(late.feedback().teacher(), "vlm");
}

// A shadow that never answers costs the group nothing, and misses what it has no room for.
TEST_F(GatewayTest, AShadowSeesCopiesAndDelaysNobody) {
  absl::Mutex mu;
  std::vector<std::string> bodies;
  absl::Notification go;
  Answer([&](const HttpRequest& r) {
    {
      absl::MutexLock lock(&mu);
      bodies.push_back(r.body);
    }
    go.WaitForNotification();
    return Reply(200, Report());
  });
  Write("teachers:\n  - {name: o, kind: oracle}\n"
        "  - {name: dark, url: \"http://127.0.0.1:1/v1\", model: m, shadow: true, image_size: 64}\n");
  auto gateway = Open();
  constexpr int kGroups = Shadows::kGroupsOfOne + 3;
  for (uint64_t group = 0; group < kGroups; ++group) {
    EXPECT_EQ(Ask(*gateway, group).feedback().teacher(), "o");
  }
  const v1::TeacherState dark = gateway->List().teachers(1);
  EXPECT_EQ(dark.share(), 1);
  EXPECT_EQ(dark.shadow_missed(), 3u);
  EXPECT_EQ(gateway->List().teachers(0).share(), 1);
  {
    absl::MutexLock lock(&mu);
    mu.Await(absl::Condition(+[](std::vector<std::string>* b) { return b->size() == Shadows::kGroupsOfOne; }, &bodies));
    EXPECT_THAT(bodies[0], HasSubstr("lead none."));
  }
  const TeacherMetrics metrics("dark");
  EXPECT_EQ(metrics.Reports(v1::OK).Value(), 0);
  go.Notify();
  gateway.reset();  // waits for what is under way
  EXPECT_EQ(metrics.Reports(v1::OK).Value(), Shadows::kGroupsOfOne);
}

TEST_F(GatewayTest, AShadowSeesTheShareThatItsWeightSays) {
  Write("teachers:\n  - {name: o, kind: oracle}\n  - {name: s, kind: rule, shadow: true, weight: 0.25}\n");
  auto source = TeachersSource::Parse(*ReadFile(file()), "t");
  ASSERT_OK(source.status());
  TeacherParts parts;
  parts.clock = time_.clock();
  SWERVE_ASSERT_OK_AND_ASSIGN(const auto set, TeacherSet::Build(*source, parts, nullptr, 1));
  int seen = 0;
  for (uint64_t group = 0; group < 2000; ++group) {
    seen += static_cast<int>(set->ShadowsOf("scene", group).size());
    EXPECT_EQ(set->ArmOf("scene", group).spec.name(), "o");
  }
  EXPECT_NEAR(seen / 2000.0, 0.25, 0.03);
}

TEST_F(GatewayTest, AHedgedRequestsFirstAnswerCountsAndBothAreBooked) {
  Answer([](const HttpRequest& r) -> absl::StatusOr<HttpReply> {
    static std::atomic<int> calls{0};
    if (calls++ > 0) return Reply(200, Report("the second"));
    while (!r.cancelled->load()) std::this_thread::yield();  // never answers
    return absl::CancelledError("called off");
  });
  Write(absl::StrCat(kVlm, "    hedge_seconds: 0.001\n"));
  auto gateway = Open();
  const v1::DiagnoseResult result = Ask(*gateway);
  ASSERT_EQ(result.outcome(), v1::OK) << result.detail();
  EXPECT_EQ(result.feedback().safety(), "the second");
  EXPECT_EQ(http_->calls(), 2);
  EXPECT_EQ(gateway->List().teachers(0).hedges(), 1u);
  const double paid = result.feedback().cost().tokens();
  EXPECT_GT(paid, 2000);  // 1000, and the estimate of the one that was called off
  gateway.reset();  // the loser has ended
  gateway = Open();
  EXPECT_NEAR(gateway->List().teachers(0).tokens(), paid, 1);  // the file holds whole tokens
}

TEST_F(GatewayTest, AChangeWhileNoGatewayRanIsAnEventAndVersionsGrowOverRestarts) {
  Write("teachers:\n  - {name: a, kind: rule}\n");
  EXPECT_EQ(Open()->List().set_version(), 1u);
  Write("teachers:\n  - {name: b, kind: oracle}\n");
  Open();
  SWERVE_ASSERT_OK_AND_ASSIGN(const std::string changes, ReadFile(root_ + "/teacher_changes.jsonl"));
  EXPECT_THAT(changes, HasSubstr("\"b\""));
  EXPECT_EQ(Open()->List().set_version(), 2u);  // nothing changed since
}

TEST_F(GatewayTest, AReportThatWasPaidForIsRemembered) {
  Write(kVlm);
  auto gateway = Open();
  v1::DiagnoseResult first = Ask(*gateway);
  EXPECT_EQ(first.feedback().cost().tokens(), 1000);
  EXPECT_EQ(http_->calls(), 1);
  first.mutable_feedback()->mutable_cost()->Clear();  // remembered: nothing more to pay
  EXPECT_EQ(Ask(*gateway, 99).feedback().SerializeAsString(), first.feedback().SerializeAsString());
  EXPECT_EQ(http_->calls(), 1);
  gateway.reset();
  gateway = Open();  // another process
  EXPECT_EQ(Ask(*gateway).feedback().SerializeAsString(), first.feedback().SerializeAsString());
  EXPECT_EQ(http_->calls(), 1);
  const auto state = gateway->List().teachers(0);
  EXPECT_EQ(state.tokens(), 1000);
  EXPECT_GE(state.cache_hits(), 2u);
  // Other parameters are another question.
  Write(absl::StrCat(kVlm, "    temperature: 0.9\n"));
  EXPECT_OK(gateway->ReloadIfChanged());
  Ask(*gateway);
  EXPECT_EQ(http_->calls(), 2);
  EXPECT_EQ(gateway->List().teachers(0).tokens(), 2000);
}

TEST_F(GatewayTest, ABudgetIsTheRunsAndOutlivesReloadsAndProcesses) {
  Write(absl::StrCat(kVlm, "    budget_tokens: 5000\n    fallback: [rule]\n"));
  options_.config.set_cache_mb(0);
  auto gateway = Open();
  int paid = 0;
  for (int i = 0; i < 9; ++i) {
    const v1::Feedback f = Ask(*gateway).feedback();
    paid += f.teacher() == "vlm";
    if (f.teacher() != "vlm") {
      EXPECT_EQ(f.fallen_from(0).outcome(), v1::OVER_BUDGET);
    }
    if (i == 1) {
      EXPECT_OK(gateway->Reload().status());
    } else if (i == 2) {
      gateway.reset();
      gateway = Open();
    }
  }
  EXPECT_GE(paid, 2);
  EXPECT_LE(gateway->List().teachers(0).tokens(), 5000);
  EXPECT_EQ(http_->calls(), paid);
}

TEST_F(GatewayTest, ReportsThatGiveThePosesAwayAreCounted) {
  Answer([n = 0](const HttpRequest&) mutable {
    return Reply(200, Report(++n % 2 == 0 ? "fine" : "drive [3.5,0.0],[6.5,0.0],[9.0,0.0] instead"));
  });
  Write("teachers:\n  - {name: copier, url: \"http://127.0.0.1:1/v1\", model: m, image_size: 0, concurrency: 1}\n");
  options_.config.set_cache_mb(0);
  const auto gateway = Open();
  for (int i = 0; i < 4; ++i) Ask(*gateway);
  EXPECT_DOUBLE_EQ(gateway->List().teachers(0).with_ground_truth(), 0.5);
}

TEST_F(GatewayTest, ChangesByHandAreKeptInTheFile) {
  options_.config.set_kind("oracle");
  const auto gateway = Open();
  TeacherAdminService admin(gateway);
  v1::TeachersChanged changed;
  v1::AddTeacherRequest add;
  SWERVE_ASSERT_OK_AND_ASSIGN(const auto source, TeachersSource::Parse(kVlm, "f"));
  *add.mutable_teacher() = source.file().teachers(0);
  EXPECT_TRUE(admin.AddTeacher(nullptr, &add, &changed).ok());
  EXPECT_EQ(changed.set_version(), 2u);
  EXPECT_EQ(FromGrpc(admin.AddTeacher(nullptr, &add, &changed)).code(), absl::StatusCode::kAlreadyExists);
  v1::SetTeacherWeightRequest weight;
  weight.set_name("oracle");
  weight.set_weight(0);
  EXPECT_TRUE(admin.SetTeacherWeight(nullptr, &weight, &changed).ok());
  EXPECT_EQ(Ask(*gateway).feedback().teacher(), "vlm");
  v1::DrainTeacherRequest drain;
  drain.set_name("vlm");
  EXPECT_THAT(FromGrpc(admin.DrainTeacher(nullptr, &drain, &changed)),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("no teacher for the groups")));
  weight.set_weight(-2);
  EXPECT_THAT(FromGrpc(admin.SetTeacherWeight(nullptr, &weight, &changed)),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("'weight' is -2")));
  weight.set_weight(1);
  EXPECT_TRUE(admin.SetTeacherWeight(nullptr, &weight, &changed).ok());
  EXPECT_TRUE(admin.DrainTeacher(nullptr, &drain, &changed).ok());
  EXPECT_EQ(Ask(*gateway).feedback().teacher(), "oracle");
  EXPECT_EQ(Ask(*Open()).feedback().teacher(), "oracle");  // a restart finds the file
  v1::RemoveTeacherRequest remove;
  remove.set_name("vml");
  EXPECT_THAT(FromGrpc(admin.RemoveTeacher(nullptr, &remove, &changed)),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("there are: oracle, vlm")));
  remove.set_name("vlm");
  EXPECT_TRUE(admin.RemoveTeacher(nullptr, &remove, &changed).ok());
  v1::ListTeachersReply list;
  EXPECT_TRUE(admin.ListTeachers(nullptr, nullptr, &list).ok());
  EXPECT_EQ(list.teachers_size(), 1);
  EXPECT_EQ(list.set_version(), changed.set_version());
  EXPECT_TRUE(list.from_file());
  SWERVE_ASSERT_OK_AND_ASSIGN(const std::string yaml, ReadFile(file()));
  EXPECT_THAT(yaml, AllOf(HasSubstr("oracle"), Not(HasSubstr("vlm"))));
}

TEST_F(GatewayTest, ARunWhoseWorkersAskNobodySaysSo) {
  options_.config.set_kind("none");
  EXPECT_THAT(Open()->Edit([](v1::TeachersFile*) { return absl::OkStatus(); }, "x").status(),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("kind none")));
}

}  // namespace
}  // namespace swerve
