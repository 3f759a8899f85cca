#include "scenes/generator/path.h"

#include <algorithm>
#include <cmath>

namespace swerve::generator {
namespace {

constexpr double kStep = 2.0;      // m between vertices on straights
constexpr double kBendStep = 1.0;  // m between vertices in bends

}  // namespace

Pose Shift(const Pose& p, double left) {
  return {p.x - std::sin(p.heading) * left, p.y + std::cos(p.heading) * left, p.heading};
}

Pose Ahead(const Pose& p, double s) {
  return {p.x + std::cos(p.heading) * s, p.y + std::sin(p.heading) * s, p.heading};
}

Path::Path(const Pose& start) { Push(start); }

void Path::Push(const Pose& p) {
  s_.push_back(poses_.empty() ? 0.0 : s_.back() + std::hypot(p.x - poses_.back().x, p.y - poses_.back().y));
  poses_.push_back(p);
}

Path& Path::Straight(double length) {
  const Pose from = end();
  const int n = std::max(1, static_cast<int>(std::ceil(length / kStep)));
  for (int i = 1; i <= n; ++i) Push(Ahead(from, length * i / n));
  return *this;
}

Path& Path::Bend(double angle, double radius) {
  // Trapezoidal curvature: ramps take a quarter of the length each, so the mean curvature is 3/4 of the peak.
  const double length = std::abs(angle) * radius / 0.75;
  const int n = std::max(4, static_cast<int>(std::ceil(length / kBendStep)));
  const double ds = length / n;
  Pose p = end();
  for (int i = 0; i < n; ++i) {
    const double u = (i + 0.5) / n;
    const double shape = std::min({u / 0.25, (1 - u) / 0.25, 1.0});
    const double dh = std::copysign(shape / radius * ds, angle);
    p = {p.x + std::cos(p.heading + dh / 2) * ds, p.y + std::sin(p.heading + dh / 2) * ds, p.heading + dh};
    Push(p);
  }
  return *this;
}

Path& Path::BlendTo(const Pose& to) {
  const Pose a = end();
  const double span = std::hypot(to.x - a.x, to.y - a.y);
  const double k = 0.4 * span;
  const Pose b = Ahead(a, k), c = Ahead(to, -k);
  const int n = std::max(2, static_cast<int>(std::ceil(span / kBendStep)));
  for (int i = 1; i <= n; ++i) {
    const double t = static_cast<double>(i) / n, r = 1 - t;
    const double w0 = r * r * r, w1 = 3 * r * r * t, w2 = 3 * r * t * t, w3 = t * t * t;
    const double dx = 3 * (r * r * (b.x - a.x) + 2 * r * t * (c.x - b.x) + t * t * (to.x - c.x));
    const double dy = 3 * (r * r * (b.y - a.y) + 2 * r * t * (c.y - b.y) + t * t * (to.y - c.y));
    double h = std::atan2(dy, dx);
    h = poses_.back().heading + std::remainder(h - poses_.back().heading, 2 * M_PI);
    Push({w0 * a.x + w1 * b.x + w2 * c.x + w3 * to.x, w0 * a.y + w1 * b.y + w2 * c.y + w3 * to.y, h});
  }
  return *this;
}

Path& Path::Append(const Path& next) {
  // Headings stay continuous so that At() never interpolates across a full turn.
  const double turn = next.start().heading - end().heading;
  const double wrap = std::remainder(turn, 2 * M_PI) - turn;
  for (size_t i = 1; i < next.poses_.size(); ++i) {
    Pose p = next.poses_[i];
    p.heading += wrap;
    Push(p);
  }
  return *this;
}

Path Path::Offset(double left) const {
  Path out(Shift(poses_.front(), left));
  for (size_t i = 1; i < poses_.size(); ++i) out.Push(Shift(poses_[i], left));
  return out;
}

Path Path::Reversed() const {
  auto turned = [](Pose p) { return Pose{p.x, p.y, p.heading + M_PI}; };
  Path out(turned(poses_.back()));
  for (size_t i = poses_.size() - 1; i-- > 0;) out.Push(turned(poses_[i]));
  return out;
}

Path Path::Sub(double from, double to) const {
  Path out(At(from));
  for (size_t i = 0; i < s_.size(); ++i) {
    if (s_[i] > from + 1e-6 && s_[i] < to - 1e-6) out.Push(poses_[i]);
  }
  out.Push(At(to));
  return out;
}

Pose Path::At(double s, double left) const {
  if (s <= 0) return Shift(Ahead(poses_.front(), s), left);
  if (s >= length()) return Shift(Ahead(poses_.back(), s - length()), left);
  const size_t i = std::upper_bound(s_.begin(), s_.end(), s) - s_.begin();
  const double w = (s - s_[i - 1]) / (s_[i] - s_[i - 1]);
  const Pose &a = poses_[i - 1], &b = poses_[i];
  return Shift({a.x + w * (b.x - a.x), a.y + w * (b.y - a.y), a.heading + w * (b.heading - a.heading)}, left);
}

double Path::Project(double x, double y) const {
  double best = 1e300, at = 0;
  for (size_t i = 1; i < poses_.size(); ++i) {
    const double len = s_[i] - s_[i - 1];
    if (len <= 0) continue;
    const double ux = (poses_[i].x - poses_[i - 1].x) / len, uy = (poses_[i].y - poses_[i - 1].y) / len;
    const double t = std::clamp((x - poses_[i - 1].x) * ux + (y - poses_[i - 1].y) * uy, 0.0, len);
    const double d = std::hypot(poses_[i - 1].x + t * ux - x, poses_[i - 1].y + t * uy - y);
    if (d < best) best = d, at = s_[i - 1] + t;
  }
  return at;
}

}  // namespace swerve::generator
