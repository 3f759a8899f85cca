// Step 5: what the group leaves behind for the learner and the difficulty record. Pure functions.
#ifndef SWERVE_ROLLOUT_WORKERS_EPISODE_H_
#define SWERVE_ROLLOUT_WORKERS_EPISODE_H_

#include "absl/time/time.h"
#include "buffers/difficulty_store.h"
#include "rollout_workers/types.h"
#include "swerve/v1/config.pb.h"

namespace swerve {

// In deterministic mode the episode carries no clock readings, so that the same seed gives the same bytes.
v1::Episode MakeEpisode(RefinedGroup group, const v1::RunConfig& config, absl::Time now);

// Rewards of the originals that were scored.
GroupOutcome OutcomeOf(const v1::Episode& episode);

}  // namespace swerve

#endif  // SWERVE_ROLLOUT_WORKERS_EPISODE_H_
