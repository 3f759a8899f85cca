#include "scenes/objects.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace swerve {
namespace {

constexpr double kRange = 60.0;        // m ahead: what matters within the horizon
constexpr double kLaneHalf = 1.75;     // m, half a lane
constexpr double kHorizonSteps = 8;    // 4 s
constexpr double kMoving = 0.5;        // m/s
constexpr int kPerRole = 2;
constexpr double kDegree = std::numbers::pi / 180;

bool IsStaticType(v1::ObjectType t) {
  return t == v1::TRAFFIC_CONE || t == v1::BARRIER || t == v1::CZONE_SIGN || t == v1::GENERIC_OBJECT;
}

// Half of the object's extent along and across a direction at angle `a` to its heading.
double HalfAlong(const ViewObject& o, double a) {
  return (std::abs(std::cos(a)) * o.length + std::abs(std::sin(a)) * o.width) / 2;
}
double HalfAcross(const ViewObject& o, double a) {
  return (std::abs(std::sin(a)) * o.length + std::abs(std::cos(a)) * o.width) / 2;
}

struct Placed {
  Path::Projection p;
  double ahead = 0;   // m along the path from the rear axle to the centre
  double angle = 0;   // heading against the path, (-π, π]
  double half_across = 0;
  bool in_lane = false;
};

Placed Place(const ViewObject& o, const ObjectState& s, const Path& path, double ego_s) {
  Placed out;
  out.p = path.Project({s.x, s.y});
  out.ahead = out.p.s - ego_s;
  out.angle = WrapAngle(s.heading - out.p.heading);
  out.half_across = HalfAcross(o, out.angle);
  // In the lane: some of it reaches more than 0.4 m into the strip that the ego needs.
  out.in_lane = out.p.inside && std::abs(out.p.d) - out.half_across < kEgoHalfWidth - 0.1;
  return out;
}

// Does it enter the ego's strip within the horizon, somewhere ahead?
bool Enters(const ViewObject& o, const Path& path, double ego_s) {
  for (int k = 1; k <= kHorizonSteps; ++k) {
    if (!o.at(k)) continue;
    Placed q = Place(o, *o.at(k), path, ego_s);
    if (q.in_lane && q.ahead > -2.0 && q.ahead < kRange) return true;
  }
  return false;
}

std::string LeadMotion(const ViewObject& o, double speed) {
  if (speed < kMoving) return "stopped";
  const std::optional<ObjectState>& later = o.at(2) ? o.at(2) : o.at(1);
  if (!later) return "steady";
  double change = std::hypot(later->vx, later->vy) - speed;
  return change < -1.0 ? "braking" : change > 1.0 ? "speeding" : "steady";
}

// The part of an object, or an empty role.
SceneObject Classify(const ViewObject& o, const Path& path, double ego_s) {
  const ObjectState& now = *o.now();
  Placed q = Place(o, now, path, ego_s);
  SceneObject out{o.token, o.type};
  out.speed = std::hypot(now.vx, now.vy);
  out.lateral = q.p.d;
  out.distance = std::max(0.0, q.ahead - HalfAlong(o, q.angle) - kEgoFront);
  if (!q.p.inside || q.ahead > kRange || q.ahead < -15.0) return out;
  const bool front = q.ahead > 0;
  if (IsStaticType(o.type)) {
    if (front && q.in_lane) out.role = "static";
    return out;
  }
  // Direction of motion against the path; the heading where it stands.
  double course = out.speed > kMoving ? WrapAngle(std::atan2(now.vy, now.vx) - q.p.heading) : q.angle;
  const bool moving = out.speed > kMoving;
  if (moving && std::abs(course) > 35 * kDegree && std::abs(course) < 145 * kDegree) {
    bool towards = q.in_lane || (q.p.d > 0) != (course > 0);
    if (q.ahead > -2.0 && (q.in_lane || (towards && Enters(o, path, ego_s)))) {
      out.role = "crossing";
      out.motion = course > 0 ? "moving left" : "moving right";
    }
    return out;
  }
  if (moving && std::abs(course) >= 145 * kDegree) {
    if (front && (q.in_lane || std::abs(q.p.d) < 2 * kLaneHalf + 1.0)) out.role = "oncoming";
    return out;
  }
  if (front && q.in_lane) {
    out.role = "lead";
    out.motion = LeadMotion(o, out.speed);
    return out;
  }
  if (moving && !q.in_lane && std::abs(q.p.d) < 4 * kLaneHalf && Enters(o, path, ego_s)) out.role = "merging";
  return out;
}

}  // namespace

std::vector<SceneObject> CriticalObjects(const SceneView& view) {
  const double ego_s = view.path().Project({0, 0}).s;
  std::vector<SceneObject> all;
  for (const ViewObject& o : view.objects())
    if (o.now())
      if (SceneObject s = Classify(o, view.path(), ego_s); !s.role.empty()) all.push_back(std::move(s));
  std::stable_sort(all.begin(), all.end(), [](const SceneObject& a, const SceneObject& b) {
    return a.distance != b.distance ? a.distance < b.distance : a.token < b.token;
  });
  std::vector<SceneObject> out;
  for (const char* role : {"lead", "merging", "crossing", "oncoming", "static"}) {
    int left = std::string(role) == "lead" ? 1 : kPerRole;
    for (const SceneObject& s : all)
      if (left > 0 && s.role == role) {
        out.push_back(s);
        --left;
      }
  }
  return out;
}

std::vector<SceneObject> CriticalObjects(const v1::Scene& scene) { return CriticalObjects(SceneView(scene)); }

std::string TypeName(v1::ObjectType type) {
  switch (type) {
    case v1::VEHICLE: return "vehicle";
    case v1::PEDESTRIAN: return "pedestrian";
    case v1::BICYCLE: return "bicycle";
    case v1::TRAFFIC_CONE: return "cone";
    case v1::BARRIER: return "barrier";
    case v1::CZONE_SIGN: return "sign";
    default: return "object";
  }
}

MetaAction MetaActionOf(const v1::Scene& scene, absl::Span<const v1::Pose> plan) { return MetaActions(scene).Of(plan); }

MetaActions::MetaActions(const v1::Scene& scene) : speed_(scene.ego().vx()) {
  const EgoFrame frame(scene.ego().rear_axle());
  std::vector<Vec2> line;
  for (const v1::Pose& p : scene.resolved_v1().centerline()) line.push_back(frame.ToEgo(p.x(), p.y()));
  centreline_ = Path(std::move(line));
}

MetaAction MetaActions::Of(absl::Span<const v1::Pose> plan) const {
  if (plan.empty()) return {"stop", "keep"};
  const v1::Pose& end = plan.back();
  v1::Pose origin;
  const v1::Pose& before = plan.size() > 1 ? plan[plan.size() - 2] : origin;
  double end_speed = std::hypot(end.x() - before.x(), end.y() - before.y()) / 0.5;
  double change = end_speed - speed_;
  MetaAction out;
  out.longitudinal = end_speed < 1.0 ? "stop" : change >= 2.0 ? "accelerate" : change <= -2.0 ? "decelerate" : "maintain";

  double turn = WrapAngle(end.heading());
  if (std::abs(turn) >= 15 * kDegree) {
    out.lateral = turn > 0 ? "turn left" : "turn right";
    return out;
  }
  double offset = end.y() - end.x() * std::tan(turn / 2);
  if (!centreline_.empty()) {
    Path::Projection a = centreline_.Project({0, 0}), b = centreline_.Project({end.x(), end.y()});
    if (a.inside && b.inside) offset = b.d - a.d;
  }
  out.lateral = offset >= 1.8 ? "change left" : offset <= -1.8 ? "change right" : "keep";
  return out;
}

}  // namespace swerve
