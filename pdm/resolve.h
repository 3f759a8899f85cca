// Builds what the scorer reads (Scene.resolved_v1, Scene.resolved_v2) from the raw scene: map cut, route, centreline,
// agents at 10 Hz, red lights and the reference plan. Spec: PDM score §7 and Appendix A. Pure and thread-safe.
#ifndef SWERVE_PDM_RESOLVE_H_
#define SWERVE_PDM_RESOLVE_H_

#include "base/status.h"
#include "google/protobuf/repeated_field.h"
#include "pdm/evaluate.h"
#include "swerve/v1/scene.pb.h"

namespace swerve::pdm {

// Fills scene->resolved_v1 from map, tracks, traffic lights, route and ego, or resolved_v2 for Rules::kV2; replaces
// what was there. The rules rank the reference planner's proposals.
// INVALID_ARGUMENT names what is missing. On error the scene is unchanged.
absl::Status Resolve(v1::Scene* scene, Rules rules = Rules::kV1);
// Both, with one search for the route. `v1_rules`: kV1 or kV10.
absl::Status ResolveBoth(v1::Scene* scene, Rules v1_rules = Rules::kV1);

// Tracks at 2 Hz (index = frame, `frames` of them) on the 10 Hz grid (§7.1).
google::protobuf::RepeatedPtrField<v1::Track> ResolveAgents(const google::protobuf::RepeatedPtrField<v1::Track>& tracks,
                                                            int frames);

// Only the reference plan, for a scene whose resolved_v1 (kV2: resolved_v2) has map, route and centreline: 51 poses,
// global frame.
absl::StatusOr<google::protobuf::RepeatedPtrField<v1::Pose>> ResolveReference(const v1::Scene& scene,
                                                                              Rules rules = Rules::kV1);

}  // namespace swerve::pdm

#endif  // SWERVE_PDM_RESOLVE_H_
