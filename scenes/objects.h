// Which road users matter to the ego, and what a plan does in words. Pure functions, thread-safe.
#ifndef SWERVE_SCENES_OBJECTS_H_
#define SWERVE_SCENES_OBJECTS_H_

#include <string>
#include <vector>

#include "absl/types/span.h"
#include "scenes/view.h"
#include "swerve/v1/scene.pb.h"

namespace swerve {

// One road user with a part in the scene.
//   lead      nearest one ahead in the ego's lane, moving along it or standing
//   merging   in a lane beside, enters the ego's lane within 4 s
//   crossing  crosses the ego's path from the side within 4 s
//   oncoming  comes towards the ego in or beside its lane
//   static    cone, barrier or object in the ego's lane
struct SceneObject {
  std::string token;
  v1::ObjectType type = v1::OBJECT_TYPE_UNSPECIFIED;
  double distance = 0;  // m along the path from the ego's front bumper to the near edge of the object, ≥ 0
  double lateral = 0;   // m from the path to the object's centre, left positive
  double speed = 0;     // m/s
  std::string role;
  std::string motion;   // lead: stopped, braking, steady, speeding; crossing: moving left, moving right; else empty
};

// At most one lead, and at most two of every other role, nearest first. Order: lead, merging, crossing, oncoming,
// static. "Will enter" is read from the recorded future: these are labels, not predictions.
std::vector<SceneObject> CriticalObjects(const v1::Scene& scene);
std::vector<SceneObject> CriticalObjects(const SceneView& view);

// "vehicle", "pedestrian", "bicycle", "cone", "barrier", "sign", "object".
std::string TypeName(v1::ObjectType type);

// High-level action of a plan (poses in the ego frame, 0.5 s apart):
//   longitudinal: end speed (last two poses) < 1 m/s: stop; else against the ego's speed now, by ±2 m/s over the plan:
//                 accelerate, decelerate; else maintain
//   lateral:      heading change ≥ 15°: turn left/right; else the offset from the route's centre line changes by
//                 ≥ 1.8 m: change left/right; else keep. Where the centre line ends before the plan, the offset is
//                 taken from the arc of equal heading change.
struct MetaAction {
  std::string longitudinal;
  std::string lateral;
  bool operator==(const MetaAction&) const = default;
};
MetaAction MetaActionOf(const v1::Scene& scene, absl::Span<const v1::Pose> plan);

// The same for many plans of one scene, to which it keeps no reference. Immutable.
class MetaActions {
 public:
  explicit MetaActions(const v1::Scene& scene);
  MetaAction Of(absl::Span<const v1::Pose> plan) const;
  size_t points() const { return centreline_.points().size(); }  // of the centre line it holds

 private:
  double speed_;     // m/s, now
  Path centreline_;  // ego frame; may be empty
};

}  // namespace swerve

#endif  // SWERVE_SCENES_OBJECTS_H_
