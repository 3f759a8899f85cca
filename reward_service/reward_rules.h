// The reward functions that ship (reward_function.h), and what they read in a response's text. Pure, thread-safe.
#ifndef SWERVE_REWARD_SERVICE_REWARD_RULES_H_
#define SWERVE_REWARD_SERVICE_REWARD_RULES_H_

#include <memory>
#include <vector>

#include "absl/strings/string_view.h"
#include "base/status.h"
#include "reward_service/reward_function.h"
#include "scenes/objects.h"

namespace swerve {

using RewardFunctionList = std::vector<std::shared_ptr<const RewardFunction>>;

// SpanVLA's additions (spec: algorithm §7): terms `negative` and `recovery` by the scene's label, and `reasoning`. On
// negative scenes r_goal is not paid. INVALID_ARGUMENT: a value out of range.
absl::StatusOr<RewardFunctionList> MakeSpanVla(const v1::RewardRules& rules);

// AdaThinkDrive's reward of a group (spec: systems §1.1): term `adaptive_think`. INVALID_ARGUMENT as above.
absl::StatusOr<RewardFunctionList> MakeAdaptiveThink(const v1::RewardRules& rules);

// 1 at distance 0, falling linearly to 0 where the mean distance (m) of poses at equal times reaches `bound`.
double PathSimilarity(absl::Span<const pdm::Pose2> plan, absl::Span<const pdm::Pose2> recorded, double bound);

// The reasoning of a response: what stands in its think section, without white space at the ends; without such a
// section what stands before the answer section, without that too the whole text.
absl::string_view ReasoningOf(absl::string_view response);
// Unicode characters of it.
int ReasoningCharacters(absl::string_view reasoning);

// Whether a stated meta-action cannot be meant of the driven one: the sides differ (left, straight, right), or the speed
// actions are not neighbours in stop, decelerate, maintain, accelerate. Neighbours differ by a threshold, not in meaning.
bool Contradicts(const MetaAction& stated, const MetaAction& driven);

}  // namespace swerve

#endif  // SWERVE_REWARD_SERVICE_REWARD_RULES_H_
