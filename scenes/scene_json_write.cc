#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "scenes/scene_json.h"

namespace swerve {
namespace {

using nlohmann::json;

json PoseJson(const v1::Pose& p) { return {p.x(), p.y(), p.heading()}; }

template <typename Poses>
json PosesJson(const Poses& poses) {
  json out = json::array();
  for (const v1::Pose& p : poses) out.push_back(PoseJson(p));
  return out;
}

template <typename Poses>
json PointsJson(const Poses& poses) {
  json out = json::array();
  for (const v1::Pose& p : poses) out.push_back({p.x(), p.y()});
  return out;
}

json RingJson(const v1::Ring& ring) {
  json out = json::array();
  for (int i = 0; i + 1 < ring.xy_size(); i += 2) out.push_back({ring.xy(i), ring.xy(i + 1)});
  return out;
}

template <typename Strings>
json StringsJson(const Strings& strings) {
  json out = json::array();
  for (const std::string& s : strings) out.push_back(s);
  return out;
}

json EgoJson(const v1::EgoState& e) {
  return {{"rear_axle", PoseJson(e.rear_axle())},
          {"velocity", {e.vx(), e.vy()}},
          {"acceleration", {e.ax(), e.ay()}},
          {"steering_angle", e.steering_angle()},
          {"steering_rate", e.steering_rate()},
          {"angular_velocity", e.yaw_rate()},
          {"angular_acceleration", e.yaw_acceleration()}};
}

json PolygonJson(const v1::MapPolygon& p, const char* token_key, bool interiors) {
  json out = {{token_key, p.token()}, {"type", v1::MapType_Name(p.type())}, {"exterior", RingJson(p.exterior())}};
  if (interiors || p.interiors_size() > 0) {
    out["interiors"] = json::array();
    for (const v1::Ring& ring : p.interiors()) out["interiors"].push_back(RingJson(ring));
  }
  return out;
}

json TrackHeadJson(const v1::Track& t) {
  return {{"token", t.token()},   {"type", v1::ObjectType_Name(t.type())},
          {"length", t.length()}, {"width", t.width()},
          {"height", t.height()}};
}

json TrackJson(const v1::Track& t, int samples) {
  json out = TrackHeadJson(t);
  json states = json::array();
  for (int i = 0; i < samples; ++i) states.push_back(nullptr);
  for (const v1::TrackState& s : t.states()) {
    if (s.index() >= 0 && s.index() < samples) states[s.index()] = {s.x(), s.y(), s.heading(), s.vx(), s.vy()};
  }
  out["states"] = std::move(states);
  return out;
}

json MapJson(const v1::SceneMap& map) {
  json out = {{"polygons", json::array()}, {"lanes", json::object()}, {"roadblocks", json::object()}};
  for (const v1::MapPolygon& p : map.polygons()) out["polygons"].push_back(PolygonJson(p, "id", false));
  for (const v1::Lane& l : map.lanes()) {
    out["lanes"][l.id()] = {{"roadblock", l.roadblock()},
                            {"baseline", PointsJson(l.baseline())},
                            {"incoming", StringsJson(l.incoming())},
                            {"outgoing", StringsJson(l.outgoing())},
                            {"speed_limit", l.has_speed_limit() ? json(l.speed_limit()) : json(nullptr)}};
  }
  for (const v1::Roadblock& r : map.roadblocks()) {
    out["roadblocks"][r.id()] = {{"incoming", StringsJson(r.incoming())}, {"outgoing", StringsJson(r.outgoing())}};
  }
  return out;
}

json ResolvedJson(const v1::ResolvedScene& r, bool v2) {
  json out = {{"drivable_map", json::array()},
              {"route_lane_ids", StringsJson(r.route_lane_ids())},
              {"centerline", PosesJson(r.centerline())},
              {"pdm_reference", PosesJson(r.pdm_reference())},
              {"agents", json::array()}};
  for (const v1::MapPolygon& p : r.drivable_map()) out["drivable_map"].push_back(PolygonJson(p, "token", true));
  for (const v1::Track& t : r.agents()) out["agents"].push_back(TrackJson(t, v2 ? 41 : 51));
  if (!v2) return out;
  out["red_lights"] = json::array();
  for (const v1::TokenList& l : r.red_lights()) out["red_lights"].push_back(StringsJson(l.tokens()));
  out["red_light_polygons"] = json::object();
  for (const v1::MapPolygon& p : r.red_light_polygons()) {
    json polygon = PolygonJson(p, "token", true);
    polygon.erase("token");
    polygon.erase("type");
    out["red_light_polygons"][p.token()] = std::move(polygon);
  }
  out["human"] = r.human_size() > 0 ? PosesJson(r.human()) : json(nullptr);
  return out;
}

// Connector ids are numbers in the schema where they are numerals.
json ConnectorJson(const std::string& id) {
  bool numeral = !id.empty() && id.size() < 18 && id.find_first_not_of("0123456789") == std::string::npos &&
                 (id[0] != '0' || id.size() == 1);
  return numeral ? json(std::stoll(id)) : json(id);
}

void WriteExtras(const v1::Scene& s, json* out) {
  auto text = [&](const char* key, const std::string& value) {
    if (!value.empty()) (*out)[key] = value;
  };
  text("location", s.location());
  text("source", s.source());
  text("license", s.license());
  if (s.gt_size() > 0) (*out)["gt"] = PosesJson(s.gt());
  if (s.command() != 0) (*out)["command"] = v1::NavigationCommand_Name(s.command());
  if (s.label() != 0) (*out)["label"] = v1::SampleLabel_Name(s.label());
  for (const v1::ImageRef& i : s.images()) {
    (*out)["images"].push_back({{"path", i.path()}, {"sha256", i.sha256()}, {"camera", i.camera()}});
  }
  for (const v1::Track& t : s.past_tracks()) {
    json track = TrackHeadJson(t);
    track["states"] = json::array();
    for (const v1::TrackState& x : t.states()) {
      track["states"].push_back({x.index(), x.x(), x.y(), x.heading(), x.vx(), x.vy()});
    }
    (*out)["past_tracks"].push_back(std::move(track));
  }
}

}  // namespace

json SceneToJson(const v1::Scene& s) {
  json out = {{"schema", 1},
              {"name", s.id()},
              {"family", s.family()},
              {"token", s.token()},
              {"log_name", s.recording()},
              {"time_us", s.ego().time_us()},
              {"scene_type", s.synthetic_stage() ? "synthetic" : "original"},
              {"ego", EgoJson(s.ego())},
              {"ego_past", json::array()},
              {"candidates", json::array()},
              {"human", PosesJson(s.human())},
              {"tracks", json::array()},
              {"traffic_lights", json::array()},
              {"map", MapJson(s.map())},
              {"route_roadblock_ids", StringsJson(s.route_roadblock_ids())},
              {"resolved", json::object()}};
  for (const v1::EgoState& e : s.ego_past()) {
    json past = EgoJson(e);
    past["time_us"] = e.time_us();
    out["ego_past"].push_back(std::move(past));
  }
  for (const v1::Candidate& c : s.candidates()) {
    out["candidates"].push_back({{"name", c.name()}, {"poses", PosesJson(c.poses())}});
    if (c.prev_poses_size() > 0) out["candidates"].back()["prev_poses"] = PosesJson(c.prev_poses());
  }
  if (s.has_prev()) out["prev"] = {{"ego", EgoJson(s.prev().ego())}, {"time_us", s.prev().ego().time_us()}};
  for (const v1::Track& t : s.tracks()) out["tracks"].push_back(TrackJson(t, 11));
  for (const v1::TrafficLightFrame& f : s.traffic_lights()) {
    json frame = json::array();
    for (const v1::TrafficLight& l : f.lights()) frame.push_back({ConnectorJson(l.lane_connector()), l.red()});
    out["traffic_lights"].push_back(std::move(frame));
  }
  if (s.has_resolved_v1()) out["resolved"]["v1"] = ResolvedJson(s.resolved_v1(), false);
  if (s.has_resolved_v2()) out["resolved"]["v2"] = ResolvedJson(s.resolved_v2(), true);
  WriteExtras(s, &out);
  return out;
}

std::string WriteSceneFile(const std::vector<v1::Scene>& scenes) {
  json out = {{"schema", 1}, {"seed", nullptr}, {"scenes", json::array()}};
  for (const v1::Scene& s : scenes) out["scenes"].push_back(SceneToJson(s));
  return out.dump(-1, ' ', false, json::error_handler_t::replace);
}

}  // namespace swerve
