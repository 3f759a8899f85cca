#include <algorithm>
#include <cmath>

#include "scenes/generator/draft.h"

namespace swerve::generator {
namespace {

// A lane of traffic between two arc lengths: the first drives at its own speed, each other one follows by IDM.
void AddColumn(Draft* draft, Random& rng, const Path& path, double left, double from, double to, double density, double speed) {
  std::vector<double> places;
  for (double at = from; at < to; at += rng.Uniform(17, 55)) {
    if (rng.Chance(density)) places.push_back(at);
  }
  Motion leader{};
  double leader_length = 0;
  for (size_t i = places.size(); i-- > 0;) {
    const Body body = RandomVehicle(rng);
    const double v = speed * rng.Uniform(0.7, 1.0), d = left + rng.Uniform(-0.2, 0.2);
    const bool first = i + 1 == places.size();
    const Motion motion = first ? Roll(places[i], {.v0 = v, .accel = {{0, rng.Uniform(-0.3, 0.3)}}, .ceiling = std::max(v, speed)})
                                : RollIdm(places[i], v, speed, leader, 0.5 * (body.length + leader_length));
    draft->AddBackground(Along(path, body, motion, {d, d}));
    leader = motion, leader_length = body.length;
  }
}

}  // namespace

Path RandomLine(Random& rng, double behind, double ahead, double bendiness) {
  // Grown both ways from the ego at the origin so that the ego's own place is never inside a sharp feature.
  Path back(Pose{0, 0, M_PI});
  back.Straight(behind * 0.5);
  if (rng.Chance(bendiness)) {
    const double radius = rng.Uniform(90, 250);
    back.Bend((rng.Chance(0.5) ? 1 : -1) * 0.375 * behind / radius, radius);
  } else {
    back.Straight(behind * 0.5);
  }
  Path line = back.Reversed();
  Path front(Pose{0, 0, 0});
  front.Straight(rng.Uniform(4, 30));
  while (front.length() < ahead) {
    if (rng.Chance(bendiness)) {
      const double radius = rng.Uniform(80, 300);
      front.Bend((rng.Chance(0.5) ? 1 : -1) * rng.Uniform(15, 50) / radius, radius);
    } else {
      front.Straight(rng.Uniform(15, 60));
    }
  }
  return line.Append(front);
}

StreetSpec RandomStreetSpec(Random& rng) {
  static constexpr double kLimits[] = {8.3, 11.1, 13.9, 16.7};
  StreetSpec spec;
  spec.lanes = rng.Chance(0.55) ? 1 : rng.Chance(0.7) ? 2 : 3;
  spec.opposite = rng.Chance(0.2) ? 0 : std::min(spec.lanes, rng.Chance(0.5) ? 1 : 2);
  spec.limit = kLimits[std::min<uint64_t>(rng.Below(3) + (spec.lanes > 1), 3)];
  spec.lane_width = rng.Uniform(3.3, 3.8);
  spec.shoulder = rng.Uniform(0.2, 0.8);
  return spec;
}

Street LayStreet(Draft* draft, Random& rng, const Path& base, const StreetSpec& spec, int ego_lane) {
  Street street{.spec = spec, .ego_lane = ego_lane, .base = base};
  street.own = draft->map.AddRoad(base, {.lanes = spec.lanes, .lane_width = spec.lane_width, .shoulder = spec.shoulder,
                                         .median = 0.05, .speed_limit = spec.limit});
  if (spec.opposite > 0) {
    const double rightmost = (spec.lanes + spec.opposite - 1) * spec.lane_width;
    street.opposite = draft->map.AddRoad(
        base.Reversed(), {.lanes = spec.opposite, .lane_width = spec.lane_width, .right_offset = -rightmost,
                          .shoulder = spec.shoulder, .median = 0.05, .speed_limit = spec.limit});
  }
  draft->route = {street.own.block};
  draft->line = street.own.centers[ego_lane];
  draft->s0 = draft->line.Project(0, ego_lane * spec.lane_width);
  draft->lateral = std::clamp(0.15 * rng.Normal(), -0.35, 0.35);
  draft->heading_error = std::clamp(0.012 * rng.Normal(), -0.03, 0.03);
  return street;
}

void Cruise(Draft* draft, Random& rng, double limit, double low, double high) {
  draft->speed = limit * rng.Uniform(low, high);
  draft->accel = std::clamp(0.3 * rng.Normal(), -0.7, 0.7);
}

void AddBackdrop(Draft* draft, Random& rng, const Street& street, const Backdrop& backdrop) {
  const Path& line = draft->line;
  for (int lane = 0; lane < street.spec.opposite; ++lane) {
    const Path path = line.Offset(street.OppositeOffset(lane)).Reversed();
    AddColumn(draft, rng, path, 0, rng.Uniform(0, 40), path.length() - 5, backdrop.opposite, street.spec.limit);
  }
  for (int lane = 0; lane < street.spec.lanes; ++lane) {
    if (lane == street.ego_lane) continue;
    const double offset = (lane - street.ego_lane) * street.spec.lane_width;
    AddColumn(draft, rng, line, offset, draft->s0 + rng.Uniform(-30, 10), line.length() - 30, backdrop.same,
              std::max(1.5, 1.1 * draft->speed));
  }
  // Beside the road: people on the pavement and parked cars off the carriageway.
  const double edge = -street.ego_lane * street.spec.lane_width - street.spec.lane_width / 2 - street.spec.shoulder;
  for (double at = draft->s0 - 15; at < draft->s0 + 70; at += rng.Uniform(8, 30)) {
    if (!rng.Chance(backdrop.beside)) continue;
    if (rng.Chance(0.5)) {
      const bool along = rng.Chance(0.5);
      const double d = edge - rng.Uniform(0.9, 3.0), v = rng.Chance(0.4) ? 0.0 : rng.Uniform(0.7, 1.7);
      const Path path = along ? line : line.Reversed();
      draft->AddBackground(Along(path, PedestrianBody(rng), Roll(along ? at : line.length() - at, {.v0 = v}),
                                 {along ? d : -d, along ? d : -d}));
    } else {
      const double d = edge - rng.Uniform(1.3, 2.0);
      draft->AddBackground(Standing(line.At(at, d), Car(rng)));
    }
  }
}

}  // namespace swerve::generator
