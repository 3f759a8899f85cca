#include "pdm/simulate.h"

#include <algorithm>

namespace swerve::pdm {
namespace {

double QueryTime(int k, int64_t time_us) {
  return std::trunc((0.1 * k + static_cast<double>(time_us) * 1e-6) * 1e6);
}

void Set(const Pose2& pose, int knot, int lane, LaneKnots* out) {
  out->x[knot].lane[lane] = pose.x;
  out->y[knot].lane[lane] = pose.y;
  out->heading[knot].lane[lane] = pose.heading;
}

// The first lane holds the trajectory, the others nothing.
std::optional<States> SimulateFirst(const SimulationStart& start, const TimeGrid& grid, LaneKnots* knots) {
  for (int l = 1; l < kLanes; ++l) SetParked(start, grid.knots(), l, knots);
  LaneStates states;
  SimulateKnots(start, grid, *knots, 1, &states);
  if (Diverged(states, 0)) return std::nullopt;
  return states.Rows(0);
}

}  // namespace

TimeGrid TimeGrid::Candidate(int64_t time_us) {
  std::array<double, kPoses + 1> knots;
  double seconds = static_cast<double>(time_us) * 1e-6;
  knots[0] = static_cast<double>(time_us);
  for (int i = 1; i <= kPoses; ++i) knots[i] = std::trunc((0.5 * (i - 1) + 0.5 + seconds) * 1e6);
  TimeGrid grid;
  grid.knots_ = kPoses + 1;
  for (int k = 0; k < kSamples; ++k) {
    double t = std::clamp(QueryTime(k, time_us), knots.front(), knots.back());
    int i = 0;
    while (i + 1 < kPoses && t > knots[i + 1]) ++i;
    grid.places_.knot[k] = i;
    grid.places_.fraction[k] = (t - knots[i]) / (knots[i + 1] - knots[i]);
  }
  return grid;
}

TimeGrid TimeGrid::Reference(int64_t time_us) {
  TimeGrid grid;
  grid.knots_ = kReferencePoses;
  for (int k = 0; k < kSamples; ++k) {
    double t = std::clamp(QueryTime(k, time_us) - static_cast<double>(time_us), 0.0, 5e6);
    int i = 0;
    while (i + 2 < kReferencePoses && t > 1e5 * (i + 1)) ++i;
    grid.places_.knot[k] = i;
    grid.places_.fraction[k] = (t - 1e5 * i) / 1e5;
  }
  return grid;
}

bool SetKnots(absl::Span<const Pose2> knots, int lane, LaneKnots* out) {
  double correction = 0, sum = 0;
  for (size_t i = 0; i < knots.size(); ++i) {
    Pose2 pose = knots[i];
    if (i > 0) {
      const double d = pose.heading - knots[i - 1].heading;
      correction += UnwrappedDifference(d) - d;
    }
    pose.heading += correction;
    sum += pose.heading;
    Set(pose, static_cast<int>(i), lane, out);
  }
  if (std::isfinite(sum)) return true;
  for (size_t i = 0; i < knots.size(); ++i) Set({}, static_cast<int>(i), lane, out);
  return false;
}

bool SetCandidateKnots(const SimulationStart& start, absl::Span<const Pose2> poses, int lane, LaneKnots* out) {
  const EgoRow& ego = start.row;
  std::array<Pose2, kPoses + 1> knots;
  knots[0] = {ego.x, ego.y, ego.heading};
  const double c = start.direction.x, s = start.direction.y;
  for (int i = 0; i < kPoses; ++i) {
    const Pose2& p = poses[i];
    knots[i + 1] = {ego.x + c * p.x - s * p.y, ego.y + s * p.x + c * p.y, WrapAngle(ego.heading + p.heading)};
  }
  return SetKnots(knots, lane, out);
}

void SetParked(const SimulationStart& start, int knots, int lane, LaneKnots* out) {
  for (int i = 0; i < knots; ++i) Set({start.row.x, start.row.y, start.row.heading}, i, lane, out);
}

void SimulateKnots(const SimulationStart& start, const TimeGrid& grid, const LaneKnots& knots, int lanes,
                   LaneStates* out) {
  LaneReference reference;
  InterpolateLanes(grid.places(), knots, lanes, &reference);
  SimulateLanes(start, reference, lanes, out);
}

std::optional<States> SimulateTrajectory(const EgoRow& ego, int64_t time_us, absl::Span<const Pose2> poses) {
  if (poses.size() != kPoses) return std::nullopt;
  const SimulationStart start(ego);
  LaneKnots knots;
  if (!SetCandidateKnots(start, poses, 0, &knots)) return std::nullopt;
  return SimulateFirst(start, TimeGrid::Candidate(time_us), &knots);
}

std::optional<States> SimulateReference(const EgoRow& ego, int64_t time_us, absl::Span<const Pose2> reference) {
  if (reference.size() != kReferencePoses) return std::nullopt;
  const SimulationStart start(ego);
  LaneKnots knots;
  if (!SetKnots(reference, 0, &knots)) return std::nullopt;
  return SimulateFirst(start, TimeGrid::Reference(time_us), &knots);
}

}  // namespace swerve::pdm
