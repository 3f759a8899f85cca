#include <algorithm>
#include <cmath>
#include <numbers>

#include "absl/strings/match.h"
#include "absl/strings/str_format.h"
#include "scenes/traffic_log/importer.h"
#include "scenes/traffic_log/motion.h"

namespace swerve {
namespace {

constexpr int kPast = 15;     // 10 Hz samples before the present
constexpr int kSamples = 66;  // -1.5 … 5.0 s
constexpr double kMargin = 70;        // m of map around the ego's way
constexpr double kWheelBase = 3.089;  // m
constexpr double kCommandTurn = 15 * std::numbers::pi / 180;

bool Ngsim(const Recording& r) { return r.source == "commonroad_ngsim"; }

void FillEgo(const EgoMotion& m, int64_t time_us, v1::EgoState* out) {
  out->set_time_us(time_us);
  out->mutable_rear_axle()->set_x(m.x);
  out->mutable_rear_axle()->set_y(m.y);
  out->mutable_rear_axle()->set_heading(m.heading);
  out->set_vx(m.v);
  out->set_ax(m.a);
  if (std::abs(m.v) > 2.0) {
    out->set_steering_angle(std::clamp(std::atan(kWheelBase * m.yaw_rate / m.v), -0.6, 0.6));
    out->set_yaw_rate(m.yaw_rate);
  }
}

void FillTrack(const LogAgent& agent, const Recording& r, double t, int first, int last,
               google::protobuf::RepeatedPtrField<v1::Track>* tracks) {
  v1::Track track;
  for (int k = first; k <= last; ++k) {
    std::optional<ObjectState> s = RecordedState(agent, r.dt, t + 0.5 * k);
    if (!s) continue;
    auto* out = track.add_states();
    out->set_index(k);
    out->set_x(s->x);
    out->set_y(s->y);
    out->set_heading(s->heading);
    out->set_vx(s->vx);
    out->set_vy(s->vy);
  }
  if (track.states_size() == 0) return;
  track.set_token(agent.id);
  track.set_type(agent.type);
  track.set_length(agent.length);
  track.set_width(agent.width);
  track.set_height(agent.type == v1::PEDESTRIAN ? 1.75 : 1.6);
  *tracks->Add() = std::move(track);
}

void FillTraffic(const Recording& r, int ego, double t, const Vec2& at, v1::Scene* scene) {
  for (int i = 0; i < static_cast<int>(r.agents.size()); ++i) {
    // The recorded ego's own box, and whatever is too far to matter within the horizon.
    const LogState& first = r.agents[i].states.front();
    if (i == ego || std::hypot(first.x - at.x, first.y - at.y) > 400) continue;
    FillTrack(r.agents[i], r, t, 0, kFutureSteps - 1, scene->mutable_tracks());
    FillTrack(r.agents[i], r, t, -kPastSteps, 0, scene->mutable_past_tracks());
  }
  if (r.lights.empty()) return;
  for (int k = 0; k < kFutureSteps; ++k) {
    size_t step = static_cast<size_t>(std::max(0.0, std::round((t + 0.5 * k) / r.dt)));
    auto* frame = scene->add_traffic_lights();
    for (const LogLight& l : r.lights) {
      if (l.red.empty()) continue;
      auto* light = frame->add_lights();
      light->set_lane_connector(l.lane);
      light->set_red(l.red[std::min(step, l.red.size() - 1)]);
    }
  }
}

Road::Bounds BoundsOf(const std::vector<EgoMotion>& motion) {
  Road::Bounds b{1e300, 1e300, -1e300, -1e300};
  for (const EgoMotion& m : motion) {
    b.x0 = std::min(b.x0, m.x - kMargin);
    b.y0 = std::min(b.y0, m.y - kMargin);
    b.x1 = std::max(b.x1, m.x + kMargin);
    b.y1 = std::max(b.y1, m.y + kMargin);
  }
  return b;
}

std::string LicenseOf(const Recording& r) {
  if (absl::StartsWith(r.source, "nuscenes")) return "CC BY-NC-SA 4.0 (nuScenes)";
  if (absl::StartsWith(r.source, "womd")) return "Waymo Open Motion Dataset non-commercial licence";
  if (Ngsim(r)) return "NGSIM, US DOT public data; road map from CommonRoad, licence not stated";
  return "as the recording";
}

}  // namespace

std::string LocationOf(const Recording& r) {
  if (absl::StrContains(r.map, "US101")) return "us101";
  if (absl::StrContains(r.map, "Lanker")) return "lankershim";
  if (absl::StartsWith(r.source, "womd")) return "womd";
  return !r.map.empty() ? r.map : r.source;
}

absl::StatusOr<v1::Scene> CutWindow(const Recording& r, const Road& road, int ego, double t) {
  const LogAgent& agent = r.agents[ego];
  std::vector<EgoMotion> motion = EgoMotionOf(agent, r.dt, t - 0.1 * kPast, kSamples, Ngsim(r));
  if (motion.empty()) return absl::NotFoundError("ego not seen for the whole window");
  const EgoMotion& now = motion[kPast];
  v1::Scene s;
  s.set_id(absl::StrFormat("%s-%s-%04d", r.scene_id, agent.id, static_cast<int>(std::lround(t * 10))));
  s.set_location(LocationOf(r));
  s.set_family(absl::StartsWith(r.source, "nuscenes") ? "nuscenes" : LocationOf(r));
  s.set_recording(r.scene_id);
  s.set_source(r.source);
  s.set_license(LicenseOf(r));
  s.set_label(v1::POSITIVE);
  const int64_t time_us = std::llround(t * 1e6);
  FillEgo(now, time_us, s.mutable_ego());
  for (int k = kPastSteps; k >= 1; --k) FillEgo(motion[kPast - 5 * k], time_us - 500000 * k, s.add_ego_past());
  EgoFrame frame(s.ego().rear_axle());
  for (int k = 1; k <= 8; ++k) {
    const EgoMotion& m = motion[kPast + 5 * k];
    v1::Pose p;
    p.set_x(m.x);
    p.set_y(m.y);
    p.set_heading(m.heading);
    *s.add_gt() = frame.ToEgo(p);
  }
  *s.mutable_human() = s.gt();
  double turn = WrapAngle(motion.back().heading - now.heading);
  s.set_command(turn > kCommandTurn ? v1::TURN_LEFT : turn < -kCommandTurn ? v1::TURN_RIGHT : v1::MOVE_FORWARD);
  std::vector<Vec2> way;
  for (int i = kPast; i < kSamples; i += 5) way.push_back({motion[i].x, motion[i].y});
  for (const std::string& block : road.RouteOf(way, now.heading, 60.0)) s.add_route_roadblock_ids(block);
  if (s.route_roadblock_ids_size() == 0) return absl::NotFoundError(kNoLane);
  FillTraffic(r, ego, t, {now.x, now.y}, &s);
  road.FillMap(BoundsOf({motion.begin() + kPast, motion.end()}), s.mutable_map());
  return s;
}

}  // namespace swerve
