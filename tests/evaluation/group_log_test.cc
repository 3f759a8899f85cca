// What a run remembers of its groups once the episode store has forgotten them.
#include "evaluation/group_log.h"

#include <filesystem>

#include "base/files.h"
#include "base/status_matchers.h"

namespace swerve {
namespace {

using ::testing::HasSubstr;

v1::Episode MakeEpisode(uint64_t group, std::vector<double> originals, std::vector<double> refinements) {
  v1::Episode e;
  e.set_scene_id("scene");
  e.set_group(group);
  for (double r : originals) {
    v1::Sample* s = e.add_samples();
    s->set_outcome(v1::OK);
    s->mutable_reward()->set_traj(r);
    s->mutable_response()->set_text("wrong " + std::to_string(e.samples_size() - 1));
    s->mutable_feedback()->set_prompt_text("brake " + std::to_string(e.samples_size() - 1));
  }
  for (double r : refinements) {
    v1::Refinement* f = e.add_refinements();
    f->set_of_sample(e.refinements_size() - 1);
    f->mutable_reward()->set_traj(r);
    f->mutable_response()->set_text("right");
    f->mutable_response()->add_poses()->set_x(3);
  }
  return e;
}

TEST(GroupLog, RescueNeedsTotalFailureAndASuccessfulRefinement) {
  const GroupRecord rescued = RecordOf(MakeEpisode(1, {0, 0, 0}, {0, 0.4, 0.9}), 0.8);
  EXPECT_TRUE(rescued.total_failure && rescued.rescued);
  EXPECT_EQ(rescued.failing.text, "wrong 2");
  EXPECT_EQ(rescued.feedback, "brake 2");
  EXPECT_EQ(rescued.refined.pdms, 0.9);
  EXPECT_FALSE(RecordOf(MakeEpisode(1, {0, 0}, {0, 0}), 0.8).rescued);
  const GroupRecord fine = RecordOf(MakeEpisode(1, {0, 0.5}, {1, 1}), 0.8);
  EXPECT_FALSE(fine.total_failure || fine.rescued);
  EXPECT_EQ(fine.mean, 0.25);
}

TEST(GroupLog, MaskedSamplesAreNoFailures) {
  v1::Episode e = MakeEpisode(1, {0, 0}, {});
  for (v1::Sample& s : *e.mutable_samples()) s.set_outcome(v1::UNAVAILABLE);
  EXPECT_FALSE(RecordOf(e, 0.8).total_failure);
  EXPECT_EQ(RecordOf(e, 0.8).originals, 0);
}

TEST(GroupLog, KeepsWhatItsTeachersWereWorth) {
  const std::string dir = testing::TempDir() + "/group_log_teachers";
  std::filesystem::remove_all(dir);
  v1::Episode e = MakeEpisode(1, {0.1, 0.2}, {0.9, 0.3});
  e.set_teacher_set_version(4);
  for (v1::Sample& s : *e.mutable_samples()) {
    s.set_feedback_outcome(v1::OK);
    s.mutable_feedback()->set_teacher("vlm");
  }
  {
    SWERVE_ASSERT_OK_AND_ASSIGN(auto log, GroupLog::Open(dir, 0.8));
    ASSERT_OK(log->Write(e));
  }
  SWERVE_ASSERT_OK_AND_ASSIGN(const auto groups, ReadGroups(dir));
  ASSERT_EQ(groups.size(), 1u);
  EXPECT_EQ(groups[0].teacher_set, 4u);
  EXPECT_EQ(groups[0].teachers.at("vlm").refinements, 2);
  EXPECT_EQ(groups[0].teachers.at("vlm").successes, 1);
  EXPECT_DOUBLE_EQ(groups[0].teachers.at("vlm").mean_gain(), 0.45);
}

TEST(GroupLog, TermsOfRewardFunctionsByName) {
  v1::Episode e = MakeEpisode(1, {0.5, 0.5, 0.5}, {});
  const auto add = [&](int sample, const char* name, double value) {
    v1::RewardTerm* term = e.mutable_samples(sample)->mutable_reward()->add_terms();
    term->set_name(name);
    term->set_value(value);
  };
  add(0, "negative", -0.5);
  add(0, "reasoning", -0.1);
  add(1, "negative", -0.25);
  add(2, "negative", 8);
  e.mutable_samples(2)->set_outcome(v1::UNAVAILABLE);  // masked
  const std::string dir = testing::TempDir() + "/group_log_terms";
  std::filesystem::remove_all(dir);
  SWERVE_ASSERT_OK_AND_ASSIGN(auto log, GroupLog::Open(dir, 0.8));
  ASSERT_OK(log->Write(e));
  SWERVE_ASSERT_OK_AND_ASSIGN(const auto groups, ReadGroups(dir));
  EXPECT_THAT(groups.at(0).terms, testing::ElementsAre(testing::Pair("negative", -0.375), testing::Pair("reasoning", -0.1)));
}

TEST(GroupLog, ReadsBackAndSurvivesAKill) {
  const std::string dir = testing::TempDir() + "/group_log";
  std::filesystem::remove_all(dir);
  ASSERT_OK(MakeDirectories(dir));
  ASSERT_OK(WriteFileAtomically(dir + "/groups.jsonl", "{\"group\":0,\"sce"));
  for (int resumed = 0; resumed < 2; ++resumed) {
    SWERVE_ASSERT_OK_AND_ASSIGN(auto log, GroupLog::Open(dir, 0.8));
    ASSERT_OK(log->Write(MakeEpisode(3, {0, 0}, {0.7, 0})));
    ASSERT_OK(log->Write(MakeEpisode(2, {0.5, 1}, {})));
  }
  SWERVE_ASSERT_OK_AND_ASSIGN(const auto groups, ReadGroups(dir));
  ASSERT_EQ(groups.size(), 2u);
  EXPECT_EQ(groups[0].group, 2u);
  EXPECT_TRUE(groups[1].rescued);
  EXPECT_EQ(groups[1].refined.poses.size(), 1u);
  EXPECT_EQ(groups[1].refined.poses[0].x(), 3);
  EXPECT_THAT(ReadGroups(dir + "/none"), StatusIs(absl::StatusCode::kNotFound, HasSubstr("groups.jsonl")));
}

}  // namespace
}  // namespace swerve
