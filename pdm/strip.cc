#include "pdm/strip.h"

#include <algorithm>
#include <limits>

namespace swerve::pdm {
namespace {

double DistanceToBox(Vec2 p, const Box& box) {
  const Vec2 d = p - box.centre;
  const double along = std::max(std::fabs(Dot(d, box.axis)) - box.half_length, 0.0);
  const double across = std::max(std::fabs(Cross(box.axis, d)) - box.half_width, 0.0);
  return std::sqrt(along * along + across * across);
}

}  // namespace

Strip::Strip(const PosePath& path, double from, double to, double half_width) : radius_(half_width) {
  const Polyline& line = path.line();
  from = std::clamp(from, 0.0, line.length());
  to = std::clamp(to, 0.0, line.length());
  if (to <= from) return;
  std::vector<Vec2> points;
  const Pose2 first = path.At(from), last = path.At(to);
  points.push_back({first.x, first.y});
  auto add = [&](Vec2 p) {
    if (Norm(p - points.back()) > 1e-5) points.push_back(p);
  };
  for (size_t i = 0; i < line.points().size(); ++i) {
    if (line.arc()[i] > from && line.arc()[i] < to) add(line.points()[i]);
  }
  add({last.x, last.y});
  for (size_t i = 0; i + 1 < points.size(); ++i) {
    const Vec2 d = points[i + 1] - points[i];
    const double length = Norm(d);
    Add({0.5 * (points[i] + points[i + 1]), (1 / length) * d, 0.5 * length, half_width});
    if (i == 0) continue;
    joints_.push_back(points[i]);
    bounds_.Add(Vec2{points[i].x - half_width, points[i].y - half_width});
    bounds_.Add(Vec2{points[i].x + half_width, points[i].y + half_width});
  }
}

void Strip::Add(const Box& box) {
  boxes_.push_back(box);
  bounds_.Add(box.GetBounds());
}

bool Strip::Intersects(const Strip& other) const { return bounds_.Overlaps(other.bounds_) && Distance(other) == 0; }

double Strip::Distance(const Strip& other) const {
  double best = std::numeric_limits<double>::infinity();
  for (const Box& a : boxes_) {
    const double reach = a.Radius();
    for (const Box& b : other.boxes_) {
      // The circles around the boxes bound their distance from below.
      if (Norm(a.centre - b.centre) - reach - b.Radius() >= best) continue;
      best = std::min(best, pdm::Distance(a, b));
      if (best == 0) return 0;
    }
    for (const Vec2& p : other.joints_) best = std::min(best, std::max(DistanceToBox(p, a) - other.radius_, 0.0));
  }
  for (const Vec2& p : joints_) {
    for (const Box& b : other.boxes_) best = std::min(best, std::max(DistanceToBox(p, b) - radius_, 0.0));
    for (const Vec2& q : other.joints_) best = std::min(best, std::max(Norm(p - q) - radius_ - other.radius_, 0.0));
  }
  return best;
}

}  // namespace swerve::pdm
