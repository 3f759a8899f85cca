#include "scenes/traffic_log/recording.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "base/files.h"

namespace swerve {
namespace {

using nlohmann::json;

absl::Status Bad(absl::string_view where, absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat(where, ": ", what));
}

std::string Text(const json& j, const char* key) {
  auto it = j.find(key);
  if (it == j.end()) return "";
  if (it->is_string()) return it->get<std::string>();
  return it->is_number_integer() ? std::to_string(it->get<long long>()) : "";
}

bool Number(const json& j, double* out) {
  if (!j.is_number()) return false;
  *out = j.get<double>();
  return std::isfinite(*out);
}

double NumberOr(const json& j, const char* key, double otherwise) {
  auto it = j.find(key);
  double v;
  return it != j.end() && Number(*it, &v) ? v : otherwise;
}

absl::Status Points(const json& list, absl::string_view where, std::vector<Vec2>* out) {
  if (!list.is_array()) return Bad(where, "is no list of points");
  for (const json& p : list) {
    Vec2 v;
    if (!p.is_array() || p.size() < 2 || !Number(p[0], &v.x) || !Number(p[1], &v.y))
      return Bad(where, "holds something that is no point [x, y]");
    out->push_back(v);
  }
  return absl::OkStatus();
}

void Names(const json& j, const char* key, std::vector<std::string>* out) {
  auto it = j.find(key);
  if (it == j.end() || !it->is_array()) return;
  for (const json& n : *it)
    if (n.is_string()) out->push_back(n.get<std::string>());
}

v1::ObjectType TypeOf(const std::string& name) {
  if (name == "VEHICLE") return v1::VEHICLE;
  if (name == "PEDESTRIAN") return v1::PEDESTRIAN;
  if (name == "CYCLIST") return v1::BICYCLE;
  if (name == "TRAFFIC_CONE") return v1::TRAFFIC_CONE;
  if (name == "TRAFFIC_BARRIER") return v1::BARRIER;
  return v1::GENERIC_OBJECT;
}

absl::StatusOr<LogAgent> ReadAgent(const json& j, int steps, absl::string_view where) {
  LogAgent a;
  a.id = Text(j, "id");
  a.type = TypeOf(Text(j, "type"));
  auto ego = j.find("ego");
  a.ego = ego != j.end() && ego->is_boolean() && ego->get<bool>();
  a.length = NumberOr(j, "length", 0);
  a.width = NumberOr(j, "width", 0);
  if (a.id.empty()) return Bad(where, "has no id");
  if (a.length < 0 || a.width < 0) return Bad(where, "length and width must not be negative");
  if (a.length == 0 || a.width == 0) {  // not measured: the usual size of its kind, for a missing box hides a danger
    const bool car = a.type == v1::VEHICLE, bicycle = a.type == v1::BICYCLE;
    a.length = car ? 4.5 : bicycle ? 1.8 : 0.7;
    a.width = car ? 1.9 : 0.7;
  }
  auto states = j.find("states");
  if (states == j.end() || !states->is_array()) return Bad(where, "has no states");
  for (const json& s : *states) {
    LogState v;
    if (!s.is_array() || s.size() != 6 || !s[0].is_number_integer() || !Number(s[1], &v.x) || !Number(s[2], &v.y) ||
        !Number(s[3], &v.yaw) || !Number(s[4], &v.vx) || !Number(s[5], &v.vy))
      return Bad(where, "a state is not [step, x, y, yaw, vx, vy]");
    v.step = s[0].get<int>();
    if (v.step < 0 || v.step >= steps || (!a.states.empty() && v.step <= a.states.back().step))
      return Bad(where, absl::StrCat("step ", v.step, " is out of range or order"));
    a.states.push_back(v);
  }
  return a;
}

absl::StatusOr<LogLane> ReadLane(const json& j, absl::string_view where) {
  LogLane l;
  l.id = Text(j, "id");
  if (l.id.empty()) return Bad(where, "has no id");
  l.bicycle = Text(j, "type") == "LANE_BIKE_LANE";
  if (!j.contains("centerline")) return Bad(where, "has no centerline");
  SWERVE_RETURN_IF_ERROR(Points(j["centerline"], absl::StrCat(where, ".centerline"), &l.centerline));
  if (j.contains("polygon")) SWERVE_RETURN_IF_ERROR(Points(j["polygon"], absl::StrCat(where, ".polygon"), &l.polygon));
  if (double limit = NumberOr(j, "speed_limit_mps", 0); limit > 0) l.speed_limit = limit;
  Names(j, "predecessors", &l.predecessors);
  Names(j, "successors", &l.successors);
  if (auto it = j.find("adjacent"); it != j.end() && it->is_array())
    for (const json& a : *it)
      if (a.is_object() && a.contains("same_direction") && a["same_direction"] == true) l.beside.push_back(Text(a, "id"));
  if (auto it = j.find("half_width_lr"); it != j.end() && it->is_array()) {
    double sum = 0;
    int n = 0;
    for (const json& pair : *it)
      for (const json& side : pair)
        if (double w; Number(side, &w) && w > 0) {
          sum += w;
          ++n;
        }
    if (n > 0) l.half_width = sum / n;
  }
  return l;
}

LogLight ReadLight(const json& j) {
  LogLight light{Text(j, "lane")};
  if (auto it = j.find("states"); it != j.end() && it->is_array())
    for (const json& s : *it) light.red.push_back(s.is_string() && s.get<std::string>().find("STOP") != std::string::npos);
  return light;
}

}  // namespace

absl::StatusOr<Recording> ReadRecording(const std::string& path) {
  SWERVE_ASSIGN_OR_RETURN(std::string text, ReadFile(path));
  json j = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (j.is_discarded()) return Bad(path, "is not valid JSON");
  if (!j.is_object() || Text(j, "schema") != "neutral-1") return Bad(path, "schema is not \"neutral-1\"");
  Recording r;
  r.source = Text(j, "source");
  r.scene_id = Text(j, "scene_id");
  r.map = Text(j, "map");
  r.dt = NumberOr(j, "dt", 0);
  r.steps = static_cast<int>(NumberOr(j, "steps", 0));
  if (r.scene_id.empty()) return Bad(path, "scene_id is missing");
  if (r.dt < 0.01 || r.dt > 0.5) return Bad(path, "dt must lie between 0.01 and 0.5 s");
  if (r.steps < 1 || r.steps > 1000000) return Bad(path, "steps must lie between 1 and 1000000");
  if (!j.contains("agents") || !j["agents"].is_array()) return Bad(path, "agents is missing");
  int i = 0;
  for (const json& a : j["agents"]) {
    SWERVE_ASSIGN_OR_RETURN(LogAgent agent, ReadAgent(a, r.steps, absl::StrCat(path, ": agents[", i++, "]")));
    if (!agent.states.empty()) r.agents.push_back(std::move(agent));
  }
  if (!j.contains("map_features") || !j["map_features"].is_object() || !j["map_features"].contains("lanes") ||
      !j["map_features"]["lanes"].is_array())
    return Bad(path, "map_features.lanes is missing");
  i = 0;
  for (const json& l : j["map_features"]["lanes"]) {
    SWERVE_ASSIGN_OR_RETURN(LogLane lane, ReadLane(l, absl::StrCat(path, ": map_features.lanes[", i++, "]")));
    if (lane.centerline.size() >= 2) r.lanes.push_back(std::move(lane));
  }
  if (auto it = j.find("traffic_lights"); it != j.end() && it->is_array())
    for (const json& l : *it)
      if (l.is_object()) r.lights.push_back(ReadLight(l));
  return r;
}

}  // namespace swerve
