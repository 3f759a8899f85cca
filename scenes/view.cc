#include "scenes/view.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace swerve {
namespace {

// An object with one state on another grid: 2 Hz tracks use index = step, 10 Hz agents index = 5 · step.
void AddStates(const v1::Track& track, int stride, int first, int last, const EgoFrame& frame, ViewObject* out) {
  for (const v1::TrackState& s : track.states()) {
    if (s.index() % stride != 0) continue;
    int step = s.index() / stride;
    if (step < first || step > last) continue;
    Vec2 p = frame.ToEgo(s.x(), s.y());
    Vec2 v = frame.RotateToEgo(s.vx(), s.vy());
    out->states[kPastSteps + step] = ObjectState{p.x, p.y, frame.HeadingToEgo(s.heading()), v.x, v.y};
  }
}

ViewPolygon MakePolygon(const v1::MapPolygon& polygon, const EgoFrame& frame) {
  ViewPolygon out{polygon.token(), polygon.type()};
  auto add = [&](const v1::Ring& ring) {
    ViewRing r;
    for (int i = 0; i + 1 < ring.xy_size(); i += 2) r.points.push_back(frame.ToEgo(ring.xy(i), ring.xy(i + 1)));
    out.rings.push_back(std::move(r));
  };
  add(polygon.exterior());
  for (const v1::Ring& ring : polygon.interiors()) add(ring);
  return out;
}

bool InRings(const std::vector<ViewRing>& rings, Vec2 p) {
  bool in = false;
  for (const ViewRing& ring : rings) {
    const auto& q = ring.points;
    for (size_t i = 0, j = q.size() - 1; i < q.size(); j = i++)
      if ((q[i].y > p.y) != (q[j].y > p.y) && p.x < (q[j].x - q[i].x) * (p.y - q[i].y) / (q[j].y - q[i].y) + q[i].x)
        in = !in;
  }
  return in;
}

Path MakePath(const v1::Scene& scene, const EgoFrame& frame, bool* is_route) {
  std::vector<Vec2> line;
  for (const v1::Pose& p : scene.resolved_v1().centerline()) line.push_back(frame.ToEgo(p.x(), p.y()));
  Path centre(std::move(line));
  // A centre line that does not pass the ego says nothing about its lane.
  *is_route = !centre.empty() && std::abs(centre.Project({0, 0}).d) < 5.0;
  if (*is_route) return centre;
  std::vector<Vec2> gt{{-5, 0}, {0, 0}};
  for (const v1::Pose& p : scene.gt())
    if (std::hypot(p.x() - gt.back().x, p.y() - gt.back().y) > 0.5 && p.x() > gt.back().x - 0.5) gt.push_back({p.x(), p.y()});
  Vec2 a = gt[gt.size() - 2], b = gt.back();
  double l = std::hypot(b.x - a.x, b.y - a.y);
  gt.push_back({b.x + (b.x - a.x) / l * 80.0, b.y + (b.y - a.y) / l * 80.0});
  return Path(std::move(gt));
}

}  // namespace

double WrapAngle(double a) { return std::atan2(std::sin(a), std::cos(a)); }

EgoFrame::EgoFrame(const v1::Pose& p)
    : x_(p.x()), y_(p.y()), heading_(p.heading()), cos_(std::cos(p.heading())), sin_(std::sin(p.heading())) {}
Vec2 EgoFrame::ToEgo(double x, double y) const {
  return {cos_ * (x - x_) + sin_ * (y - y_), -sin_ * (x - x_) + cos_ * (y - y_)};
}
Vec2 EgoFrame::ToGlobal(double x, double y) const { return {x_ + cos_ * x - sin_ * y, y_ + sin_ * x + cos_ * y}; }
Vec2 EgoFrame::RotateToEgo(double vx, double vy) const { return {cos_ * vx + sin_ * vy, -sin_ * vx + cos_ * vy}; }
v1::Pose EgoFrame::ToEgo(const v1::Pose& p) const {
  Vec2 q = ToEgo(p.x(), p.y());
  v1::Pose out;
  out.set_x(q.x);
  out.set_y(q.y);
  out.set_heading(HeadingToEgo(p.heading()));
  return out;
}
v1::Pose EgoFrame::ToGlobal(const v1::Pose& p) const {
  Vec2 q = ToGlobal(p.x(), p.y());
  v1::Pose out;
  out.set_x(q.x);
  out.set_y(q.y);
  out.set_heading(WrapAngle(heading_ + p.heading()));
  return out;
}

Path::Path(std::vector<Vec2> points) {
  for (const Vec2& p : points) {
    double step = points_.empty() ? 0 : std::hypot(p.x - points_.back().x, p.y - points_.back().y);
    if (!points_.empty() && step < 1e-6) continue;
    s_.push_back(points_.empty() ? 0 : s_.back() + step);
    points_.push_back(p);
  }
}

Path::Projection Path::Project(Vec2 p) const {
  if (empty()) return {p.x, p.y, 0, true};
  Projection best;
  double best_d2 = std::numeric_limits<double>::infinity();
  for (size_t i = 0; i + 1 < points_.size(); ++i) {
    double dx = points_[i + 1].x - points_[i].x, dy = points_[i + 1].y - points_[i].y;
    double length = s_[i + 1] - s_[i];
    double t = ((p.x - points_[i].x) * dx + (p.y - points_[i].y) * dy) / (length * length);
    double c = std::clamp(t, 0.0, 1.0);
    double ex = p.x - points_[i].x - c * dx, ey = p.y - points_[i].y - c * dy;
    double d2 = ex * ex + ey * ey;
    if (d2 >= best_d2) continue;
    best_d2 = d2;
    bool beyond = (i == 0 && t < 0) || (i + 2 == points_.size() && t > 1);
    best = {s_[i] + c * length, std::copysign(std::sqrt(d2), dx * ey - dy * ex), std::atan2(dy, dx), !beyond};
  }
  return best;
}

Vec2 Path::At(double s) const {
  if (empty()) return {s, 0};
  if (s <= 0) return points_.front();
  if (s >= s_.back()) return points_.back();
  size_t i = std::upper_bound(s_.begin(), s_.end(), s) - s_.begin() - 1;
  double t = (s - s_[i]) / (s_[i + 1] - s_[i]);
  return {points_[i].x + t * (points_[i + 1].x - points_[i].x), points_[i].y + t * (points_[i + 1].y - points_[i].y)};
}

SceneView::SceneView(const v1::Scene& scene) : frame_(scene.ego().rear_axle()), path_(MakePath(scene, frame_, &path_is_route_)) {
  const bool have_tracks = scene.tracks_size() > 0;
  for (const v1::Track& t : have_tracks ? scene.tracks() : scene.resolved_v1().agents()) {
    ViewObject o{t.token(), t.type(), t.length(), t.width()};
    AddStates(t, have_tracks ? 1 : 5, 0, kFutureSteps - 1, frame_, &o);
    for (const v1::Track& past : scene.past_tracks())
      if (past.token() == t.token()) AddStates(past, 1, -kPastSteps, -1, frame_, &o);
    objects_.push_back(std::move(o));
  }
  const bool resolved = scene.resolved_v1().drivable_map_size() > 0;
  for (const v1::MapPolygon& p : resolved ? scene.resolved_v1().drivable_map() : scene.map().polygons()) {
    switch (p.type()) {
      case v1::ROADBLOCK:
      case v1::INTERSECTION:
      case v1::CARPARK_AREA:
      case v1::DRIVABLE_AREA:
        drivable_.push_back(MakePolygon(p, frame_));
        break;
      case v1::LANE:
      case v1::LANE_CONNECTOR:
        lanes_.push_back(MakePolygon(p, frame_));
        break;
      default:
        break;
    }
  }
  for (const v1::EgoState& e : scene.ego_past()) past_.push_back(frame_.ToEgo(e.rear_axle()));
}

bool SceneView::Drivable(Vec2 p) const {
  return std::any_of(drivable_.begin(), drivable_.end(), [&](const ViewPolygon& d) { return InRings(d.rings, p); });
}

std::array<Vec2, 4> BoxCorners(double x, double y, double heading, double length, double width) {
  double c = std::cos(heading), s = std::sin(heading), l = length / 2, w = width / 2;
  auto at = [&](double a, double b) { return Vec2{x + a * c - b * s, y + a * s + b * c}; };
  return {at(l, w), at(-l, w), at(-l, -w), at(l, -w)};
}

}  // namespace swerve
