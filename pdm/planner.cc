#include "pdm/planner.h"

#include <algorithm>
#include <limits>
#include <numbers>
#include <numeric>

#include "pdm/simulate.h"

namespace swerve::pdm {
namespace {

constexpr double kOffsets[] = {0.0, -1.0, 1.0};
constexpr double kSpeedShares[] = {0.2, 0.4, 0.6, 0.8, 1.0};
constexpr int kSpeeds = 5, kProposals = 15;
constexpr double kRange = 100;  // m
constexpr double kMinGap = 1.0, kHeadway = 1.5, kMaxAcc = 1.5, kMaxDec = 3.0;
constexpr double kHorizon = 5.0;

int Quota(v1::ObjectType type) {
  switch (type) {
    case v1::VEHICLE: return 50;
    case v1::PEDESTRIAN: return 25;
    case v1::BICYCLE: return 10;
    default: return 50;
  }
}

// What the planner believes of the future: objects at constant velocity on maps 0.2 s apart.
struct Forecast {
  std::vector<PresentObject> objects;  // kept ones
  std::vector<Vec2> drift;             // m/s, zero for static ones
  std::vector<const Polygon*> lights;

  Box At(int object, int sample) const {
    const PresentObject& o = objects[object];
    const double t = 0.2 * (sample / 2);
    return {o.centre + t * drift[object], Direction(o.heading), o.length / 2, o.width / 2};
  }
};

Forecast MakeForecast(const PlannerInput& input) {
  Forecast forecast;
  const Box ego = EgoBox(input.ego.x, input.ego.y, Direction(input.ego.heading));
  auto keep_nearest = [&](auto&& belongs, int quota) {
    std::vector<std::pair<double, const PresentObject*>> near;
    for (const PresentObject& o : input.objects) {
      const double d = Norm(o.centre - ego.centre);
      if (belongs(o.type) && d <= kRange) near.emplace_back(d, &o);
    }
    std::stable_sort(near.begin(), near.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
    if (static_cast<int>(near.size()) > quota) near.resize(quota);
    for (const auto& [d, o] : near) {
      const Box box{o->centre, Direction(o->heading), o->length / 2, o->width / 2};
      if (Intersects(box, ego)) continue;  // initially collided: ignored throughout
      const double along = Dot(o->velocity, box.axis), speed = Norm(o->velocity);
      forecast.objects.push_back(*o);
      forecast.drift.push_back(IsAgent(o->type) ? (along <= 0 && speed > 0 ? -speed : speed) * box.axis : Vec2{});
    }
  };
  for (v1::ObjectType type : {v1::VEHICLE, v1::PEDESTRIAN, v1::BICYCLE}) {
    keep_nearest([&](v1::ObjectType t) { return t == type; }, Quota(type));
  }
  keep_nearest([](v1::ObjectType t) { return !IsAgent(t); }, Quota(v1::GENERIC_OBJECT));
  for (const Polygon& light : input.red_lights) {
    const auto corners = ego.Corners();
    // A light polygon that holds the ego's whole box is passed already.
    if (!std::all_of(corners.begin(), corners.end(), [&](Vec2 c) { return light.Contains(c); })) forecast.lights.push_back(&light);
  }
  return forecast;
}

double DistanceTo(const Polygon& polygon, const Box& box) {
  if (polygon.Intersects(box)) return 0;
  double best = std::numeric_limits<double>::infinity();
  const auto corners = box.Corners();
  for (const Vec2& c : corners) best = std::min(best, polygon.BoundaryDistance(c));
  for (const Vec2& p : polygon.rings().front()) {
    for (int i = 0; i < 4; ++i) best = std::min(best, DistanceToSegment(p, corners[i], corners[(i + 1) % 4]));
  }
  return best;
}

Vec2 Centroid(const Polygon& polygon) {
  const std::vector<Vec2>& ring = polygon.rings().front();
  Vec2 sum;
  double area = 0;
  for (size_t i = 0; i < ring.size(); ++i) {
    const Vec2 a = ring[i], b = ring[(i + 1) % ring.size()];
    const double c = Cross(a, b);
    area += c;
    sum = sum + c * (a + b);
  }
  return area == 0 ? ring.front() : (1 / (3 * area)) * sum;
}

// The strip along a path that leading objects are looked for in: rectangles per segment, discs at inner vertices.
class Corridor {
 public:
  Corridor(const PosePath& path, double from, double to) {
    const Polyline& line = path.line();
    std::vector<Vec2> v;
    for (size_t i = 0; i < line.points().size(); ++i) {
      if (line.arc()[i] >= from && line.arc()[i] <= to && (v.empty() || Norm(line.points()[i] - v.back()) > 0)) v.push_back(line.points()[i]);
    }
    if (v.size() < 2) {
      const Pose2 a = path.At(from), b = path.At(to);
      v = {{a.x, a.y}, {b.x, b.y}};
      if (Norm(v[1] - v[0]) == 0) v[1] = v[0] + 1e-6 * Direction(a.heading);
    }
    for (size_t i = 0; i + 1 < v.size(); ++i) {
      const Vec2 d = v[i + 1] - v[i];
      const double length = Norm(d);
      const Vec2 u = (1 / length) * d;
      const double back = i == 0 ? kEgoHalfWidth : 0, front = i + 2 == v.size() ? kEgoHalfWidth : 0;
      pieces_.push_back({0.5 * (v[i] + v[i + 1]) + 0.5 * (front - back) * u, u, 0.5 * (length + front + back), kEgoHalfWidth});
      bounds_.Add(pieces_.back().GetBounds());
      if (i > 0) joints_.push_back(v[i]);
    }
  }

  bool Meets(const Box& box) const {
    const Bounds b = box.GetBounds();
    if (!bounds_.Overlaps(b)) return false;
    const double radius = box.Radius();
    for (const Box& piece : pieces_) {
      const Vec2 d = box.centre - piece.centre;
      if (Dot(d, d) > (radius + piece.Radius()) * (radius + piece.Radius())) continue;
      if (Intersects(piece, box)) return true;
    }
    for (const Vec2& p : joints_) {
      const Vec2 d = p - box.centre;
      const double along = std::max(std::fabs(Dot(d, box.axis)) - box.half_length, 0.0);
      const double across = std::max(std::fabs(Cross(box.axis, d)) - box.half_width, 0.0);
      if (along * along + across * across <= kEgoHalfWidth * kEgoHalfWidth) return true;
    }
    return false;
  }
  bool Meets(const Polygon& polygon) const {
    return std::any_of(pieces_.begin(), pieces_.end(), [&](const Box& piece) { return polygon.Intersects(piece); });
  }

 private:
  std::vector<Box> pieces_;
  std::vector<Vec2> joints_;
  Bounds bounds_;
};

struct Lead {
  double x = 0, v = 0, rear = 0;
};

// Object or red light met by a corridor at one sample.
struct Obstacle {
  double progress = 0;
  bool light = false;
  int index = 0;
};

class PathRollout {
 public:
  PathRollout(const PlannerInput& input, const Forecast& forecast, double offset)
      : input_(input), forecast_(forecast), path_(input.centerline, offset),
        start_(path_.line().Project({input.ego.x, input.ego.y}).arc),
        corridor_(path_, start_, start_ + kSpeedShares[kSpeeds - 1] * input.speed_limit * kHorizon) {}

  // All five speeds up to 4 s.
  void Run(ReferencePlan* plans) {
    x_.fill(start_);
    v_.fill(input_.ego.vx);
    for (int i = 0; i < kSpeeds; ++i) plans[i].fill(path_.At(start_));
    for (int t = 1; t <= kSteps; ++t) {
      if (t % 2 == 0) Refresh(t, 0, kSpeeds);
      for (int i = 0; i < kSpeeds; ++i) plans[i][t] = Step(i);
    }
  }

  // The chosen one goes on to 5 s by itself: nothing leaks into its lead data from the others any more.
  void Continue(int speed, ReferencePlan* plan) {
    for (int t = kSteps + 1; t < kReferencePoses; ++t) {
      if (t % 2 == 0) Refresh(t, speed, speed + 1);
      (*plan)[t] = Step(speed);
    }
  }

 private:
  Pose2 Step(int i) {
    const Lead& lead = leads_[i];
    const double target = kSpeedShares[i] * input_.speed_limit, v = v_[i];
    const double want = kMinGap + kHeadway * v + v * (v - lead.v) / (2 * std::sqrt(kMaxAcc * kMaxDec));
    const double gap = std::max(lead.x - x_[i] - lead.rear, kMinGap);
    const double a = kMaxAcc * (1 - std::pow(v / target, 10) - (want / gap) * (want / gap));
    x_[i] += kDt * v;
    v_[i] += kDt * std::clamp(a, -kMaxDec, kMaxAcc);
    return path_.At(x_[i]);
  }

  void Refresh(int t, int first, int last) {
    std::vector<Obstacle> met;
    for (size_t o = 0; o < forecast_.objects.size(); ++o) {
      const Box box = forecast_.At(static_cast<int>(o), t);
      if (corridor_.Meets(box)) met.push_back({path_.line().Project(box.centre).arc, false, static_cast<int>(o)});
    }
    for (size_t l = 0; l < forecast_.lights.size(); ++l) {
      if (!corridor_.Meets(*forecast_.lights[l])) continue;
      met.push_back({path_.line().Project(Centroid(*forecast_.lights[l])).arc, true, static_cast<int>(l)});
    }
    Lead shared;  // one record for all proposals: values leak from one proposal to the next
    for (int i = first; i < last; ++i) {
      const Pose2 pose = path_.At(x_[i]);
      const Box ego = EgoBox(pose.x, pose.y, Direction(pose.heading));
      const Obstacle* nearest = nullptr;
      double distance = std::numeric_limits<double>::infinity();
      for (const Obstacle& o : met) {
        if (o.progress <= x_[i]) continue;
        const double d = o.light ? DistanceTo(*forecast_.lights[o.index], ego) : Distance(ego, forecast_.At(o.index, t));
        if (d < distance) distance = d, nearest = &o;
      }
      if (nearest == nullptr) {
        shared.x = path_.line().length();
        shared.rear = kEgoHalfLength;
      } else {
        shared.x = x_[i] + distance;
        if (!nearest->light) {
          const PresentObject& o = forecast_.objects[nearest->index];
          shared.v = IsAgent(o.type) ? Norm(o.velocity) * std::cos(o.heading - pose.heading) : 0.0;
        }
      }
      leads_[i] = shared;
    }
  }

  const PlannerInput& input_;
  const Forecast& forecast_;
  PosePath path_;
  double start_;
  Corridor corridor_;
  std::array<double, kSpeeds> x_{}, v_{};  // arc length and speed of each proposal
  std::array<Lead, kSpeeds> leads_;
};

}  // namespace

PosePath::PosePath(const std::vector<Pose2>& poses, double left) {
  std::vector<Vec2> points;
  double heading = poses.empty() ? 0 : poses.front().heading, last = heading;
  for (const Pose2& p : poses) {
    heading += UnwrappedDifference(p.heading - last);
    last = p.heading;
    const Vec2 n = Direction(p.heading + std::numbers::pi / 2);
    poses_.push_back({p.x + left * n.x, p.y + left * n.y, heading});
    points.push_back({poses_.back().x, poses_.back().y});
  }
  line_ = Polyline(std::move(points));
}

Pose2 PosePath::At(double arc) const {
  const std::vector<double>& arcs = line_.arc();
  const double s = std::clamp(arc, 1e-5, std::max(line_.length(), 1e-5));
  const size_t i = std::lower_bound(arcs.begin(), arcs.end(), s) - arcs.begin();
  if (i == 0) return poses_.front();
  if (i >= arcs.size()) return poses_.back();
  const double w = (s - arcs[i - 1]) / (arcs[i] - arcs[i - 1]);
  const Pose2 &a = poses_[i - 1], &b = poses_[i];
  return {a.x + w * (b.x - a.x), a.y + w * (b.y - a.y), a.heading + w * (b.heading - a.heading)};
}

absl::StatusOr<ReferencePlan> PlanReference(const PlannerInput& input) {
  if (input.centerline.size() < 2 || PosePath(input.centerline, 0).line().length() <= 0) {
    return absl::InvalidArgumentError("centerline: needs two different points to plan along");
  }
  const Forecast forecast = MakeForecast(input);
  std::array<ReferencePlan, kProposals> plans;
  std::vector<PathRollout> paths;
  for (int p = 0; p < 3; ++p) {
    paths.emplace_back(input, forecast, kOffsets[p]);
    paths.back().Run(&plans[p * kSpeeds]);
  }
  Observation observation;
  for (size_t o = 0; o < forecast.objects.size(); ++o) {
    const PresentObject& object = forecast.objects[o];
    const int at = observation.Add(object.token, object.type, object.length, object.width, Norm(object.velocity));
    for (int t = 0; t < kObservedSamples; ++t) {
      observation.Set(at, t, forecast.At(static_cast<int>(o), t).centre, object.heading, forecast.drift[o]);
    }
  }
  EvaluateOptions options;
  options.rules = input.rules;
  RedLights lights;
  if (input.rules == Rules::kV2) {  // the forecast holds the present lights for good
    for (const Polygon* light : forecast.lights) lights.polygons.push_back(*light);
    std::vector<int> all(lights.polygons.size());
    std::iota(all.begin(), all.end(), 0);
    lights.at.assign(kSamples, all);
    options.red_lights = &lights;
  }
  std::array<Metrics, kProposals> metrics;
  for (int i = 0; i < kProposals; ++i) {
    auto states = SimulateReference(input.ego, input.time_us, plans[i]);
    metrics[i] = Metrics{.nc = 0, .dac = 0, .ddc = 0, .ttc = 0, .comfort = 0};
    if (states.has_value()) metrics[i] = Evaluate(*input.map, observation, *states, options);
  }
  const std::vector<double> scores = BatchScores(input.rules, metrics);
  const int chosen = static_cast<int>(std::max_element(scores.begin(), scores.end()) - scores.begin());
  ReferencePlan best = plans[chosen];
  paths[chosen / kSpeeds].Continue(chosen % kSpeeds, &best);
  for (Pose2& p : best) p.heading = WrapAngle(p.heading);
  return best;
}

}  // namespace swerve::pdm
