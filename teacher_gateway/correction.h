// What to do instead, as numbers a small policy can use: speed and distance travelled, sideways shift and heading at
// two instants of the ground truth (2 s and 4 s). A summary of the ground truth, not its poses. Pure functions.
#ifndef SWERVE_TEACHER_GATEWAY_CORRECTION_H_
#define SWERVE_TEACHER_GATEWAY_CORRECTION_H_

#include <string>

#include "absl/types/span.h"
#include "swerve/v1/scene.pb.h"

namespace swerve {

// The plan at one instant. Ego frame at t = 0; lateral positive to the left, heading counter-clockwise.
struct Waypoint {
  double speed = 0;     // m/s
  double travelled = 0; // m along the path
  double lateral = 0;   // m
  double heading = 0;   // rad
};

struct Correction {
  Waypoint at2;  // 2 s
  Waypoint at4;  // 4 s
  double stop_s = -1;  // first time from which the plan stands still; negative: it does not stop
};

// From 8 poses at 0.5 … 4.0 s; precondition: exactly 8.
Correction CorrectionOf(absl::Span<const v1::Pose> plan);

// "speed 3.2 at 2 s, 0.0 at 4 s. travel 8.1 at 2 s, 10.2 at 4 s." and, when it stops, "stop by 3.5 s." before it.
// m/s and m.
std::string LongitudinalText(const Correction& correction);

// "shift left 1.5 at 2 s, right 0.3 at 4 s. heading left 0.21 at 2 s, left 0.02 at 4 s." m and rad; 0.0 is "left".
std::string LateralText(const Correction& correction);

}  // namespace swerve

#endif  // SWERVE_TEACHER_GATEWAY_CORRECTION_H_
