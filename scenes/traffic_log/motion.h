// The movement of one recorded agent, freed of measurement noise: local quadratic fits to its positions. Pure.
#ifndef SWERVE_SCENES_TRAFFIC_LOG_MOTION_H_
#define SWERVE_SCENES_TRAFFIC_LOG_MOTION_H_

#include <optional>
#include <vector>

#include "scenes/traffic_log/recording.h"

namespace swerve {

// Recorded position (box centre) and heading, linear between samples at most 0.5 s apart; absent outside. Velocity is
// that of a quadratic fit over ±0.6 s; below 0.1 m/s it is 0 (a parked car that jitters is parked).
std::optional<ObjectState> RecordedState(const LogAgent& agent, double dt, double time);

// The ego at one instant, rear axle, map frame.
struct EgoMotion {
  double x = 0, y = 0, heading = 0;
  double v = 0;         // m/s along the heading
  double a = 0;         // m/s²
  double yaw_rate = 0;  // rad/s
};
// Motion on a 0.1 s grid of `count` samples from `start` seconds; empty when the agent is not seen throughout.
// `heading_from_motion`: the recorded heading is a finite difference and worthless at low speed, take the direction of
// the smoothed movement where it moves faster than 1.5 m/s and hold it elsewhere (NGSIM).
std::vector<EgoMotion> EgoMotionOf(const LogAgent& agent, double dt, double start, int count, bool heading_from_motion);

}  // namespace swerve

#endif  // SWERVE_SCENES_TRAFFIC_LOG_MOTION_H_
