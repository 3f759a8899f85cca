// From a trajectory to 41 simulated ego rows (spec: PDM score §3, §4, §6). Pure and thread-safe, no allocation.
// Everything is in the local frame (types.h): the ego starts at x = y = 0.
#ifndef SWERVE_PDM_SIMULATE_H_
#define SWERVE_PDM_SIMULATE_H_

#include <optional>

#include "absl/types/span.h"
#include "pdm/tracker.h"
#include "pdm/types.h"

namespace swerve::pdm {

// Where the 41 query times fall between the knots of a trajectory. Depends on the present time alone, because the
// official code truncates times of 1.6e15 us that a double holds to 0.25 us.
class TimeGrid {
 public:
  static TimeGrid Candidate(int64_t time_us);  // knots: present, 0.5, …, 4.0 s
  static TimeGrid Reference(int64_t time_us);  // knots: 0, 0.1, …, 5.0 s

  // Interpolates poses at the query times; headings are unwrapped first. `knots` has 9 (Candidate) or 51 (Reference)
  // poses. False when a heading is not finite.
  bool Interpolate(absl::Span<const Pose2> knots, TenHertz* out) const;

 private:
  struct Place {
    int knot;         // interpolate between this and the next
    double since;     // us after `knot`
    double interval;  // us between the two
  };
  std::array<Place, kSamples> places_;
  int knots_ = 0;
};

// The 10 Hz reference of a candidate: 8 poses in the ego frame, preceded by the present pose of the ego.
// False when an angle is not finite.
bool CandidateReference(const EgoRow& ego, const TimeGrid& grid, absl::Span<const Pose2> poses, TenHertz* out);

// Runs tracker and kinematic bicycle from `ego`. False when a heading stops being finite (§22).
bool Simulate(const EgoRow& ego, const TenHertz& reference, States* out);

// The same from outside inputs. `poses`: 8, ego frame. Empty when the trajectory is invalid.
std::optional<States> SimulateTrajectory(const EgoRow& ego, int64_t time_us, absl::Span<const Pose2> poses);
// `reference`: 51 rear-axle poses, local frame, as the cache holds them.
std::optional<States> SimulateReference(const EgoRow& ego, int64_t time_us, absl::Span<const Pose2> reference);

}  // namespace swerve::pdm

#endif  // SWERVE_PDM_SIMULATE_H_
