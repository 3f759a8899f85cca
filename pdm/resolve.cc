#include "pdm/resolve.h"

#include <algorithm>
#include <cmath>
#include <map>
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
                                                                       const v1::ResolvedScene& resolved) {
  SWERVE_ASSIGN_OR_RETURN(DrivableMap map, MakeDrivableMap(resolved, graph.origin()));
  PlannerInput input = MakeInput(scene, graph, route, ego);
  input.map = &map;
  for (const v1::Pose& p : resolved.centerline()) {
    input.centerline.push_back({p.x() - graph.origin().x, p.y() - graph.origin().y, p.heading()});
  }
  SWERVE_ASSIGN_OR_RETURN(ReferencePlan plan, PlanReference(input));
  google::protobuf::RepeatedPtrField<v1::Pose> out;
  AddPoses({plan.begin(), plan.end()}, graph.origin(), &out);
  return out;
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

absl::Status Resolve(v1::Scene* scene) {
  if (!scene->has_ego()) return absl::InvalidArgumentError("scene.ego: missing");
  SWERVE_RETURN_IF_ERROR(CheckFinite(*scene));
  const Vec2 origin{scene->ego().rear_axle().x(), scene->ego().rear_axle().y()};
  const EgoRow ego = LocalEgo(scene->ego());
  const LaneGraph graph(*scene, origin);
  SWERVE_ASSIGN_OR_RETURN(Route route, FindRoute(graph, ego));
  v1::ResolvedScene resolved;
  CutMap(graph, ego, &resolved);
  for (const std::string& id : route.lane_ids) resolved.add_route_lane_ids(id);
  AddPoses(route.centerline, origin, resolved.mutable_centerline());
  *resolved.mutable_agents() = ResolveAgents(scene->tracks(), 11);
  SWERVE_ASSIGN_OR_RETURN(*resolved.mutable_pdm_reference(), Reference(*scene, graph, route, ego, resolved));
  *scene->mutable_resolved_v1() = std::move(resolved);
  return absl::OkStatus();
}

absl::StatusOr<google::protobuf::RepeatedPtrField<v1::Pose>> ResolveReference(const v1::Scene& scene) {
  const Vec2 origin{scene.ego().rear_axle().x(), scene.ego().rear_axle().y()};
  const EgoRow ego = LocalEgo(scene.ego());
  const LaneGraph graph(scene, origin);
  SWERVE_ASSIGN_OR_RETURN(Route route, FindRoute(graph, ego));
  return Reference(scene, graph, route, ego, scene.resolved_v1());
}

}  // namespace swerve::pdm
