#include <cmath>

#include "absl/strings/str_format.h"
#include "scenes/generator/draft.h"

namespace swerve::generator {
namespace {

// Rotation and shift from the local frame to the map's.
struct Placement {
  double c, s, turn, x, y;
  void Apply(double px, double py, double* gx, double* gy) const { *gx = x + c * px - s * py, *gy = y + s * px + c * py; }
  double Heading(double h) const { return std::remainder(h + turn, 2 * M_PI); }
};

void Place(const Placement& at, v1::Ring* ring) {
  for (int i = 0; i + 1 < ring->xy_size(); i += 2) {
    double x, y;
    at.Apply(ring->xy(i), ring->xy(i + 1), &x, &y);
    ring->set_xy(i, x), ring->set_xy(i + 1, y);
  }
}

void PlaceMap(const Placement& at, v1::SceneMap* map) {
  for (v1::MapPolygon& polygon : *map->mutable_polygons()) {
    Place(at, polygon.mutable_exterior());
    for (v1::Ring& ring : *polygon.mutable_interiors()) Place(at, &ring);
  }
  for (v1::Lane& lane : *map->mutable_lanes()) {
    for (v1::Pose& p : *lane.mutable_baseline()) {
      double x, y;
      at.Apply(p.x(), p.y(), &x, &y);
      p.set_x(x), p.set_y(y), p.set_heading(at.Heading(p.heading()));
    }
  }
}

v1::EgoState EgoAt(const Draft& draft, const Placement& at, double t) {
  const double s = draft.s0 + draft.speed * t + 0.5 * draft.accel * t * t;
  const Pose local = draft.line.At(s, draft.lateral + std::sin(draft.heading_error) * draft.speed * t);
  v1::EgoState ego;
  double x, y;
  at.Apply(local.x, local.y, &x, &y);
  ego.mutable_rear_axle()->set_x(x);
  ego.mutable_rear_axle()->set_y(y);
  ego.mutable_rear_axle()->set_heading(at.Heading(local.heading + draft.heading_error));
  ego.set_vx(std::max(0.0, draft.speed + draft.accel * t));
  ego.set_ax(draft.accel);
  return ego;
}

Actor EgoBoxAtStart(const Draft& draft) {
  Pose p = draft.line.At(draft.s0, draft.lateral);
  p.heading += draft.heading_error;
  return Standing(Ahead(p, kRearToCentre), {v1::VEHICLE, 5.176, 2.297, 1.777});
}

// Foreground actors always stay; background ones only where they overlap nobody.
std::vector<const Actor*> Admit(const Draft& draft) {
  std::vector<const Actor*> kept;
  for (const Actor& a : draft.actors) {
    if (!a.background) kept.push_back(&a);
  }
  const Actor ego = EgoBoxAtStart(draft);
  for (const Actor& a : draft.actors) {
    if (!a.background) continue;
    bool clear = true;
    for (const Actor* b : kept) clear = clear && !Overlap(a, *b, 0.4);
    Actor now = a;  // against the ego only the present counts
    now.poses.fill(a.poses[kPast]);
    clear = clear && !Overlap(now, ego, 0.8);
    if (clear) kept.push_back(&a);
  }
  return kept;
}

void AddState(const Placement& at, const Actor& actor, int sample, int index, v1::Track* track) {
  v1::TrackState* state = track->add_states();
  double x, y;
  at.Apply(actor.poses[sample].x, actor.poses[sample].y, &x, &y);
  state->set_index(index);
  state->set_x(x), state->set_y(y);
  state->set_heading(at.Heading(actor.poses[sample].heading));
  const bool moves = actor.body.type == v1::VEHICLE || actor.body.type == v1::PEDESTRIAN || actor.body.type == v1::BICYCLE;
  const double course = at.Heading(actor.course[sample]);
  state->set_vx(moves ? actor.speed[sample] * std::cos(course) : 0);
  state->set_vy(moves ? actor.speed[sample] * std::sin(course) : 0);
}

}  // namespace

v1::Scene Finish(const Draft& draft, Random& rng) {
  const double turn = rng.Uniform(-M_PI, M_PI);
  const Placement at{std::cos(turn), std::sin(turn), turn, rng.Uniform(-4000, 4000), rng.Uniform(-4000, 4000)};
  v1::Scene scene;
  *scene.mutable_map() = draft.map.map();
  PlaceMap(at, scene.mutable_map());
  const int64_t now = 1'600'000'000'000'000 + static_cast<int64_t>(rng.Below(1'000'000'000)) * 50'000;
  *scene.mutable_ego() = EgoAt(draft, at, 0);
  scene.mutable_ego()->set_time_us(now);
  for (double t : {-1.5, -1.0, -0.5}) {
    *scene.add_ego_past() = EgoAt(draft, at, t);
    scene.mutable_ego_past()->rbegin()->set_time_us(now + static_cast<int64_t>(t * 1e6));
  }
  scene.set_command(draft.command);
  for (const std::string& block : draft.route) scene.add_route_roadblock_ids(block);
  int number = 0;
  for (const Actor* actor : Admit(draft)) {
    v1::Track* track = scene.add_tracks();
    track->set_token(absl::StrFormat("%s_%02d", actor->body.type == v1::VEHICLE      ? "vehicle"
                                                : actor->body.type == v1::PEDESTRIAN ? "pedestrian"
                                                : actor->body.type == v1::BICYCLE    ? "bicycle"
                                                                                     : "object",
                                     number++));
    track->set_type(actor->body.type);
    track->set_length(actor->body.length);
    track->set_width(actor->body.width);
    track->set_height(actor->body.height);
    *scene.add_past_tracks() = *track;
    for (int i = kPast; i < kSamples; ++i) AddState(at, *actor, i, i - kPast, track);
    for (int i = 0; i <= kPast; ++i) AddState(at, *actor, i, i - kPast, scene.mutable_past_tracks(scene.past_tracks_size() - 1));
  }
  for (int i = 0; i < 11; ++i) scene.add_traffic_lights();
  return scene;
}

}  // namespace swerve::generator
