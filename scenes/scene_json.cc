#include "scenes/scene_json.h"

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <stdexcept>

namespace swerve {
namespace {

using nlohmann::json;

// Thrown and caught in this file only.
struct Malformed : std::runtime_error {
  using std::runtime_error::runtime_error;
};

[[noreturn]] void Fail(const std::string& field, const std::string& what) { throw Malformed(field + ": " + what); }

const json& At(const json& object, const char* key) {
  if (!object.is_object()) Fail(key, "its parent is not an object");
  auto it = object.find(key);
  if (it == object.end()) Fail(key, "missing");
  return *it;
}

const json* Find(const json& object, const char* key) {
  auto it = object.find(key);
  return it == object.end() || it->is_null() ? nullptr : &*it;
}

double Number(const json& v, const char* field) {
  if (v.is_null()) return std::numeric_limits<double>::quiet_NaN();
  if (!v.is_number()) Fail(field, "expected a number, found " + v.dump());
  return v.get<double>();
}

int Index(const json& v, const char* field) {
  const double n = Number(v, field);
  using Limits = std::numeric_limits<int>;
  if (!(n >= Limits::min() && n <= Limits::max()) || n != std::floor(n)) Fail(field, "expected a frame's number, found " + v.dump());
  return static_cast<int>(n);
}

const json& List(const json& v, const char* field, size_t at_least = 0) {
  if (!v.is_array()) Fail(field, "expected a list");
  if (v.size() < at_least) Fail(field, "expected at least " + std::to_string(at_least) + " entries");
  return v;
}

// Ids are strings in most places and numbers in some.
std::string Text(const json& v, const char* field) {
  if (v.is_string()) return v.get<std::string>();
  if (v.is_number_integer()) return v.dump();
  Fail(field, "expected a string");
}

std::string OptionalText(const json& object, const char* key) {
  const json* v = Find(object, key);
  return v == nullptr ? "" : Text(*v, key);
}

double OptionalNumber(const json& object, const char* key) {
  const json* v = Find(object, key);
  return v == nullptr ? 0 : Number(*v, key);
}

int64_t Time(const json& object) {
  const json& v = At(object, "time_us");
  if (!v.is_number_integer()) Fail("time_us", "expected an integer");
  return v.get<int64_t>();
}

bool IsPose(const json& v) {
  if (!v.is_array() || v.size() != 3) return false;
  for (const json& n : v) {
    if (!n.is_number() && !n.is_null()) return false;
  }
  return true;
}

void ReadPose(const json& v, const char* field, v1::Pose* out) {
  if (!IsPose(v)) Fail(field, "expected [x, y, heading], found " + v.dump().substr(0, 80));
  out->set_x(Number(v[0], field));
  out->set_y(Number(v[1], field));
  out->set_heading(Number(v[2], field));
}

template <typename Poses>
void ReadPoses(const json& v, const char* field, Poses* out) {
  for (const json& p : List(v, field)) ReadPose(p, field, out->Add());
}

// False, and no poses, when one is malformed: a trajectory is the policy's, its shape is for the scorer to judge.
template <typename Poses>
void ReadTrajectory(const json& v, Poses* out) {
  out->Clear();
  if (!v.is_array()) return;
  for (const json& p : v) {
    if (!IsPose(p)) {
      out->Clear();
      return;
    }
    ReadPose(p, "poses", out->Add());
  }
}

template <typename Enum>
Enum ReadEnum(const json& v, const char* field, bool (*parse)(google::protobuf::ConstStringParam, Enum*)) {
  Enum out{};
  std::string name = Text(v, field);
  if (!parse(name, &out)) Fail(field, "unknown type '" + name + "'");
  return out;
}

void ReadEgo(const json& v, int64_t time_us, v1::EgoState* out) {
  out->set_time_us(time_us);
  ReadPose(At(v, "rear_axle"), "ego.rear_axle", out->mutable_rear_axle());
  const json& velocity = List(At(v, "velocity"), "ego.velocity", 2);
  const json& acceleration = List(At(v, "acceleration"), "ego.acceleration", 2);
  out->set_vx(Number(velocity[0], "ego.velocity"));
  out->set_vy(Number(velocity[1], "ego.velocity"));
  out->set_ax(Number(acceleration[0], "ego.acceleration"));
  out->set_ay(Number(acceleration[1], "ego.acceleration"));
  out->set_steering_angle(OptionalNumber(v, "steering_angle"));
  out->set_steering_rate(OptionalNumber(v, "steering_rate"));
  out->set_yaw_rate(OptionalNumber(v, "angular_velocity"));
  out->set_yaw_acceleration(OptionalNumber(v, "angular_acceleration"));
}

void ReadRing(const json& v, const char* field, v1::Ring* out) {
  for (const json& p : List(v, field)) {
    List(p, field, 2);
    out->add_xy(Number(p[0], field));
    out->add_xy(Number(p[1], field));
  }
}

// `token_key`: "id" in the raw map, "token" in the resolved one.
void ReadPolygon(const json& v, const char* token_key, v1::MapPolygon* out) {
  out->set_token(Text(At(v, token_key), token_key));
  out->set_type(ReadEnum<v1::MapType>(At(v, "type"), "type", v1::MapType_Parse));
  ReadRing(At(v, "exterior"), "exterior", out->mutable_exterior());
  if (const json* interiors = Find(v, "interiors")) {
    for (const json& ring : List(*interiors, "interiors")) ReadRing(ring, "interiors", out->add_interiors());
  }
}

void ReadTrackHead(const json& v, v1::Track* out) {
  out->set_token(Text(At(v, "token"), "track.token"));
  out->set_type(ReadEnum<v1::ObjectType>(At(v, "type"), "track.type", v1::ObjectType_Parse));
  out->set_length(Number(At(v, "length"), "track.length"));
  out->set_width(Number(At(v, "width"), "track.width"));
  out->set_height(OptionalNumber(v, "height"));
}

void ReadTrackState(const json& s, size_t first, v1::TrackState* out) {
  List(s, "track.states", first + 5);
  out->set_x(Number(s[first], "track.states"));
  out->set_y(Number(s[first + 1], "track.states"));
  out->set_heading(Number(s[first + 2], "track.states"));
  out->set_vx(Number(s[first + 3], "track.states"));
  out->set_vy(Number(s[first + 4], "track.states"));
}

void ReadTrack(const json& v, v1::Track* out) {
  ReadTrackHead(v, out);
  int index = -1;
  for (const json& s : List(At(v, "states"), "track.states")) {
    ++index;
    if (s.is_null()) continue;
    v1::TrackState* state = out->add_states();
    state->set_index(index);
    ReadTrackState(s, 0, state);
  }
}

template <typename Strings>
void ReadStrings(const json& v, const char* field, Strings* out) {
  for (const json& s : List(v, field)) *out->Add() = Text(s, field);
}

// [x, y] or [x, y, heading]; a missing heading is that of the segment that follows (the last: that precedes).
void ReadBaseline(const json& v, v1::Lane* lane) {
  for (const json& p : List(v, "lane.baseline")) {
    List(p, "lane.baseline", 2);
    v1::Pose* pose = lane->add_baseline();
    pose->set_x(Number(p[0], "lane.baseline"));
    pose->set_y(Number(p[1], "lane.baseline"));
    if (p.size() > 2) pose->set_heading(Number(p[2], "lane.baseline"));
  }
  if (v.empty() || v[0].size() > 2) return;
  for (int i = 0; i < lane->baseline_size(); ++i) {
    bool last = i + 1 == lane->baseline_size();
    if (last && i > 0) lane->mutable_baseline(i)->set_heading(lane->baseline(i - 1).heading());
    if (last) break;
    const v1::Pose &a = lane->baseline(i), &b = lane->baseline(i + 1);
    lane->mutable_baseline(i)->set_heading(std::atan2(b.y() - a.y(), b.x() - a.x()));
  }
}

void ReadMap(const json& v, v1::SceneMap* out) {
  for (const json& p : List(At(v, "polygons"), "map.polygons")) ReadPolygon(p, "id", out->add_polygons());
  for (const auto& [id, l] : At(v, "lanes").items()) {
    v1::Lane* lane = out->add_lanes();
    lane->set_id(id);
    lane->set_roadblock(OptionalText(l, "roadblock"));
    ReadBaseline(At(l, "baseline"), lane);
    ReadStrings(At(l, "incoming"), "lane.incoming", lane->mutable_incoming());
    ReadStrings(At(l, "outgoing"), "lane.outgoing", lane->mutable_outgoing());
    if (const json* limit = Find(l, "speed_limit")) lane->set_speed_limit(Number(*limit, "lane.speed_limit"));
  }
  for (const auto& [id, r] : At(v, "roadblocks").items()) {
    v1::Roadblock* block = out->add_roadblocks();
    block->set_id(id);
    ReadStrings(At(r, "incoming"), "roadblock.incoming", block->mutable_incoming());
    ReadStrings(At(r, "outgoing"), "roadblock.outgoing", block->mutable_outgoing());
  }
}

void ReadResolved(const json& v, v1::ResolvedScene* out) {
  for (const json& p : List(At(v, "drivable_map"), "drivable_map")) ReadPolygon(p, "token", out->add_drivable_map());
  ReadStrings(At(v, "route_lane_ids"), "route_lane_ids", out->mutable_route_lane_ids());
  ReadPoses(At(v, "centerline"), "centerline", out->mutable_centerline());
  ReadPoses(At(v, "pdm_reference"), "pdm_reference", out->mutable_pdm_reference());
  for (const json& t : List(At(v, "agents"), "agents")) ReadTrack(t, out->add_agents());
  if (const json* lights = Find(v, "red_lights")) {
    for (const json& l : List(*lights, "red_lights")) ReadStrings(l, "red_lights", out->add_red_lights()->mutable_tokens());
  }
  if (const json* polygons = Find(v, "red_light_polygons")) {
    for (const auto& [token, p] : polygons->items()) {
      v1::MapPolygon* polygon = out->add_red_light_polygons();
      polygon->set_token(token);
      polygon->set_type(v1::LANE_CONNECTOR);
      ReadRing(At(p, "exterior"), "red_light_polygons", polygon->mutable_exterior());
      if (const json* interiors = Find(p, "interiors")) {
        for (const json& ring : *interiors) ReadRing(ring, "red_light_polygons", polygon->add_interiors());
      }
    }
  }
  if (const json* human = Find(v, "human")) ReadPoses(*human, "human", out->mutable_human());
}

// Keys of ours beyond the schema.
void ReadExtras(const json& v, v1::Scene* out) {
  out->set_location(OptionalText(v, "location"));
  out->set_source(OptionalText(v, "source"));
  out->set_license(OptionalText(v, "license"));
  if (const json* gt = Find(v, "gt")) ReadPoses(*gt, "gt", out->mutable_gt());
  if (const json* c = Find(v, "command")) {
    out->set_command(ReadEnum<v1::NavigationCommand>(*c, "command", v1::NavigationCommand_Parse));
  }
  if (const json* l = Find(v, "label")) {
    out->set_label(ReadEnum<v1::SampleLabel>(*l, "label", v1::SampleLabel_Parse));
  }
  if (const json* images = Find(v, "images")) {
    for (const json& i : List(*images, "images")) {
      v1::ImageRef* image = out->add_images();
      image->set_path(OptionalText(i, "path"));
      image->set_sha256(OptionalText(i, "sha256"));
      image->set_camera(OptionalText(i, "camera"));
    }
  }
  if (const json* tracks = Find(v, "past_tracks")) {
    for (const json& t : List(*tracks, "past_tracks")) {
      v1::Track* track = out->add_past_tracks();
      ReadTrackHead(t, track);
      for (const json& s : List(At(t, "states"), "past_tracks.states")) {
        List(s, "past_tracks.states", 6);
        v1::TrackState* state = track->add_states();
        state->set_index(Index(s[0], "past_tracks.states"));
        ReadTrackState(s, 1, state);
      }
    }
  }
}

void ReadScene(const json& v, v1::Scene* out) {
  out->set_id(Text(At(v, "name"), "name"));
  out->set_family(OptionalText(v, "family"));
  out->set_token(OptionalText(v, "token"));
  out->set_recording(OptionalText(v, "log_name"));
  out->set_synthetic_stage(OptionalText(v, "scene_type") == "synthetic");
  ReadEgo(At(v, "ego"), Time(v), out->mutable_ego());
  if (const json* past = Find(v, "ego_past")) {
    for (const json& e : List(*past, "ego_past")) ReadEgo(e, Time(e), out->add_ego_past());
  }
  if (const json* prev = Find(v, "prev")) ReadEgo(At(*prev, "ego"), Time(*prev), out->mutable_prev()->mutable_ego());
  if (const json* human = Find(v, "human")) ReadPoses(*human, "human", out->mutable_human());
  if (const json* tracks = Find(v, "tracks")) {
    for (const json& t : List(*tracks, "tracks")) ReadTrack(t, out->add_tracks());
  }
  if (const json* frames = Find(v, "traffic_lights")) {
    for (const json& frame : List(*frames, "traffic_lights")) {
      v1::TrafficLightFrame* f = out->add_traffic_lights();
      for (const json& l : List(frame, "traffic_lights")) {
        List(l, "traffic_lights", 2);
        if (!l[1].is_boolean()) Fail("traffic_lights", "expected [connector, is_red]");
        v1::TrafficLight* light = f->add_lights();
        light->set_lane_connector(Text(l[0], "traffic_lights"));
        light->set_red(l[1].get<bool>());
      }
    }
  }
  if (const json* map = Find(v, "map")) ReadMap(*map, out->mutable_map());
  if (const json* route = Find(v, "route_roadblock_ids")) {
    ReadStrings(*route, "route_roadblock_ids", out->mutable_route_roadblock_ids());
  }
  if (const json* resolved = Find(v, "resolved")) {
    if (const json* r = Find(*resolved, "v1")) ReadResolved(*r, out->mutable_resolved_v1());
    if (const json* r = Find(*resolved, "v2")) ReadResolved(*r, out->mutable_resolved_v2());
  }
  if (const json* candidates = Find(v, "candidates")) {
    for (const json& c : List(*candidates, "candidates")) {
      v1::Candidate* candidate = out->add_candidates();
      candidate->set_name(Text(At(c, "name"), "candidate.name"));
      if (const json* poses = Find(c, "poses")) ReadTrajectory(*poses, candidate->mutable_poses());
      if (const json* poses = Find(c, "prev_poses")) ReadTrajectory(*poses, candidate->mutable_prev_poses());
    }
  }
  ReadExtras(v, out);
}

}  // namespace

absl::StatusOr<v1::Scene> SceneFromJson(const json& v) {
  v1::Scene scene;
  try {
    ReadScene(v, &scene);
  } catch (const std::exception& e) {
    return absl::InvalidArgumentError(
        absl::StrCat("scene '", scene.id().empty() ? std::string("?") : scene.id(), "': ", e.what()));
  }
  return scene;
}

absl::StatusOr<SceneFile> ParseSceneFile(const std::string& text) {
  SceneFile out;
  json file = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (file.is_discarded()) return absl::InvalidArgumentError("not JSON (NaN must be written as null)");
  if (!file.is_object() || !file.contains("scenes") || !file["scenes"].is_array()) {
    return absl::InvalidArgumentError("expected {\"schema\": 1, \"scenes\": […]}");
  }
  if (file.contains("schema") && file["schema"] != 1) {
    return absl::InvalidArgumentError("schema " + file["schema"].dump() + " is unknown; this reads schema 1");
  }
  if (file.contains("seed")) out.seed_json = file["seed"].dump();
  if (const json* mapping = Find(file, "mapping")) out.mapping_json = mapping->dump();
  int index = -1;
  for (const json& s : file["scenes"]) {
    ++index;
    auto scene = SceneFromJson(s);
    if (scene.ok()) {
      out.scenes.push_back(*std::move(scene));
      continue;
    }
    bool named = s.is_object() && s.contains("name") && s["name"].is_string();
    out.broken.push_back({index, named ? s["name"].get<std::string>() : "", scene.status()});
  }
  return out;
}

}  // namespace swerve
