// From trajectories to 41 simulated ego rows each (spec: PDM score §3, §4, §6). Pure and thread-safe, no allocation.
// Everything is in the local frame (types.h): the ego starts at x = y = 0.
#ifndef SWERVE_PDM_SIMULATE_H_
#define SWERVE_PDM_SIMULATE_H_

#include <optional>

#include "absl/types/span.h"
#include "pdm/lanes.h"
#include "pdm/types.h"

namespace swerve::pdm {

// Where the 41 query times fall between the knots of a trajectory. Depends on the present time alone, because the
// official code truncates times of 1.6e15 us that a double holds to 0.25 us.
class TimeGrid {
 public:
  static TimeGrid Candidate(int64_t time_us);  // knots: present, 0.5, …, 4.0 s
  static TimeGrid Reference(int64_t time_us);  // knots: 0, 0.1, …, 5.0 s

  const LanePlaces& places() const { return places_; }
  int knots() const { return knots_; }  // 9 or 51

 private:
  LanePlaces places_;
  int knots_ = 0;
};

// Puts a trajectory into a lane: its headings are unwrapped. False when a heading is not finite; the lane then stands
// still at its first pose.
bool SetKnots(absl::Span<const Pose2> knots, int lane, LaneKnots* out);
// The same for a candidate: 8 poses in the ego frame, preceded by the present pose of the ego.
bool SetCandidateKnots(const SimulationStart& start, absl::Span<const Pose2> poses, int lane, LaneKnots* out);
// Puts `knots` times the start into a lane that no trajectory has.
void SetParked(const SimulationStart& start, int knots, int lane, LaneKnots* out);

// Interpolates and simulates the first `lanes` lanes; those up to kLanes must be set.
void SimulateKnots(const SimulationStart& start, const TimeGrid& grid, const LaneKnots& knots, int lanes, LaneStates* out);

// One trajectory from outside inputs. `poses`: 8, ego frame. Empty when the trajectory is invalid.
std::optional<States> SimulateTrajectory(const EgoRow& ego, int64_t time_us, absl::Span<const Pose2> poses);
// `reference`: 51 rear-axle poses, local frame, as the cache holds them.
std::optional<States> SimulateReference(const EgoRow& ego, int64_t time_us, absl::Span<const Pose2> reference);

}  // namespace swerve::pdm

#endif  // SWERVE_PDM_SIMULATE_H_
