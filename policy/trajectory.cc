#include "policy/trajectory.h"

#include <cmath>
#include <numbers>

#include "policy/codec.h"

namespace swerve {

double WrapHeading(double radians) { return std::remainder(radians, 2 * std::numbers::pi); }

v1::Pose MakePose(double x, double y, double heading) {
  v1::Pose pose;
  pose.set_x(x), pose.set_y(y), pose.set_heading(heading);
  return pose;
}

v1::Pose Chain(const v1::Pose& from, const v1::Pose& motion) {
  const double c = std::cos(from.heading()), s = std::sin(from.heading());
  return MakePose(from.x() + c * motion.x() - s * motion.y(), from.y() + s * motion.x() + c * motion.y(),
                  WrapHeading(from.heading() + motion.heading()));
}

v1::Pose Between(const v1::Pose& from, const v1::Pose& to) {
  const double c = std::cos(from.heading()), s = std::sin(from.heading());
  const double dx = to.x() - from.x(), dy = to.y() - from.y();
  return MakePose(c * dx + s * dy, c * dy - s * dx, WrapHeading(to.heading() - from.heading()));
}

v1::Pose ArcMotion(double metres, double radians) {
  // sin(t)/t and (1 - cos t)/t, by their series where the quotient would lose its digits.
  const double t = radians;
  const bool small = std::abs(t) < 1e-4;
  const double along = small ? 1 - t * t / 6 : std::sin(t) / t;
  const double aside = small ? t / 2 : (1 - std::cos(t)) / t;
  return MakePose(metres * along, metres * aside, t);
}

std::vector<v1::Pose> PosesAlong(absl::Span<const std::array<double, 2>> points) {
  constexpr double kShortest = 0.25;  // m: below it two decimals say too little of a direction
  std::vector<double> directions;  // of the way to each point
  double x = 0, y = 0, heading = 0;
  for (const auto& p : points) {
    const double dx = p[0] - x, dy = p[1] - y;
    if (std::hypot(dx, dy) >= kShortest) {
      const double turn = WrapHeading(std::atan2(dy, dx) - heading);
      const bool reverse = std::abs(turn) > std::numbers::pi / 2;
      heading = WrapHeading(heading + (reverse ? WrapHeading(turn + std::numbers::pi) : turn));
    }
    directions.push_back(heading);
    x = p[0], y = p[1];
  }
  std::vector<v1::Pose> poses;
  for (size_t i = 0; i < points.size(); ++i) {
    // The last turns on as it did before.
    double turn = 0;
    if (i + 1 < points.size()) {
      turn = WrapHeading(directions[i + 1] - directions[i]);
    } else if (i > 0) {
      turn = WrapHeading(directions[i] - directions[i - 1]);
    }
    poses.push_back(MakePose(points[i][0], points[i][1], WrapHeading(directions[i] + turn / 2)));
  }
  return poses;
}

bool FitHorizon(std::vector<v1::Pose>* poses) {
  if (poses->size() > kPoses) poses->resize(kPoses);
  if (poses->empty()) return false;
  const v1::Pose before = poses->size() > 1 ? (*poses)[poses->size() - 2] : MakePose(0, 0, 0);
  const v1::Pose motion = Between(before, poses->back());
  while (poses->size() < kPoses) poses->push_back(Chain(poses->back(), motion));
  for (const v1::Pose& p : *poses) {
    if (std::isfinite(p.x()) && std::isfinite(p.y()) && std::isfinite(p.heading())) continue;
    poses->clear();
    return false;
  }
  return true;
}

}  // namespace swerve
