// What each embedded teacher tells about hand-made failures.
#include <gmock/gmock.h>

#include <algorithm>

#include "absl/strings/str_split.h"
#include "base/status_matchers.h"
#include "scenes/prompt.h"
#include "teacher_gateway/per_item.h"
#include "teacher_gateway/teacher.h"
#include "tests/teacher_gateway/test_cases.h"

namespace swerve {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::unique_ptr<Teacher> Make(const std::string& kind, double noise = 0) {
  v1::TeacherConfig config;
  config.set_kind(kind);
  config.set_report_noise(noise);
  auto teacher = CreateTeacher(config);
  EXPECT_TRUE(teacher.ok()) << teacher.status();
  return *std::move(teacher);
}

TEST(CreateTeacherTest, UnknownKindNamesTheKnownOnes) {
  v1::TeacherConfig config;
  config.set_kind("orcale");
  EXPECT_THAT(CreateTeacher(config), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("oracle, rule")));
}

TEST(OracleTest, ReportsACrashInFiveSections) {
  const v1::Scene scene = StoppedLead();
  const auto reply = Make("oracle")->Diagnose(
      Request({Crash("lead vehicle 30 m ahead speed 0.0 stopped. merge none. interaction none. plan maintain, keep.")}),
      scene);
  ASSERT_EQ(reply.results_size(), 1);
  ASSERT_EQ(reply.results(0).outcome(), v1::OK) << reply.results(0).detail();
  const v1::Feedback& f = reply.results(0).feedback();
  EXPECT_EQ(f.meta_action(), "should be stop, keep, not maintain, keep.");
  EXPECT_THAT(f.think_process(), testing::ContainsRegex("lead is at 1[0-9] m, not 30 m\\."));
  EXPECT_EQ(f.safety(), "front hits vehicle at 1.8 s.");
  EXPECT_EQ(f.efficiency(), "progress 200 percent.");
  EXPECT_EQ(f.longitudinal_correction(),
            "stop by 3.0 s. speed 2.8 at 2 s, 0.0 at 4 s. travel 10.8 at 2 s, 12.1 at 4 s.");
  EXPECT_EQ(f.lateral_correction(), "shift left 0.0 at 2 s, left 0.0 at 4 s. heading left 0.00 at 2 s, left 0.00 at 4 s.");
  EXPECT_FALSE(f.positive());
  EXPECT_EQ(f.teacher(), "oracle");
  EXPECT_EQ(f.template_hash().size(), 16u);
  // What a small policy can read: few words, plain lower-case ASCII, all five sections, not the answer itself.
  const std::string& text = f.prompt_text();
  EXPECT_LE(std::vector<std::string>(absl::StrSplit(text, ' ')).size(), 75u) << text;
  EXPECT_TRUE(std::all_of(text.begin(), text.end(), [](char ch) { return ch >= ' ' && ch < 127 && !isupper(ch); }));
  for (const char* part : {"action: ", "think: ", "safety: ", "efficiency: ", "fix: "}) {
    EXPECT_THAT(text, HasSubstr(part));
  }
  EXPECT_THAT(text, Not(HasSubstr("[")));
}

TEST(OracleTest, SaysWhatTheThinkSectionGotWrong) {
  const v1::Scene scene = StoppedLead();
  const auto think = [&](const std::string& text) {
    return Make("oracle")->Diagnose(Request({Crash(text)}), scene).results(0).feedback().think_process();
  };
  EXPECT_THAT(think("lead none. merge none. interaction none. plan maintain, keep."), HasSubstr("missed lead vehicle at"));
  EXPECT_THAT(think("lead vehicle 14 m ahead speed 6.0 steady. merge none. interaction none. plan maintain, keep."),
              HasSubstr("lead speed is 0.0, not 6.0."));
  EXPECT_THAT(think("lead vehicle 14 m ahead speed 0.0 stopped. merge vehicle 9 m left speed 4.0. plan maintain, keep."),
              HasSubstr("there is no merge."));
  EXPECT_EQ(think("lead vehicle 14 m ahead speed 0.0 stopped. merge none. interaction none. plan stop, keep."),
            "says stop, keep.");
  EXPECT_EQ(think("lead vehicle 14 m ahead speed 0.0 stopped. merge none. interaction none. plan maintain, keep."),
            "objects are right.");
  EXPECT_EQ(think("%$!"), "the think section cannot be read.");
}

TEST(OracleTest, NamesOffRoadComfortAndUnreadableAnswers) {
  const v1::Scene scene = StoppedLead();
  v1::DiagnoseItem off = Crash("");
  off.mutable_reward()->mutable_facts()->clear_collisions();
  off.mutable_reward()->mutable_facts()->clear_ttc();
  v1::OffRoadFact* fact = off.mutable_reward()->mutable_facts()->mutable_off_road();
  fact->set_time_s(1.5);
  fact->set_side(v1::LEFT);
  fact->set_overshoot(0.8);
  v1::ComfortFact* comfort = off.mutable_reward()->mutable_facts()->add_comfort();
  comfort->set_limit("lon_jerk");
  comfort->set_time_s(0.5);
  v1::DiagnoseItem unread;
  unread.mutable_response()->set_text("hello");
  unread.mutable_reward()->set_invalid(v1::UNPARSED);
  const auto reply = Make("oracle")->Diagnose(Request({off, unread}), scene);
  EXPECT_EQ(reply.results(0).feedback().safety(), "off road left at 1.5 s by 0.8 m.");
  EXPECT_THAT(reply.results(0).feedback().efficiency(), HasSubstr("lon jerk too high at 0.5 s."));
  EXPECT_EQ(reply.results(1).feedback().safety(), "no 8 poses could be read.");
  EXPECT_EQ(reply.results(1).feedback().meta_action(), "should be stop, keep.");
}

TEST(OracleTest, NoiseMovesDistancesAndIsReproducible) {
  const v1::Scene scene = StoppedLead();
  const v1::DiagnoseRequest request = Request({Crash("lead none. plan maintain, keep.")});
  const auto a = Make("oracle", 2.0)->Diagnose(request, scene);
  const auto b = Make("oracle", 2.0)->Diagnose(request, scene);
  EXPECT_EQ(a.SerializeAsString(), b.SerializeAsString());
  EXPECT_NE(a.SerializeAsString(), Make("oracle")->Diagnose(request, scene).SerializeAsString());
}

TEST(SpeakingTeachersTest, PraiseWhatSucceededInTheSameWords) {
  v1::DiagnoseItem good;
  good.mutable_reward()->set_traj(0.8);  // exactly s counts as success
  for (const char* kind : {"oracle", "rule"}) {
    const auto reply = Make(kind)->Diagnose(Request({good}), v1::Scene());
    EXPECT_EQ(reply.results(0).outcome(), v1::OK);
    EXPECT_TRUE(reply.results(0).feedback().positive());
    EXPECT_EQ(reply.results(0).feedback().prompt_text(), kPraise);
  }
}

// What was recorded there is to be avoided: no report may be written from it, no trajectory of it injected.
TEST(EveryTeacherTest, ANegativeScenesRecordingIsNotTaught) {
  v1::Scene scene = StoppedLead();
  scene.set_label(v1::NEGATIVE);
  for (const char* kind : {"oracle", "rule", "ground_truth"}) {
    const auto reply = Make(kind)->Diagnose(Request({Crash("lead none."), Good()}), scene);
    EXPECT_EQ(reply.results(0).outcome(), v1::REFUSED) << kind;
    EXPECT_THAT(reply.results(0).detail(), ::testing::HasSubstr("NEGATIVE"));
    EXPECT_FALSE(reply.results(0).has_feedback());
    EXPECT_EQ(reply.results(1).feedback().injected_size(), 0);
  }
}

TEST(EveryTeacherTest, FailuresAreTypedPerItem) {
  for (const char* kind : {"oracle", "rule", "ground_truth"}) {
    v1::DiagnoseItem unscored;
    const auto reply = Make(kind)->Diagnose(Request({unscored, Crash("")}), v1::Scene());
    EXPECT_EQ(reply.results(0).outcome(), v1::SCHEMA_INVALID);
    EXPECT_EQ(reply.results(1).outcome(), v1::INTERNAL);
    EXPECT_THAT(reply.results(1).detail(), HasSubstr("ground-truth"));
    EXPECT_FALSE(reply.results(1).has_feedback());
  }
}

TEST(RuleTest, SaysWrongAndTheGroundTruthsAction) {
  const auto reply = Make("rule")->Diagnose(Request({Crash("")}), StoppedLead());
  EXPECT_EQ(reply.results(0).feedback().prompt_text(), "wrong. action: should be stop, keep.");
}

TEST(GroundTruthTest, LeavesCorrectResponsesAlone) {
  v1::DiagnoseItem good;
  good.mutable_reward()->set_traj(1);
  const auto reply = Make("ground_truth")->Diagnose(Request({good}), StoppedLead());
  EXPECT_EQ(reply.results(0).outcome(), v1::OK);
  EXPECT_FALSE(reply.results(0).has_feedback());
}

TEST(GroundTruthTest, InjectsTheWholeResponse) {
  const v1::Scene scene = StoppedLead();
  const v1::Feedback f = Make("ground_truth")->Diagnose(Request({Crash("")}), scene).results(0).feedback();
  EXPECT_EQ(f.injected_size(), 8);
  EXPECT_EQ(f.injected_text(), GtResponseText(scene));
}

TEST(NoTeacherTest, SaysNothing) {
  const auto reply = Make("none")->Diagnose(Request({Crash("")}), StoppedLead());
  EXPECT_EQ(reply.results(0).outcome(), v1::OK);
  EXPECT_FALSE(reply.results(0).has_feedback());
}

}  // namespace
}  // namespace swerve
