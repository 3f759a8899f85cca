// Candidates side by side, one per vector lane: what simulation and comfort filters work on. A lane's arithmetic is the
// same sequence of IEEE operations whatever stands in the other lanes and however wide the machine's vectors are (no
// fused multiply-add, no approximations), so its results are the same bits on every path.
#ifndef SWERVE_PDM_LANES_H_
#define SWERVE_PDM_LANES_H_

#include <cstdint>

#include "pdm/types.h"

namespace swerve::pdm {

inline constexpr int kLanes = 8;

struct alignas(64) LaneValue {
  double lane[kLanes];
};

// Knots of trajectories: poses in the local frame, headings unwrapped.
struct LaneKnots {
  std::array<LaneValue, kReferencePoses> x, y, heading;
};

// 10 Hz reference poses at 0, 0.1, …, 4.0 s.
struct LaneReference {
  std::array<LaneValue, kSamples> x, y, heading;
};

// Simulated rows as columns. vy and ay of rows after the first are 0; those of the first are the same in all lanes.
struct LaneStates {
  std::array<LaneValue, kSamples> x, y, heading, cosine, sine, vx, ax, steering, steering_rate, yaw_rate, yaw_acceleration;
  double vy0 = 0, ay0 = 0;

  EgoRow Row(int t, int lane) const;
  States Rows(int lane) const;
};

// One simulation in all lanes, its directions computed as SimulateLanes does.
LaneStates PackStates(const States& states);

// What a simulation starts from, with what depends on it alone.
struct SimulationStart {
  SimulationStart() = default;
  explicit SimulationStart(const EgoRow& row);

  EgoRow row;
  Vec2 direction{1, 0};  // of row.heading
  double tangent = 0;    // of row.steering
};

// cos and sin of every heading, as the simulation has them. |heading| <= pi; other values are wrapped first.
void LaneDirections(const LaneValue& heading, LaneValue* cosine, LaneValue* sine);
// The same for one angle.
Vec2 LaneDirection(double heading);

// Poses of the reference at query time k: fraction[k] of the way from knot[k] to the next.
struct LanePlaces {
  std::array<int, kSamples> knot{};
  std::array<double, kSamples> fraction{};
};
// The first `lanes` lanes, rounded up to a whole vector of the widest kind, are read and written; all must be defined.
void InterpolateLanes(const LanePlaces& places, const LaneKnots& knots, int lanes, LaneReference* out);

// Tracker and kinematic bicycle (spec: PDM score §5, §6). A lane whose row 40 is not finite has diverged: once a value is
// not finite, all later rows are not.
void SimulateLanes(const SimulationStart& start, const LaneReference& reference, int lanes, LaneStates* out);
bool Diverged(const LaneStates& states, int lane);

}  // namespace swerve::pdm

#endif  // SWERVE_PDM_LANES_H_
