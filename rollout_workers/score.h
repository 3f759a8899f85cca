// Step 2: one call scores the whole group (spec: algorithm §2).
#ifndef SWERVE_ROLLOUT_WORKERS_SCORE_H_
#define SWERVE_ROLLOUT_WORKERS_SCORE_H_

#include "rollout_workers/clients.h"
#include "rollout_workers/types.h"
#include "swerve/v1/config.pb.h"

namespace swerve {

// What the service is asked for `responses` of one scene; also used for refinements.
v1::ScoreGroupRequest ScoreRequest(const std::string& scene_id, const std::vector<const v1::Response*>& responses,
                                   const v1::RewardConfig& config);

// Scores the samples whose outcome is OK. A reward that is not finite masks its sample. Blocks on the service.
// Returns the service's error when it gave no answer (the group cannot go on; no reward is invented), DATA_LOSS when
// the answer has another size than the question, FAILED_PRECONDITION when fewer than two samples are left.
absl::StatusOr<ScoredGroup> Score(RolloutGroup group, const v1::RunConfig& config, RewardClient& service);

}  // namespace swerve

#endif  // SWERVE_ROLLOUT_WORKERS_SCORE_H_
