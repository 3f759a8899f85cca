// Who is credited with what, when several teachers were asked about one group.
#include "evaluation/teacher_tally.h"

#include <gmock/gmock.h>

namespace swerve {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::Key;
using ::testing::Not;
using ::testing::Pair;

v1::Sample* AddSample(double traj, v1::Outcome outcome, const std::string& teacher, v1::Episode* e) {
  v1::Sample* s = e->add_samples();
  s->set_outcome(v1::OK);
  s->mutable_reward()->set_traj(traj);
  s->set_feedback_outcome(outcome);
  if (outcome == v1::OK) s->mutable_feedback()->set_teacher(teacher);
  return s;
}

void AddRefinement(int of_sample, double traj, v1::Episode* e) {
  v1::Refinement* r = e->add_refinements();
  r->set_of_sample(of_sample);
  r->mutable_reward()->set_traj(traj);
}

v1::FailedTeacher Failed(const std::string& teacher, v1::Outcome outcome, double seconds, double tokens) {
  v1::FailedTeacher failed;
  failed.set_teacher(teacher);
  failed.set_outcome(outcome);
  failed.mutable_cost()->set_seconds(seconds);
  failed.mutable_cost()->set_tokens(tokens);
  return failed;
}

// vlm: one report that helps (and gives GT away), one time-out that the oracle answers for, one failure to the end.
v1::Episode AGroup() {
  v1::Episode e;
  e.set_teacher("vlm");
  v1::Sample* told = AddSample(0.2, v1::OK, "vlm", &e);
  told->mutable_feedback()->set_holds_ground_truth(true);
  told->mutable_feedback()->mutable_cost()->set_seconds(2);
  told->mutable_feedback()->mutable_cost()->set_tokens(1000);
  told->mutable_feedback()->mutable_cost()->set_money(0.5);
  *AddSample(0.5, v1::OK, "oracle", &e)->mutable_feedback()->add_fallen_from() = Failed("vlm", v1::TIMEOUT, 20, 0);
  v1::Sample* silent = AddSample(0, v1::UNAVAILABLE, "", &e);
  *silent->add_feedback_failed() = Failed("vlm", v1::SCHEMA_INVALID, 4, 300);
  *silent->add_feedback_failed() = Failed("rule", v1::INTERNAL, 0, 0);
  AddSample(0.9, v1::OK, "vlm", &e)->mutable_feedback()->set_positive(true);
  AddRefinement(0, 0.9, &e);
  e.mutable_refinements(0)->set_equals_ground_truth(true);
  AddRefinement(1, 0.4, &e);
  AddRefinement(3, 0, &e);  // of the praised one: nobody's
  return e;
}

TEST(TeacherTallyTest, EveryTeacherIsCreditedWithItsOwn) {
  const TeacherTallies tallies = TallyTeachers(AGroup(), 0.8);
  const TeacherTally& vlm = tallies.at("vlm");
  EXPECT_EQ(vlm.asked, 3);
  EXPECT_EQ(vlm.reports, 1);
  EXPECT_THAT(vlm.failures, ElementsAre(Pair("SCHEMA_INVALID", 1), Pair("TIMEOUT", 1)));
  EXPECT_EQ(vlm.failed(), 2);
  EXPECT_EQ(vlm.refinements, 1);
  EXPECT_EQ(vlm.success_rate(), 1);
  EXPECT_DOUBLE_EQ(vlm.mean_gain(), 0.7);
  EXPECT_DOUBLE_EQ(vlm.seconds_per_response(), 26.0 / 3);
  EXPECT_DOUBLE_EQ(vlm.tokens, 1300);
  EXPECT_DOUBLE_EQ(vlm.money, 0.5);
  EXPECT_EQ(vlm.holds_ratio(), 1);
  EXPECT_EQ(vlm.equals_ratio(), 1);
  const TeacherTally& oracle = tallies.at("oracle");
  EXPECT_EQ(oracle.asked, 1);
  EXPECT_EQ(oracle.successes, 0);
  EXPECT_DOUBLE_EQ(oracle.mean_gain(), -0.1);
  EXPECT_THAT(tallies.at("rule").failures, ElementsAre(Pair("INTERNAL", 1)));
}

TEST(TeacherTallyTest, AFailedCallIsNobodysFault) {
  v1::Episode e;
  e.set_teacher("oracle");
  AddSample(0.1, v1::UNAVAILABLE, "", &e);
  AddSample(0.9, v1::UNAVAILABLE, "", &e);
  const TeacherTallies tallies = TallyTeachers(e, 0.8);
  ASSERT_THAT(tallies, ElementsAre(Pair(kTeacherGateway, testing::_)));
  EXPECT_THAT(tallies.at(kTeacherGateway).failures, ElementsAre(Pair("UNAVAILABLE", 1)));
}

TEST(TeacherTallyTest, NothingAskedNothingTold) {
  v1::Episode e;
  AddSample(0.1, v1::OUTCOME_UNSPECIFIED, "", &e);               // kind none
  AddSample(0.9, v1::OK, "oracle", &e)->mutable_feedback()->set_positive(true);
  AddSample(0.1, v1::OK, "oracle", &e)->set_outcome(v1::INTERNAL);  // masked
  EXPECT_TRUE(TallyTeachers(e, 0.8).empty());
}

TEST(TeacherTallyTest, MetricsAreNamedByTeacherAndLeaveOutWhatNothingSupports) {
  const auto metrics = TallyMetrics(TallyTeachers(AGroup(), 0.8));
  EXPECT_THAT(metrics, Contains(Pair("teacher/vlm/refinement_success_rate", 1.0)));
  EXPECT_THAT(metrics, Contains(Pair("teacher/vlm/failures/timeout", 1.0)));
  EXPECT_THAT(metrics, Contains(Pair("teacher/vlm/money_per_success", 0.5)));
  EXPECT_THAT(metrics, Contains(Pair("teacher/rule/asked", 1.0)));
  EXPECT_THAT(metrics, Not(Contains(Key("teacher/rule/pdms_gain"))));
  EXPECT_THAT(metrics, Not(Contains(Key("teacher/oracle/money_per_success"))));
}

TEST(TeacherTallyTest, SumsAndJsonKeepEveryNumber) {
  TeacherTallies sum;
  for (int i = 0; i < 2; ++i) AddTallies(TallyTeachers(AGroup(), 0.8), &sum);
  const TeacherTally back = TallyFromJson(nlohmann::ordered_json::parse(TallyToJson(sum.at("vlm")).dump()));
  EXPECT_EQ(back.asked, 6);
  EXPECT_EQ(back.failures, sum.at("vlm").failures);
  EXPECT_EQ(TallyToJson(back), TallyToJson(sum.at("vlm")));
}

}  // namespace
}  // namespace swerve
