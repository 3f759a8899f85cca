#include "pdm/resolve.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <set>

#include "absl/strings/str_cat.h"
#include "pdm/planner.h"
#include "pdm/prepared_scene.h"
#include "pdm/route.h"

namespace swerve::pdm {
namespace {

constexpr double kCut = 100;            // m, half side of the map's square
constexpr double kUnknownLimit = 15.0;  // m/s
constexpr int kSub = 5;                 // 10 Hz samples per 2 Hz frame
constexpr int kFramesV1 = 11, kFramesV2 = 9;

v1::TrackState Lerp(const v1::TrackState& a, const v1::TrackState& b, double w, double heading_step) {
  v1::TrackState s;
  s.set_x(a.x() + w * (b.x() - a.x()));
  s.set_y(a.y() + w * (b.y() - a.y()));
  s.set_vx(a.vx() + w * (b.vx() - a.vx()));
  s.set_vy(a.vy() + w * (b.vy() - a.vy()));
  s.set_heading(WrapAngle(a.heading() + w * heading_step));
  return s;
}

void AddPoses(const std::vector<Pose2>& poses, Vec2 origin, google::protobuf::RepeatedPtrField<v1::Pose>* out) {
  for (const Pose2& p : poses) {
    v1::Pose* q = out->Add();
    q->set_x(p.x + origin.x), q->set_y(p.y + origin.y), q->set_heading(p.heading);
  }
}

// Appendix A, "Map cut".
void CutMap(const LaneGraph& graph, const EgoRow& ego, v1::ResolvedScene* out) {
  const Vec2 centre = EgoCentre(ego.x, ego.y, Direction(ego.heading));
  const Box square{centre, {1, 0}, kCut, kCut};
  std::set<std::string> lanes_kept;
  for (const LaneGraph::Block& block : graph.blocks()) {
    if (!graph.Touches(block, square)) continue;
    for (int lane : block.lanes) lanes_kept.insert(graph.lanes()[lane].lane->id());
  }
  using T = v1::MapType;
  for (T type : {v1::ROADBLOCK, v1::LANE, v1::LANE_CONNECTOR, v1::INTERSECTION, v1::CARPARK_AREA, v1::DRIVABLE_AREA}) {
    for (const v1::MapPolygon& p : graph.scene().map().polygons()) {
      if (p.type() != type) continue;
      const bool lane = type == v1::LANE || type == v1::LANE_CONNECTOR;
      const bool keep = lane ? lanes_kept.count(p.token()) > 0 : LocalPolygon(p, graph.origin()).Intersects(square);
      if (keep) *out->add_drivable_map() = p;
    }
  }
}

PlannerInput MakeInput(const v1::Scene& scene, const LaneGraph& graph, const Route& route, const EgoRow& ego) {
  PlannerInput input;
  input.ego = ego;
  input.time_us = scene.ego().time_us();
  const v1::Lane& start = *graph.lanes()[route.starting_lane].lane;
  input.speed_limit = start.has_speed_limit() && start.speed_limit() > 0 ? start.speed_limit() : kUnknownLimit;
  for (const v1::Track& track : scene.tracks()) {
    for (const v1::TrackState& s : track.states()) {
      if (s.index() != 0) continue;
      const bool agent = IsAgent(track.type());
      input.objects.push_back({track.token(), track.type(), track.length(), track.width(),
                               {s.x() - graph.origin().x, s.y() - graph.origin().y}, s.heading(),
                               agent ? Vec2{s.vx(), s.vy()} : Vec2{}});
    }
  }
  if (scene.traffic_lights_size() > 0) {
    std::set<std::string> on_route(route.lane_ids.begin(), route.lane_ids.end());
    for (const v1::TrafficLight& light : scene.traffic_lights(0).lights()) {
      const int lane = graph.FindLane(light.lane_connector());
      if (!light.red() || lane < 0 || !on_route.count(light.lane_connector()) || !graph.lanes()[lane].has_polygon) continue;
      input.red_lights.push_back(graph.lanes()[lane].polygon);
    }
  }
  return input;
}

absl::StatusOr<google::protobuf::RepeatedPtrField<v1::Pose>> Reference(const v1::Scene& scene, const LaneGraph& graph,
                                                                       const Route& route, const EgoRow& ego,
                                                                       const v1::ResolvedScene& resolved,
                                                                       Rules rules) {
  SWERVE_ASSIGN_OR_RETURN(DrivableMap map, MakeDrivableMap(resolved, graph.origin()));
  PlannerInput input = MakeInput(scene, graph, route, ego);
  input.map = &map;
  input.rules = rules;
  for (const v1::Pose& p : resolved.centerline()) {
    input.centerline.push_back({p.x() - graph.origin().x, p.y() - graph.origin().y, p.heading()});
  }
  SWERVE_ASSIGN_OR_RETURN(ReferencePlan plan, PlanReference(input));
  google::protobuf::RepeatedPtrField<v1::Pose> out;
  AddPoses({plan.begin(), plan.end()}, graph.origin(), &out);
  return out;
}

// §7.4: connectors that are red in the 2 Hz frame of a sample and belong to the route as the log gives it.
void AddRedLights(const v1::Scene& scene, v1::ResolvedScene* out) {
  const std::set<std::string> route(scene.route_roadblock_ids().begin(), scene.route_roadblock_ids().end());
  std::set<std::string> lanes;
  for (const v1::Lane& lane : scene.map().lanes()) {
    if (route.count(lane.roadblock())) lanes.insert(lane.id());
  }
  std::map<std::string, const v1::MapPolygon*> on_route;
  for (const v1::MapPolygon& p : scene.map().polygons()) {
    if (p.type() == v1::LANE_CONNECTOR && lanes.count(p.token())) on_route.emplace(p.token(), &p);
  }
  std::set<std::string> named;
  for (int t = 0; t < kSamples; ++t) {
    v1::TokenList* list = out->add_red_lights();
    if (t / kSub >= scene.traffic_lights_size()) continue;
    for (const v1::TrafficLight& light : scene.traffic_lights(t / kSub).lights()) {
      auto it = on_route.find(light.lane_connector());
      if (!light.red() || it == on_route.end()) continue;
      const std::string token = absl::StrCat("red_light_", light.lane_connector());
      list->add_tokens(token);
      if (!named.insert(token).second) continue;
      v1::MapPolygon* polygon = out->add_red_light_polygons();
      *polygon = *it->second;
      polygon->set_token(token);
    }
  }
}

absl::Status CheckFinite(const v1::Scene& scene) {
  auto bad = [](absl::string_view what) { return absl::InvalidArgumentError(absl::StrCat(what, ": a value is not finite")); };
  auto finite = [](const v1::Pose& p) { return std::isfinite(p.x()) && std::isfinite(p.y()) && std::isfinite(p.heading()); };
  const v1::EgoState& e = scene.ego();
  if (!finite(e.rear_axle()) || !std::isfinite(e.vx()) || !std::isfinite(e.ax())) return bad("scene.ego");
  for (const v1::MapPolygon& p : scene.map().polygons()) {
    for (double v : p.exterior().xy()) {
      if (!std::isfinite(v)) return bad(absl::StrCat("scene.map.polygons '", p.token(), "'"));
    }
  }
  for (const v1::Lane& lane : scene.map().lanes()) {
    for (const v1::Pose& p : lane.baseline()) {
      if (!finite(p)) return bad(absl::StrCat("scene.map.lanes '", lane.id(), "'.baseline"));
    }
  }
  for (const v1::Track& track : scene.tracks()) {
    for (const v1::TrackState& s : track.states()) {
      if (!std::isfinite(s.x() + s.y() + s.heading() + s.vx() + s.vy())) return bad(absl::StrCat("scene.tracks '", track.token(), "'"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

google::protobuf::RepeatedPtrField<v1::Track> ResolveAgents(const google::protobuf::RepeatedPtrField<v1::Track>& tracks, int frames) {
  google::protobuf::RepeatedPtrField<v1::Track> out;
  const int samples = (frames - 1) * kSub + 1;
  for (const v1::Track& track : tracks) {
    std::vector<v1::TrackState> seen;
    for (const v1::TrackState& s : track.states()) {
      if (s.index() < 0 || s.index() >= frames) continue;
      seen.push_back(s);
      if (!IsAgent(track.type())) seen.back().set_vx(0), seen.back().set_vy(0);
    }
    if (seen.empty()) continue;
    v1::Track* dense = out.Add();
    *dense = track;
    dense->clear_states();
    size_t k = 0;
    const int first = seen.size() == 1 ? 0 : seen.front().index() * kSub;
    const int last = seen.size() == 1 ? samples - 1 : seen.back().index() * kSub;
    for (int i = first; i <= last; ++i) {
      v1::TrackState state = seen.front();
      if (seen.size() > 1) {
        while (k + 2 < seen.size() && seen[k + 1].index() * kSub <= i) ++k;
        const double w = static_cast<double>(i - seen[k].index() * kSub) / ((seen[k + 1].index() - seen[k].index()) * kSub);
        state = Lerp(seen[k], seen[k + 1], w, UnwrappedDifference(seen[k + 1].heading() - seen[k].heading()));
      }
      state.set_index(i);
      *dense->add_states() = state;
    }
  }
  return out;
}

namespace {

// The scene with its route, from which either kind of resolved scene is made.
class Resolver {
 public:
  static absl::StatusOr<Resolver> Create(const v1::Scene& scene) {
    if (!scene.has_ego()) return absl::InvalidArgumentError("scene.ego: missing");
    SWERVE_RETURN_IF_ERROR(CheckFinite(scene));
    Resolver r(scene);
    SWERVE_ASSIGN_OR_RETURN(r.route_, FindRoute(*r.graph_, r.ego_));
    return r;
  }

  absl::StatusOr<v1::ResolvedScene> Make(Rules rules) const {
    v1::ResolvedScene out;
    CutMap(*graph_, ego_, &out);
    for (const std::string& id : route_.lane_ids) out.add_route_lane_ids(id);
    AddPoses(route_.centerline, graph_->origin(), out.mutable_centerline());
    *out.mutable_agents() = ResolveAgents(scene_.tracks(), IsV1(rules) ? kFramesV1 : kFramesV2);
    SWERVE_ASSIGN_OR_RETURN(*out.mutable_pdm_reference(), Reference(scene_, *graph_, route_, ego_, out, rules));
    if (IsV1(rules)) return out;
    AddRedLights(scene_, &out);
    *out.mutable_human() = scene_.human();
    return out;
  }

 private:
  explicit Resolver(const v1::Scene& scene)
      : scene_(scene), ego_(LocalEgo(scene.ego())),
        graph_(std::make_unique<LaneGraph>(scene, Vec2{scene.ego().rear_axle().x(), scene.ego().rear_axle().y()})) {}

  const v1::Scene& scene_;
  EgoRow ego_;
  std::unique_ptr<const LaneGraph> graph_;
  Route route_;
};

}  // namespace

absl::Status Resolve(v1::Scene* scene, Rules rules) {
  SWERVE_ASSIGN_OR_RETURN(const Resolver resolver, Resolver::Create(*scene));
  SWERVE_ASSIGN_OR_RETURN(v1::ResolvedScene resolved, resolver.Make(rules));
  *(IsV1(rules) ? scene->mutable_resolved_v1() : scene->mutable_resolved_v2()) = std::move(resolved);
  return absl::OkStatus();
}

absl::Status ResolveBoth(v1::Scene* scene, Rules v1_rules) {
  SWERVE_ASSIGN_OR_RETURN(const Resolver resolver, Resolver::Create(*scene));
  SWERVE_ASSIGN_OR_RETURN(v1::ResolvedScene v1, resolver.Make(v1_rules));
  SWERVE_ASSIGN_OR_RETURN(v1::ResolvedScene v2, resolver.Make(Rules::kV2));
  *scene->mutable_resolved_v1() = std::move(v1);
  *scene->mutable_resolved_v2() = std::move(v2);
  return absl::OkStatus();
}

absl::StatusOr<google::protobuf::RepeatedPtrField<v1::Pose>> ResolveReference(const v1::Scene& scene, Rules rules) {
  const Vec2 origin{scene.ego().rear_axle().x(), scene.ego().rear_axle().y()};
  const EgoRow ego = LocalEgo(scene.ego());
  const LaneGraph graph(scene, origin);
  SWERVE_ASSIGN_OR_RETURN(Route route, FindRoute(graph, ego));
  return Reference(scene, graph, route, ego, IsV1(rules) ? scene.resolved_v1() : scene.resolved_v2(), rules);
}

}  // namespace swerve::pdm
