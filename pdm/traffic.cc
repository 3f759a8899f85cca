#include "pdm/traffic.h"

#include <algorithm>
#include <limits>
#include <set>

#include "pdm/route.h"
#include "pdm/score.h"
#include "pdm/strip.h"

namespace swerve::pdm {
namespace {

constexpr double kSnap = 3.0;           // m from a baseline, at most
constexpr double kStationary = 0.1;     // m/s
constexpr double kRange = 100.0;        // m from the ego; vehicles beyond it leave
constexpr double kUnknownLimit = 10.0;  // m/s
constexpr double kMinGap = 1.0, kHeadway = 1.5, kMaxAcc = 1.0, kMaxDec = 2.0;
constexpr double kHeadingStep = 0.5;    // m along a baseline over which its direction is taken

// Where a baseline is nearest to a point.
struct Snap {
  double arc = 0, distance = 0;
  Pose2 pose;
};

Vec2 PointAt(const Polyline& line, double arc) {
  const std::vector<double>& arcs = line.arc();
  const double s = std::clamp(arc, 0.0, line.length());
  const size_t i = std::min<size_t>(std::lower_bound(arcs.begin(), arcs.end(), s) - arcs.begin(), arcs.size() - 1);
  if (i == 0) return line.points().front();
  const double w = arcs[i] > arcs[i - 1] ? (s - arcs[i - 1]) / (arcs[i] - arcs[i - 1]) : 0;
  return line.points()[i - 1] + w * (line.points()[i] - line.points()[i - 1]);
}

Snap SnapTo(const Polyline& line, Vec2 p) {
  const Polyline::Projection projection = line.Project(p);
  const Vec2 here = PointAt(line, projection.arc);
  Vec2 d = PointAt(line, projection.arc + kHeadingStep) - here;
  if (Norm(d) == 0) d = here - PointAt(line, projection.arc - kHeadingStep);
  return {projection.arc, projection.distance, {here.x, here.y, std::atan2(d.y, d.x)}};
}

// Lanes and areas of the map, for finding what a vehicle drives on.
class Rails {
 public:
  Rails(const v1::Scene& scene, Vec2 origin) : graph_(scene, origin) {
    std::set<std::string> connectors;
    for (const v1::MapPolygon& p : scene.map().polygons()) {
      if (p.type() == v1::LANE_CONNECTOR) connectors.insert(p.token());
      if (p.type() == v1::INTERSECTION) intersections_.push_back(LocalPolygon(p, origin));
    }
    for (const LaneGraph::LaneInfo& lane : graph_.lanes()) {
      connector_.push_back(connectors.count(lane.lane->id()) > 0);
      paths_.push_back(std::make_shared<const PosePath>(lane.baseline, 0));
    }
  }

  bool empty() const { return paths_.empty(); }
  const LaneGraph::LaneInfo& lane(int i) const { return graph_.lanes()[i]; }
  const std::shared_ptr<const PosePath>& path(int i) const { return paths_[i]; }
  bool OnRoad(Vec2 p) const { return !Holding(p, false).empty() || InIntersection(p); }

  // The lane that holds `p`, or inside an intersection the connector; of several the one whose direction differs least,
  // the difference not wrapped, as the official code has it. -1: none.
  int LaneOf(Vec2 p, double heading) const {
    std::vector<int> found = Holding(p, false);
    if (found.empty() && InIntersection(p)) found = Holding(p, true);
    int best = -1;
    double error = std::numeric_limits<double>::infinity();
    for (int i : found) {
      const double e = std::fabs(SnapTo(paths_[i]->line(), p).pose.heading - heading);
      if (e < error) error = e, best = i;
    }
    return best;
  }

 private:
  std::vector<int> Holding(Vec2 p, bool connector) const {
    std::vector<int> out;
    for (size_t i = 0; i < paths_.size(); ++i) {
      if (connector_[i] != connector || paths_[i]->line().length() <= 0) continue;
      if (graph_.lanes()[i].has_polygon && graph_.lanes()[i].polygon.Contains(p)) out.push_back(static_cast<int>(i));
    }
    return out;
  }
  bool InIntersection(Vec2 p) const {
    return std::any_of(intersections_.begin(), intersections_.end(), [&](const Polygon& a) { return a.Contains(p); });
  }

  LaneGraph graph_;
  std::vector<bool> connector_;
  std::vector<std::shared_ptr<const PosePath>> paths_;
  std::vector<Polygon> intersections_;
};

}  // namespace

absl::StatusOr<ReactiveTraffic> ReactiveTraffic::Create(const v1::Scene& scene) {
  if (!scene.has_ego() || !scene.has_resolved_v2()) return absl::InvalidArgumentError("ego or resolved.v2 is missing");
  const Vec2 origin{scene.ego().rear_axle().x(), scene.ego().rear_axle().y()};
  const Rails rails(scene, origin);
  if (rails.empty()) return absl::InvalidArgumentError("map.lanes: missing; reactive traffic needs the lane graph");
  google::protobuf::RepeatedPtrField<v1::Track> logged;
  std::vector<const v1::Track*> vehicles;
  for (const v1::Track& track : scene.resolved_v2().agents()) {
    if (track.type() != v1::VEHICLE) {
      *logged.Add() = track;
    } else if (track.states_size() > 0 && track.states(0).index() == 0) {
      vehicles.push_back(&track);
      *logged.Add() = track;
      logged.at(logged.size() - 1).mutable_states()->DeleteSubrange(1, track.states_size() - 1);
    }
  }
  ReactiveTraffic out;
  SWERVE_ASSIGN_OR_RETURN(out.logged_, MakeObservation(logged, origin, kSamples));
  std::vector<Box> taken{EgoBox(0, 0, Direction(scene.ego().rear_axle().heading()))};
  std::set<std::string> seen;
  double target = kUnknownLimit;  // a lane without a limit takes that of the vehicle before, as the official code does
  int object = -1;
  for (const v1::Track& track : logged) {
    if (track.states().empty()) continue;
    ++object;
    if (track.type() != v1::VEHICLE || !seen.insert(track.token()).second) continue;
    const v1::TrackState& s = track.states(0);
    Vehicle v{object, out.logged_.box(object, 0), {s.vx(), s.vy()}};
    const int lane = rails.LaneOf(v.box.centre, s.heading());
    const bool slow = Norm(v.velocity) < kStationary;
    v.stands = slow && !rails.OnRoad(v.box.centre);
    if (lane >= 0) {
      const Snap snap = SnapTo(rails.path(lane)->line(), v.box.centre);
      Box box{{snap.pose.x, snap.pose.y}, Direction(snap.pose.heading), v.box.half_length, v.box.half_width};
      v.stands = v.stands || snap.distance > kSnap;
      if (snap.distance <= kSnap && std::none_of(taken.begin(), taken.end(), [&](const Box& b) { return Intersects(b, box); })) {
        taken.push_back(box);
        const v1::Lane& l = *rails.lane(lane).lane;
        if (l.has_speed_limit() && l.speed_limit() > 0) target = l.speed_limit();
        v.driver = static_cast<int>(out.drivers_.size());
        out.drivers_.push_back({rails.path(lane), snap.arc, Norm(v.velocity), target, box});
      }
    }
    out.vehicles_.push_back(v);
  }
  return out;
}

// One future, step by step.
class ReactiveTraffic::Rollout {
 public:
  explicit Rollout(const ReactiveTraffic& traffic) : traffic_(traffic), drivers_(traffic.drivers_), here_(drivers_.size(), true) {
    for (const Driver& d : drivers_) strips_.emplace_back(d.box);
  }

  void Step(const EgoRow& ego) {
    // The official policy centres the ego's box on its rear axle here.
    const Box box{{ego.x, ego.y}, Direction(ego.heading), kEgoHalfLength, kEgoHalfWidth};
    const Strip ego_strip(box);
    for (size_t i = 0; i < drivers_.size(); ++i) {
      if (Norm(drivers_[i].box.centre - box.centre) > kRange) here_[i] = false;
    }
    for (size_t i = 0; i < drivers_.size(); ++i) {
      if (here_[i]) Drive(i, ego, ego_strip);
    }
  }

  void Put(int t, Observation* out) const {
    for (const Vehicle& v : traffic_.vehicles_) {
      if (v.driver >= 0 && here_[v.driver]) {
        const Driver& d = drivers_[v.driver];
        out->Set(v.object, t, d.box.centre, std::atan2(d.box.axis.y, d.box.axis.x), d.speed * d.box.axis);
      } else if (v.driver < 0 && v.stands && !TouchesDriver(v.box)) {
        out->Set(v.object, t, v.box.centre, std::atan2(v.box.axis.y, v.box.axis.x), v.velocity);
      }
    }
  }

 private:
  bool TouchesDriver(const Box& box) const {
    for (size_t i = 0; i < drivers_.size(); ++i) {
      if (here_[i] && Intersects(drivers_[i].box, box)) return true;
    }
    return false;
  }

  void Drive(size_t i, const EgoRow& ego, const Strip& ego_strip) {
    Driver& d = drivers_[i];
    const double length = d.path->line().length();
    const Strip ahead(*d.path, d.arc, length, d.box.half_width);
    double gap = std::numeric_limits<double>::infinity(), lead_speed = 0;
    auto consider = [&](const Strip& other, double speed, double heading) {
      if (ahead.empty() || !ahead.Intersects(other)) return;
      const double distance = strips_[i].Distance(other);
      if (distance >= gap) return;
      gap = distance;
      lead_speed = speed * std::cos(heading - std::atan2(d.box.axis.y, d.box.axis.x));
    };
    for (size_t j = 0; j < drivers_.size(); ++j) {
      const Box& b = drivers_[j].box;
      if (j != i && here_[j]) consider(strips_[j], drivers_[j].speed, std::atan2(b.axis.y, b.axis.x));
    }
    consider(ego_strip, std::hypot(ego.vx, ego.vy), ego.heading);
    if (gap == std::numeric_limits<double>::infinity()) gap = length - d.arc - d.box.half_length;  // the lane's end
    const double want = kMinGap + kHeadway * d.speed + d.speed * (d.speed - lead_speed) / (2 * std::sqrt(kMaxAcc * kMaxDec));
    const double ratio = want / std::max(gap, kMinGap);
    const double a = kMaxAcc * (1 - std::pow(d.speed / d.target, 4) - ratio * ratio);
    d.arc += kDt * d.speed;
    d.speed = std::max(d.speed + kDt * std::clamp(a, -kMaxDec, kMaxAcc), 0.0);
    const Pose2 pose = d.path->At(d.arc);
    d.box.centre = {pose.x, pose.y};
    d.box.axis = Direction(pose.heading);
    strips_[i] = Strip(*d.path, d.arc - d.box.half_length, d.arc + d.box.half_length + kHeadway * d.speed, d.box.half_width);
    strips_[i].Add(d.box);
  }

  const ReactiveTraffic& traffic_;
  std::vector<Driver> drivers_;
  std::vector<bool> here_;     // in range so far
  std::vector<Strip> strips_;  // what each occupies and is about to
};

Observation ReactiveTraffic::React(const States& ego) const {
  Observation out = logged_;
  Rollout rollout(*this);
  for (int t = 1; t < kSamples; ++t) {
    rollout.Step(ego[t - 1]);
    rollout.Put(t, &out);
  }
  return out;
}

absl::StatusOr<std::shared_ptr<const ReactiveScene>> ReactiveScene::Create(const v1::Scene& scene,
                                                                           std::shared_ptr<const PreparedScene> prepared) {
  SWERVE_ASSIGN_OR_RETURN(ReactiveTraffic traffic, ReactiveTraffic::Create(scene));
  auto out = std::shared_ptr<ReactiveScene>(new ReactiveScene(std::move(prepared), std::move(traffic)));
  const PreparedScene& p = *out->prepared_;
  if (p.human_states().has_value()) {
    EvaluateOptions options = p.options();
    options.comfort = nullptr;
    out->human_ = Evaluate(p.map(), out->traffic_.React(*p.human_states()), *p.human_states(), options);
  }
  return std::shared_ptr<const ReactiveScene>(std::move(out));
}

ScoreV2 ReactiveScene::Score(absl::Span<const Pose2> poses, const PreviousPlan* previous) const {
  ScoreV2 out;
  States states;
  const PreparedScene& p = *prepared_;
  out.invalid = SimulateCandidate(p, poses, &states);
  if (out.invalid != v1::INVALID_REASON_UNSPECIFIED) return out;
  const Observation traffic = traffic_.React(states);
  Trace trace;
  const Metrics m = Evaluate(p.map(), traffic, states, p.options(), &trace);
  const Metrics r = Evaluate(p.map(), traffic, p.reference_states(), p.options());
  std::optional<double> ec;
  if (previous != nullptr) ec = ExtendedComfort(states, previous->states, previous->offset) ? 1.0 : 0.0;
  out = AssembleV2(r, m, human_.has_value() ? &*human_ : nullptr, ec);
  out.trace = std::move(trace);
  return out;
}

}  // namespace swerve::pdm
