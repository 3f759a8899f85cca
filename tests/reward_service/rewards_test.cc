#include "reward_service/rewards.h"

#include "base/status_matchers.h"
#include "scenes/flat_poses.h"
#include "tests/pdm/golden_files.h"

namespace swerve {
namespace {

using ::testing::HasSubstr;

TEST(FormatReward, WellFormedAndExactIsOne) {
  EXPECT_EQ(FormatReward("<think>slow</think><answer>[1.0,0.0,0.00]</answer>", v1::EXACT), 1.0);
  EXPECT_EQ(FormatReward("<think>slow</think>\n<answer>x</answer>\n<|im_end|>", v1::EXACT), 1.0);
}

TEST(FormatReward, HalvesAreIndependent) {
  EXPECT_EQ(FormatReward("<think>a</think><answer>x</answer>", v1::REPAIRED), 0.5);
  EXPECT_EQ(FormatReward("<think>a</think><answer>x</answer>", v1::FAILED), 0.5);
  EXPECT_EQ(FormatReward("<answer>x</answer>", v1::EXACT), 0.5);
  EXPECT_EQ(FormatReward("", v1::FAILED), 0.0);
}

TEST(FormatReward, ExactlyOneOfEachAndNothingElse) {
  for (const char* text :
       {"<think>a</think><answer>x</answer> bye", "hi <think>a</think><answer>x</answer>",
        "<think>a</think> and <answer>x</answer>", "<answer>x</answer><think>a</think>",
        "<think>a</think><think>b</think><answer>x</answer>", "<think>a</think><answer>x</answer><answer>y</answer>",
        "<think>a<answer>x</answer></think>", "<think>a</think><answer>x", "</think><think>a<answer>x</answer>",
        "<think><answer></think></answer>"}) {
    EXPECT_EQ(FormatReward(text, v1::FAILED), 0.0) << text;
  }
}

TEST(GoalReward, Tiers) {
  auto at = [](double dx, double dy) { return GoalReward({10 + dx, 5 + dy, 0}, {10, 5, 0}); };
  EXPECT_EQ(at(0, 0), 1.0);
  EXPECT_EQ(at(1, -0.999), 1.0);
  EXPECT_EQ(at(1, 1), 0.8);  // the sum counts, and a bound belongs to the worse tier
  EXPECT_EQ(at(-4, 0), 0.6);
  EXPECT_EQ(at(0, 6), 0.4);
  EXPECT_EQ(at(-5, -5), 0.2);
  EXPECT_EQ(at(15, 0), 0.0);
  EXPECT_EQ(at(std::nan(""), 0), 0.0);
}

class GroupTest : public ::testing::Test {
 protected:
  GroupTest() : scene_(testing::PublicScenes().scenes[0]) { *scene_.mutable_gt() = scene_.human(); }
  v1::ScoreCandidate Candidate(const google::protobuf::RepeatedPtrField<v1::Pose>& poses) {
    v1::ScoreCandidate c;
    *c.mutable_poses() = poses;
    c.set_text("<think>a</think><answer>x</answer>");
    c.set_parse(v1::EXACT);
    return c;
  }
  v1::Scene scene_;
};

TEST_F(GroupTest, SumsThePartsWithWeights) {
  SWERVE_ASSERT_OK_AND_ASSIGN(auto target, PrepareTarget(scene_));
  v1::ScoreGroupRequest request;
  *request.add_candidates() = Candidate(scene_.gt());
  v1::RewardWeights weights;
  weights.set_traj(2);
  weights.set_fmt(0.5);
  weights.set_goal(3);
  SWERVE_ASSERT_OK_AND_ASSIGN(v1::ScoreGroupReply reply, ScoreGroup(*target, request, weights));
  const v1::Reward& r = reply.rewards(0);
  EXPECT_GT(r.traj(), 0.9);
  EXPECT_EQ(r.traj(), r.scores().pdms());
  EXPECT_EQ(r.fmt(), 1.0);
  EXPECT_EQ(r.goal(), 1.0);
  EXPECT_DOUBLE_EQ(r.total(), 2 * r.traj() + 0.5 + 3);
  EXPECT_GT(r.facts().progress().reference(), 0);
}

TEST_F(GroupTest, UnscorableIsAnOutcomeOfThePolicy) {
  SWERVE_ASSERT_OK_AND_ASSIGN(auto target, PrepareTarget(scene_));
  v1::ScoreGroupRequest request;
  v1::ScoreCandidate unparsed;
  unparsed.set_text("<think>a</think><answer>x</answer>");
  unparsed.set_parse(v1::FAILED);
  *request.add_candidates() = unparsed;
  v1::ScoreCandidate shape = Candidate(scene_.gt());
  shape.mutable_poses()->RemoveLast();
  *request.add_candidates() = shape;
  v1::ScoreCandidate infinite = Candidate(scene_.gt());
  infinite.mutable_poses(3)->set_x(std::numeric_limits<double>::infinity());
  *request.add_candidates() = infinite;
  *request.add_candidates() = Candidate(scene_.gt());
  SWERVE_ASSERT_OK_AND_ASSIGN(v1::ScoreGroupReply reply, ScoreGroup(*target, request, UnitWeights()));
  v1::InvalidReason reasons[] = {v1::UNPARSED, v1::WRONG_SHAPE, v1::NOT_FINITE};
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(reply.rewards(i).invalid(), reasons[i]);
    EXPECT_EQ(reply.rewards(i).traj(), 0);
    EXPECT_EQ(reply.rewards(i).goal(), 0);
    EXPECT_EQ(reply.rewards(i).fmt(), 0.5);
    EXPECT_EQ(reply.rewards(i).total(), 0.5);
  }
  EXPECT_GT(reply.rewards(3).total(), 2.9);
}

TEST_F(GroupTest, FlatPosesAreTheSamePoses) {
  SWERVE_ASSERT_OK_AND_ASSIGN(auto target, PrepareTarget(scene_));
  const v1::ScoreCandidate candidate = Candidate(scene_.gt());
  v1::ScoreCandidate flat = Candidate({});
  AddFlat(scene_.gt(), flat.mutable_flat_poses());
  EXPECT_EQ(ScoreCandidate(*target, flat, UnitWeights()).SerializeAsString(),
            ScoreCandidate(*target, candidate, UnitWeights()).SerializeAsString());
  flat.mutable_flat_poses()->Truncate(21);
  EXPECT_EQ(ScoreCandidate(*target, flat, UnitWeights()).invalid(), v1::WRONG_SHAPE);
}

TEST_F(GroupTest, PosesBothWaysOrInPiecesAreNone) {
  v1::ScoreGroupRequest request;
  *request.add_candidates() = Candidate(scene_.gt());
  AddFlat(scene_.gt(), request.add_candidates()->mutable_flat_poses());
  request.mutable_candidates(1)->add_flat_prev_poses(1);
  request.mutable_candidates(1)->add_flat_prev_poses(2);
  EXPECT_THAT(CheckPoses(request), StatusIs(absl::StatusCode::kInvalidArgument,
                                            HasSubstr("candidates[1].flat_prev_poses: 2 numbers, but each pose has three")));
  request.mutable_candidates(1)->add_flat_prev_poses(3);
  EXPECT_OK(CheckPoses(request));
  request.mutable_candidates(0)->add_flat_poses(1);
  EXPECT_THAT(CheckPoses(request), StatusIs(absl::StatusCode::kInvalidArgument,
                                            HasSubstr("candidates[0]: both poses and flat_poses are given")));
}

TEST_F(GroupTest, GoalNeedsGroundTruth) {
  scene_.clear_gt();
  SWERVE_ASSERT_OK_AND_ASSIGN(auto target, PrepareTarget(scene_));
  v1::ScoreGroupRequest request;
  EXPECT_THAT(ScoreGroup(*target, request, UnitWeights()), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("gt")));
  v1::RewardWeights weights;
  weights.set_traj(1);
  EXPECT_OK(ScoreGroup(*target, request, weights));
}

TEST_F(GroupTest, BrokenSceneNamesTheField) {
  scene_.mutable_resolved_v1()->mutable_pdm_reference()->RemoveLast();
  EXPECT_THAT(PrepareTarget(scene_), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("pdm_reference")));
  scene_.clear_resolved_v1();
  EXPECT_THAT(PrepareTarget(scene_), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("resolved_v1")));
}

}  // namespace
}  // namespace swerve
