// The reward of a response (spec: algorithm §2): trajectory (PDMS, or EPDMS) + format + goal. Pure and thread-safe.
// A response that cannot be scored is an outcome of the policy: traj = goal = 0 with `invalid` set. What goes wrong on
// our side is a status, never a reward.
#ifndef SWERVE_REWARD_SERVICE_REWARDS_H_
#define SWERVE_REWARD_SERVICE_REWARDS_H_

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "base/status.h"
#include "pdm/score.h"
#include "scenes/objects.h"
#include "swerve/v1/reward.pb.h"

namespace swerve {

// 0.5 when exactly one think section is followed by exactly one answer section and nothing else (white space and an
// end-of-turn mark aside), plus 0.5 when the trajectory was read exactly as written. A repaired one earns no half.
double FormatReward(absl::string_view text, v1::ParseStatus parse);

// By L1 distance (m) of the last pose to the ground truth's: < 2 → 1, < 4 → 0.8, < 6 → 0.6, < 10 → 0.4, < 15 → 0.2,
// otherwise (and for NaN) 0.
double GoalReward(const pdm::Pose2& last, const pdm::Pose2& gt_last);

std::vector<pdm::Pose2> ToPoses(const google::protobuf::RepeatedPtrField<v1::Pose>& poses);
// The candidate's trajectory, and that of the previous frame; poses may be flat. Empty: there is none.
std::vector<pdm::Pose2> PlanOf(const v1::ScoreCandidate& candidate);
std::vector<pdm::Pose2> PreviousPlanOf(const v1::ScoreCandidate& candidate);
// INVALID_ARGUMENT: flat poses that are not three numbers each, or poses both ways. PlanOf leaves such numbers out.
absl::Status CheckPoses(const v1::ScoreGroupRequest& request);

// A scene made ready for rewards. Shared between threads.
struct RewardTarget {
  std::shared_ptr<const pdm::PreparedScene> scene;  // by the rules that candidates are scored by
  std::optional<v1::EgoState> previous;             // of the previous frame, for extended comfort (v2)
  std::optional<pdm::Pose2> goal;  // the ground truth's last pose; empty when the scene has none
  // What reward functions read (reward_function.h).
  v1::SampleLabel label = v1::SAMPLE_LABEL_UNSPECIFIED;
  std::vector<pdm::Pose2> gt;  // ego frame; may be empty
  MetaActions actions;
  size_t bytes = 0;  // memory it takes, estimated
};
// Under the rules of v1 the scene needs resolved_v1, under those of v2 resolved_v2. INVALID_ARGUMENT names the field that
// is missing or unusable.
absl::StatusOr<std::shared_ptr<const RewardTarget>> PrepareTarget(const v1::Scene& scene,
                                                                  pdm::Rules rules = pdm::Rules::kV1);

// "v1", "v1.0" or "v2", as in reward.pdm_rules. INVALID_ARGUMENT: anything else.
absl::StatusOr<pdm::Rules> RulesByName(absl::string_view name);
// Of a request; `configured` where it does not say. INVALID_ARGUMENT: a number that stands for no rules.
absl::StatusOr<pdm::Rules> RulesOf(v1::PdmRules asked, pdm::Rules configured);

// The reward of one candidate.
v1::Reward ScoreCandidate(const RewardTarget& target, const v1::ScoreCandidate& candidate,
                          const v1::RewardWeights& weights);

// Of several, side by side: *rewards[i] is set to what ScoreCandidate gives for candidates[i], whatever the others are.
// Both of one length.
void ScoreCandidates(const RewardTarget& target, absl::Span<const v1::ScoreCandidate* const> candidates,
                     const v1::RewardWeights& weights, absl::Span<v1::Reward* const> rewards);

// Of traj, fmt and goal.
double WeightedSum(const v1::Reward& reward, const v1::RewardWeights& weights);

// 1, 1, 1.
v1::RewardWeights UnitWeights();

// INVALID_ARGUMENT: weights not finite, or a goal weight where the scene has no ground truth.
absl::Status CheckWeights(const RewardTarget& target, const v1::RewardWeights& weights);

// A whole group, weighted by `weights` (the request's own, and its rules, are not looked at). `go_on` is asked before every
// pdm::kLanes candidates; a status other than OK ends the work with it. Errors as CheckWeights.
absl::StatusOr<v1::ScoreGroupReply> ScoreGroup(const RewardTarget& target, const v1::ScoreGroupRequest& request,
                                               const v1::RewardWeights& weights,
                                               const std::function<absl::Status()>& go_on = nullptr);

}  // namespace swerve

#endif  // SWERVE_REWARD_SERVICE_REWARDS_H_
