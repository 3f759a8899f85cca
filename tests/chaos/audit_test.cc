// A sound run passes; each way of losing or doubling something is caught, under its name.
#include "chaos/audit.h"

#include <gmock/gmock.h>

#include "absl/strings/str_cat.h"

namespace swerve {
namespace {

constexpr uint64_t kBatch = 2, kSteps = 4;

std::set<uint64_t> Groups(uint64_t count) {
  std::set<uint64_t> groups;
  for (uint64_t g = 0; g < count; ++g) groups.insert(g);
  return groups;
}

// Four steps of two groups: 0 … 7 are trained on, 8 waits, 9 is under way.
AuditInput Sound() {
  AuditInput in;
  in.steps = kSteps;
  in.batch_groups = kBatch;
  in.ledger.set_next_group(10);
  in.ledger.set_finished(true);
  in.ledger.add_open()->set_group(9);
  (*in.ledger.mutable_drops_by_reason())["score_data_loss"] = 3;
  in.ledger.set_expired(2);
  in.stats = {9, 8};
  in.waiting = {8};
  in.weights.push_back({0, 0, ""});
  for (uint64_t step = 1; step <= kSteps; ++step) {
    in.checkpoints.push_back({step, static_cast<int64_t>(step), Groups(step * kBatch)});
    in.weights.push_back({static_cast<int64_t>(step), step, absl::StrCat("sum", step)});
    in.metrics.push_back({static_cast<int64_t>(step), 0, {{"groups/kept", 1}, {"groups/dropped_no_spread", 1}, {"train/loss", 0.5}}});
  }
  in.files.push_back({"at the end", "step-4", ""});
  in.logged = Groups(8);
  return in;
}

std::vector<std::string> Violated(const AuditInput& in) {
  std::vector<std::string> rules;
  for (const AuditReport::Violation& v : Audit(in).violations) rules.push_back(v.rule);
  return rules;
}

using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

TEST(AuditTest, SoundRunIsProved) {
  AuditReport report = Audit(Sound());
  EXPECT_THAT(report.violations, IsEmpty()) << ToText(report);
  EXPECT_EQ(report.counts["groups_consumed"], 8u);
  EXPECT_EQ(report.counts["groups_dropped_no_spread"], 4u);
  EXPECT_EQ(report.counts["attempts_dropped_score_data_loss"], 3u);
  EXPECT_THAT(ToText(report), HasSubstr("10 groups admitted = 8 trained on + 1 stored for the next batch + 1 under way"));
}

TEST(AuditTest, RunThatDidNotReachItsLastStep) {
  AuditInput in = Sound();
  in.steps = 5;
  EXPECT_THAT(Violated(in), ElementsAre("last_step"));
  in = Sound();
  in.ending = "swerve train ended with exit code 1";
  EXPECT_THAT(ToText(Audit(in)), HasSubstr("violation: last_step: swerve train ended with exit code 1"));
  in = Sound();
  in.ledger.set_finished(false);
  EXPECT_THAT(Violated(in), ElementsAre("last_step"));
}

TEST(AuditTest, GroupTrainedOnTwice) {
  AuditInput in = Sound();
  // Step 3 took group 3 again instead of group 5; 5 waits still, and was acknowledged by nobody.
  in.checkpoints[2].consumed.erase(5);
  in.checkpoints[3].consumed.erase(5);
  in.waiting = {5, 8};
  in.stats = {9, 7};
  EXPECT_THAT(Violated(in), ElementsAre("trained_once", "trained_once"));
}

TEST(AuditTest, GroupTrainedOnThatWaitsAgain) {
  AuditInput in = Sound();
  in.waiting = {4, 8};
  in.stats = {10, 8};
  EXPECT_THAT(Violated(in), ElementsAre("accounted"));
}

TEST(AuditTest, LostGroup) {
  AuditInput in = Sound();
  in.ledger.clear_open();
  AuditReport report = Audit(in);
  ASSERT_EQ(report.violations.size(), 1u);
  EXPECT_EQ(report.violations[0].rule, "accounted");
  EXPECT_THAT(report.violations[0].text, HasSubstr("group 9 was admitted and is lost"));
}

TEST(AuditTest, GroupNobodyAdmitted) {
  AuditInput in = Sound();
  in.waiting = {8, 12};
  in.stats = {10, 8};
  EXPECT_THAT(Violated(in), ElementsAre("accounted"));
}

TEST(AuditTest, CheckpointThatForgetsAnEarlierOne) {
  AuditInput in = Sound();
  in.checkpoints[1].consumed = {0, 1, 2, 20};
  EXPECT_THAT(Violated(in), ElementsAre("trained_once"));
  in = Sound();
  std::swap(in.checkpoints[1], in.checkpoints[2]);
  EXPECT_THAT(Violated(in), Each("trained_once"));
  EXPECT_THAT(Violated(in), testing::Not(IsEmpty()));
}

TEST(AuditTest, AcknowledgedWithoutTraining) {
  AuditInput in = Sound();
  in.stats = {9, 9};
  EXPECT_THAT(Violated(in), ElementsAre("acknowledged", "acknowledged"));
}

TEST(AuditTest, StepWhoseGroupsAreNotCounted) {
  AuditInput in = Sound();
  in.metrics.erase(in.metrics.begin() + 1);
  EXPECT_THAT(ToText(Audit(in)), HasSubstr("one_reason: step 2 has no row"));
}

TEST(AuditTest, GroupDroppedForTwoCausesOrNone) {
  AuditInput in = Sound();
  in.metrics[0].values["groups/dropped_all_failed"] = 1;
  EXPECT_THAT(Violated(in), ElementsAre("one_reason"));
  in = Sound();
  in.metrics[0].values["groups/kept"] = 0;
  EXPECT_THAT(Violated(in), ElementsAre("one_reason"));
  in.metrics[0].values["train/dropped_by_reason/no_prompt"] = 1;  // data that cannot be trained on is a cause too
  EXPECT_THAT(Violated(in), IsEmpty());
  in = Sound();
  (*in.ledger.mutable_drops_by_reason())[""] = 1;
  EXPECT_THAT(Violated(in), ElementsAre("one_reason"));
}

TEST(AuditTest, GroupThatTheLogLacks) {
  AuditInput in = Sound();
  in.logged.erase(6);
  EXPECT_THAT(Violated(in), ElementsAre("logged"));
}

TEST(AuditTest, WeightVersionThatFalls) {
  AuditInput in = Sound();
  in.weights.push_back({3, 3, "sum3"});
  EXPECT_THAT(Violated(in), ElementsAre("weights_grow"));
}

TEST(AuditTest, WeightVersionOfTwoFiles) {
  AuditInput in = Sound();
  in.weights.push_back({4, 4, "other"});
  EXPECT_THAT(Violated(in), ElementsAre("weights_grow"));
}

TEST(AuditTest, HalfWrittenFile) {
  AuditInput in = Sound();
  in.files.push_back({"after #3 kill learner", "step-2", "trainer/optimiser.safetensors is cut short"});
  EXPECT_THAT(ToText(Audit(in)), HasSubstr("whole_files: after #3 kill learner: step-2: trainer/optimiser.safetensors is cut short"));
  in.files.clear();
  EXPECT_THAT(Violated(in), ElementsAre("whole_files"));  // nothing seen is nothing proved
}

}  // namespace
}  // namespace swerve
