#include "pdm/simulate.h"

#include <algorithm>

namespace swerve::pdm {
namespace {

constexpr double kStep = 100000 * 1e-6;  // of the motion model; one ulp below 0.1, as there
constexpr double kAccelerationShare = kStep / (kStep + 0.2);
constexpr double kSteeringShare = kStep / (kStep + 0.05);
constexpr double kMaxSteering = std::numbers::pi / 3;

double QueryTime(int k, int64_t time_us) {
  return std::trunc((0.1 * k + static_cast<double>(time_us) * 1e-6) * 1e6);
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
    grid.places_[k] = {i, t - knots[i], knots[i + 1] - knots[i]};
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
    grid.places_[k] = {i, t - 1e5 * i, 1e5};
  }
  return grid;
}

bool TimeGrid::Interpolate(absl::Span<const Pose2> knots, TenHertz* out) const {
  std::array<double, kReferencePoses> heading;
  double sum = heading[0] = knots[0].heading;
  double correction = 0;
  for (int i = 1; i < knots_; ++i) {
    double d = knots[i].heading - knots[i - 1].heading;
    correction += UnwrappedDifference(d) - d;
    heading[i] = knots[i].heading + correction;
    sum += heading[i];
  }
  if (!std::isfinite(sum)) return false;
  for (int k = 0; k < kSamples; ++k) {
    const Place& p = places_[k];
    const Pose2 &a = knots[p.knot], &b = knots[p.knot + 1];
    double f = p.since / p.interval;
    (*out)[k] = {a.x + f * (b.x - a.x), a.y + f * (b.y - a.y),
                 PrincipalValue(heading[p.knot] + f * (heading[p.knot + 1] - heading[p.knot]))};
  }
  return true;
}

bool CandidateReference(const EgoRow& ego, const TimeGrid& grid, absl::Span<const Pose2> poses, TenHertz* out) {
  if (poses.size() != kPoses) return false;
  std::array<Pose2, kPoses + 1> knots;
  knots[0] = {ego.x, ego.y, ego.heading};
  double c = std::cos(ego.heading), s = std::sin(ego.heading);
  for (int i = 0; i < kPoses; ++i) {
    const Pose2& p = poses[i];
    double h = ego.heading + p.heading;
    knots[i + 1] = {ego.x + c * p.x - s * p.y, ego.y + s * p.x + c * p.y, std::atan2(std::sin(h), std::cos(h))};
  }
  return grid.Interpolate(knots, out);
}

bool Simulate(const EgoRow& ego, const TenHertz& reference, States* out) {
  Tracker tracker(reference);
  States& s = *out;
  s[0] = ego;
  double tangent = std::tan(ego.steering);
  for (int k = 0; k < kSteps; ++k) {
    const EgoRow& r = s[k];
    EgoRow& n = s[k + 1];
    Command command = tracker.At(k, r);
    double a = r.ax + kAccelerationShare * (command.acceleration - r.ax);
    double target = r.steering + kSteeringShare * (kStep * command.steering_rate);
    n.steering_rate = (target - r.steering) / kStep;
    Vec2 u = Direction(r.heading);
    n.x = r.x + r.vx * u.x * kStep;
    n.y = r.y + r.vx * u.y * kStep;
    n.heading = PrincipalValue(r.heading + r.vx * tangent / kWheelBase * kStep);
    n.vx = r.vx + a * kStep;
    n.vy = 0;
    n.steering = std::clamp(r.steering + n.steering_rate * kStep, -kMaxSteering, kMaxSteering);
    n.ax = a;
    n.ay = 0;
    tangent = std::tan(n.steering);
    n.yaw_rate = n.vx * tangent / kWheelBase;
    n.yaw_acceleration = (n.yaw_rate - r.yaw_rate) / kStep;
    if (!std::isfinite(n.heading) || !std::isfinite(n.x) || !std::isfinite(n.y) || !std::isfinite(n.yaw_rate)) {
      return false;
    }
  }
  return true;
}

std::optional<States> SimulateTrajectory(const EgoRow& ego, int64_t time_us, absl::Span<const Pose2> poses) {
  TenHertz reference;
  States states;
  if (!CandidateReference(ego, TimeGrid::Candidate(time_us), poses, &reference)) return std::nullopt;
  if (!Simulate(ego, reference, &states)) return std::nullopt;
  return states;
}

std::optional<States> SimulateReference(const EgoRow& ego, int64_t time_us, absl::Span<const Pose2> reference) {
  TenHertz ten_hertz;
  States states;
  if (reference.size() != kReferencePoses) return std::nullopt;
  if (!TimeGrid::Reference(time_us).Interpolate(reference, &ten_hertz)) return std::nullopt;
  if (!Simulate(ego, ten_hertz, &states)) return std::nullopt;
  return states;
}

}  // namespace swerve::pdm
