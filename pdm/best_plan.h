// What a good driver would have done: the best of many candidate plans by the PDM score on the true future, with a
// preference for plans that stay good when driven imprecisely. Lateral profiles (keep, shift, shift and return) times
// speed profiles (hold, speed up, brake to any speed, brake and go on), all smooth. Pure and thread-safe.
#ifndef SWERVE_PDM_BEST_PLAN_H_
#define SWERVE_PDM_BEST_PLAN_H_

#include <vector>

#include "base/status.h"
#include "pdm/types.h"
#include "swerve/v1/scene.pb.h"

namespace swerve::pdm {

struct BestPlanOptions {
  // Among plans of nearly equal score prefer the one that gets on: round a standing obstacle rather than behind it.
  bool go_around = false;
};
struct BestPlanQuality {
  double pdms = 0;    // of the plan
  double robust = 0;  // mean PDMS when it is driven a little to the left, to the right, too fast, too slow, or rounded
};

// 8 poses, ego frame, 0.5 … 4.0 s. Needs resolved_v1. INVALID_ARGUMENT: the scene cannot be scored.
absl::StatusOr<std::vector<Pose2>> BestPlan(const v1::Scene& scene, const BestPlanOptions& options,
                                            BestPlanQuality* quality);
// The same with default options; `pdms` (may be null): its score.
absl::StatusOr<std::vector<Pose2>> BestPlan(const v1::Scene& scene, double* pdms);

// The plan of a driver who notices nothing: along the centreline at constant speed, keeping the lateral offset.
// With `straight`, constant speed and heading instead.
absl::StatusOr<std::vector<Pose2>> NaivePlan(const v1::Scene& scene, bool straight = false);

}  // namespace swerve::pdm

#endif  // SWERVE_PDM_BEST_PLAN_H_
