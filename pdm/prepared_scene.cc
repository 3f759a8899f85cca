#include "pdm/prepared_scene.h"

#include <algorithm>
#include <set>

namespace swerve::pdm {
namespace {

constexpr int kObservedV2 = 41;

absl::Status Bad(absl::string_view what) { return absl::InvalidArgumentError(what); }

bool AllFinite(std::initializer_list<double> values) {
  return std::all_of(values.begin(), values.end(), [](double v) { return std::isfinite(v); });
}

absl::Status CheckEgo(const v1::EgoState& e) {
  const v1::Pose& p = e.rear_axle();
  if (!AllFinite({p.x(), p.y(), p.heading(), e.vx(), e.vy(), e.ax(), e.ay(), e.steering_angle(), e.steering_rate(),
                  e.yaw_rate(), e.yaw_acceleration()})) {
    return Bad("ego: a value is not finite");
  }
  constexpr int64_t kLast = int64_t{1} << 53;  // whole in a double, and no difference of two overflows
  if (e.time_us() < -kLast || e.time_us() > kLast) return Bad("ego: time_us is more than 285 years from 1970");
  return absl::OkStatus();
}

absl::StatusOr<Polygon> MakePolygon(const v1::MapPolygon& p, Vec2 origin, absl::string_view field) {
  std::vector<std::vector<Vec2>> rings;
  auto add = [&](const v1::Ring& ring) {
    if (ring.xy_size() % 2 != 0 || ring.xy_size() < 6) return false;
    std::vector<Vec2> points;
    for (int i = 0; i + 1 < ring.xy_size(); i += 2) {
      if (!AllFinite({ring.xy(i), ring.xy(i + 1)})) return false;
      points.push_back({ring.xy(i) - origin.x, ring.xy(i + 1) - origin.y});
    }
    rings.push_back(std::move(points));
    return true;
  };
  bool good = add(p.exterior());
  for (const v1::Ring& ring : p.interiors()) good = good && add(ring);
  if (!good) {
    return Bad(absl::StrCat(field, " polygon '", p.token(),
                            "': a ring needs at least 3 points, given as finite x,y pairs"));
  }
  return Polygon(std::move(rings));
}

absl::StatusOr<std::vector<Pose2>> LocalPoses(const google::protobuf::RepeatedPtrField<v1::Pose>& poses, Vec2 origin,
                                              absl::string_view field) {
  std::vector<Pose2> out;
  for (const v1::Pose& p : poses) {
    if (!AllFinite({p.x(), p.y(), p.heading()})) {
      return Bad(absl::StrCat(field, "[", out.size(), "]: a value is not finite"));
    }
    out.push_back({p.x() - origin.x, p.y() - origin.y, p.heading()});
  }
  return out;
}

// §17.4: the logged past at 10 Hz, the last query dropped.
std::vector<EgoRow> History(const v1::Scene& scene, Vec2 origin) {
  std::vector<const v1::EgoState*> states;
  for (const v1::EgoState& e : scene.ego_past()) states.push_back(&e);
  states.push_back(&scene.ego());
  std::vector<double> heading;
  for (const v1::EgoState* e : states) {
    double h = e->rear_axle().heading();
    heading.push_back(heading.empty() ? h : heading.back() + UnwrappedDifference(h - heading.back()));
  }
  int64_t start = states.front()->time_us(), end = states.back()->time_us();
  int64_t rows = std::min<int64_t>((end - start + 99999) / 100000 - 1, kMaxHistory);
  std::vector<EgoRow> out;
  for (int64_t i = 0; i < rows; ++i) {
    int64_t t = start + 100000 * i;
    size_t k = 0;
    while (k + 2 < states.size() && t > states[k + 1]->time_us()) ++k;
    const v1::EgoState &a = *states[k], &b = *states[k + 1];
    double f = static_cast<double>(t - a.time_us()) / static_cast<double>(b.time_us() - a.time_us());
    auto mix = [f](double x, double y) { return x + f * (y - x); };
    EgoRow r;
    r.x = mix(a.rear_axle().x() - origin.x, b.rear_axle().x() - origin.x);
    r.y = mix(a.rear_axle().y() - origin.y, b.rear_axle().y() - origin.y);
    r.heading = PrincipalValue(mix(heading[k], heading[k + 1]));
    r.vx = mix(a.vx(), b.vx());
    r.vy = mix(a.vy(), b.vy());
    r.ax = mix(a.ax(), b.ax());
    r.ay = mix(a.ay(), b.ay());
    out.push_back(r);
  }
  return out;
}

}  // namespace

EgoRow LocalEgo(const v1::EgoState& e) {
  EgoRow r;
  r.heading = e.rear_axle().heading();
  r.vx = e.vx();
  r.vy = e.vy();
  r.ax = e.ax();
  r.ay = e.ay();
  r.steering = e.steering_angle();
  r.steering_rate = e.steering_rate();
  r.yaw_rate = e.yaw_rate();
  r.yaw_acceleration = e.yaw_acceleration();
  return r;
}

absl::StatusOr<DrivableMap> MakeDrivableMap(const v1::ResolvedScene& resolved, Vec2 origin) {
  std::set<std::string> route(resolved.route_lane_ids().begin(), resolved.route_lane_ids().end());
  std::vector<MapArea> areas;
  for (const v1::MapPolygon& p : resolved.drivable_map()) {
    MapArea area;
    area.token = p.token();
    area.type = p.type();
    area.lane = p.type() == v1::LANE || p.type() == v1::LANE_CONNECTOR;
    area.on_route = area.lane && route.count(p.token()) > 0;
    area.drivable = p.type() == v1::ROADBLOCK || p.type() == v1::INTERSECTION || p.type() == v1::DRIVABLE_AREA ||
                    p.type() == v1::CARPARK_AREA;
    area.intersection = p.type() == v1::INTERSECTION;
    SWERVE_ASSIGN_OR_RETURN(area.polygon, MakePolygon(p, origin, "drivable_map"));
    areas.push_back(std::move(area));
  }
  SWERVE_ASSIGN_OR_RETURN(std::vector<Pose2> line, LocalPoses(resolved.centerline(), origin, "centerline"));
  std::vector<Vec2> points;
  for (const Pose2& p : line) points.push_back({p.x, p.y});
  Polyline centreline(std::move(points));
  if (centreline.length() <= 0) return Bad("centerline: needs at least two different points");
  return DrivableMap(std::move(areas), std::move(centreline));
}

absl::StatusOr<Observation> MakeObservation(const google::protobuf::RepeatedPtrField<v1::Track>& agents, Vec2 origin,
                                            int samples) {
  Observation out(samples);
  for (const v1::Track& track : agents) {
    auto bad = [&](absl::string_view what) { return Bad(absl::StrCat("agent '", track.token(), "': ", what)); };
    if (track.type() == v1::OBJECT_TYPE_UNSPECIFIED) return bad("type is missing");
    if (!(track.length() > 0 && track.width() > 0) || !AllFinite({track.length(), track.width()})) {
      return bad("length and width must be positive");
    }
    if (track.states().empty()) continue;
    const v1::TrackState& first = track.states(0);
    int object = out.Add(track.token(), track.type(), track.length(), track.width(), std::hypot(first.vx(), first.vy()));
    int before = -1;
    for (const v1::TrackState& s : track.states()) {
      if (s.index() <= before || s.index() >= samples) {
        return bad(absl::StrCat("state index ", s.index(), " is not ascending within 0 … ", samples - 1));
      }
      if (!AllFinite({s.x(), s.y(), s.heading(), s.vx(), s.vy()})) {
        return bad(absl::StrCat("state ", s.index(), " is not finite"));
      }
      before = s.index();
      out.Set(object, s.index(), {s.x() - origin.x, s.y() - origin.y}, s.heading(), {s.vx(), s.vy()});
    }
  }
  return out;
}

absl::StatusOr<std::shared_ptr<const PreparedScene>> PreparedScene::Create(const v1::Scene& scene, Rules rules) {
  bool v1_rules = IsV1(rules);
  if (!scene.has_ego() || !scene.ego().has_rear_axle()) return Bad("ego.rear_axle is missing");
  if (v1_rules ? !scene.has_resolved_v1() : !scene.has_resolved_v2()) {
    return Bad(v1_rules ? "resolved_v1 is missing: `swerve scenes resolve` fills it"
                        : "resolved_v2 is missing: `swerve scenes resolve --v2` fills it");
  }
  SWERVE_RETURN_IF_ERROR(CheckEgo(scene.ego()));
  const v1::ResolvedScene& resolved = v1_rules ? scene.resolved_v1() : scene.resolved_v2();
  auto p = std::shared_ptr<PreparedScene>(new PreparedScene());
  p->rules_ = p->options_.rules = rules;
  p->id_ = scene.id();
  p->origin_ = {scene.ego().rear_axle().x(), scene.ego().rear_axle().y()};
  p->time_us_ = scene.ego().time_us();
  p->start_ = SimulationStart(LocalEgo(scene.ego()));
  p->grid_ = TimeGrid::Candidate(p->time_us_);
  SWERVE_ASSIGN_OR_RETURN(p->map_, MakeDrivableMap(resolved, p->origin_));
  p->map_.PrepareFor(p->ego());
  SWERVE_ASSIGN_OR_RETURN(p->observation_,
                          MakeObservation(resolved.agents(), p->origin_, v1_rules ? kObservedSamples : kObservedV2));
  Vec2 centre = EgoCentre(0, 0, p->start_.direction);
  p->options_.start_arc = p->map_.centreline().Project(centre).arc;
  if (v1_rules) {
    p->options_.comfort = &p->comfort_.emplace(Comfort::V1(p->ego().ay));
  } else {
    SWERVE_RETURN_IF_ERROR(p->PrepareV2(scene));
  }
  SWERVE_RETURN_IF_ERROR(p->EvaluateReference(resolved));
  return std::shared_ptr<const PreparedScene>(std::move(p));
}

absl::Status PreparedScene::EvaluateReference(const v1::ResolvedScene& resolved) {
  if (resolved.pdm_reference_size() != kReferencePoses) {
    return Bad(absl::StrCat("pdm_reference: ", resolved.pdm_reference_size(), " poses, ", kReferencePoses, " needed"));
  }
  SWERVE_ASSIGN_OR_RETURN(std::vector<Pose2> poses, LocalPoses(resolved.pdm_reference(), origin_, "pdm_reference"));
  std::optional<States> states = SimulateReference(ego(), time_us_, poses);
  if (!states.has_value()) return Bad("pdm_reference: its simulation diverges");
  reference_states_ = *states;
  reference_ = Evaluate(map_, observation_, *states, options_);
  return absl::OkStatus();
}

absl::Status PreparedScene::PrepareV2(const v1::Scene& scene) {
  const v1::ResolvedScene& resolved = scene.resolved_v2();
  const Box present = EgoBox(0, 0, start_.direction);
  for (int i = 0; i < observation_.size(); ++i) {  // §7.3
    const Box& box = observation_.box(i, 0);
    if (std::isfinite(box.centre.x) && Intersects(present, box)) observation_.Remove(i);
  }
  std::vector<std::string>& tokens = red_lights_.tokens;
  for (const v1::MapPolygon& p : resolved.red_light_polygons()) {
    SWERVE_ASSIGN_OR_RETURN(Polygon polygon, MakePolygon(p, origin_, "red_light_polygons"));
    red_lights_.polygons.push_back(std::move(polygon));
    tokens.push_back(p.token());
  }
  for (const v1::TokenList& list : resolved.red_lights()) {
    std::vector<int>& at = red_lights_.at.emplace_back();
    for (const std::string& token : list.tokens()) {
      auto it = std::find(tokens.begin(), tokens.end(), token);
      if (it == tokens.end()) return Bad(absl::StrCat("red_lights: no polygon for '", token, "'"));
      at.push_back(static_cast<int>(it - tokens.begin()));
    }
  }
  options_.red_lights = &red_lights_;
  int64_t before = std::numeric_limits<int64_t>::min();
  for (const v1::EgoState& e : scene.ego_past()) {
    SWERVE_RETURN_IF_ERROR(Annotate(CheckEgo(e), "ego_past"));
    if (e.time_us() <= before) return Bad("ego_past: times must ascend");
    before = e.time_us();
  }
  if (before >= time_us_) return Bad("ego_past: must lie before ego.time_us");
  if (!scene.synthetic_stage() && resolved.human_size() > 0) {  // §19.2: alone, without history
    std::vector<Pose2> poses;
    for (const v1::Pose& p : resolved.human()) poses.push_back({p.x(), p.y(), p.heading()});
    std::optional<States> states = SimulateTrajectory(ego(), time_us_, poses);
    if (!states.has_value()) return Bad("human: cannot be simulated");
    human_states_ = states;
    human_ = Evaluate(map_, observation_, *states, options_);
  }
  if (scene.ego_past_size() > 0) {
    options_.comfort = &comfort_.emplace(Comfort::V2(History(scene, origin_), ego().ay));
  }
  return absl::OkStatus();
}

}  // namespace swerve::pdm
