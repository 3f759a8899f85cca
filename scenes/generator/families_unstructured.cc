// Unstructured corner cases: unclear boundaries, temporary rules, unconventional obstacles, challenging conditions.
#include <algorithm>
#include <cmath>

#include "scenes/generator/family.h"

namespace swerve::generator {
namespace {

double Smooth(double u) {
  u = std::clamp(u, 0.0, 1.0);
  return u * u * (3 - 2 * u);
}

// 0 before `from`, 1 between from + ramp and to - ramp, 0 after `to`.
double Hump(double s, double from, double to, double ramp) {
  return Smooth((s - from) / ramp) * Smooth((to - s) / ramp);
}

}  // namespace

void ParkedObstacle(Random& rng, Draft* draft) {
  draft->go_around = true;
  StreetSpec spec = RandomStreetSpec(rng);
  spec.limit = std::min(spec.limit, 11.1);
  spec.lanes = std::min(spec.lanes, 2);
  if (spec.lanes == 1) spec.opposite = 1;
  const Street street = LayStreet(draft, rng, RandomLine(rng, 45, 125, 0.15), spec, 0);
  Cruise(draft, rng, spec.limit, 0.6, 1.0);
  const Body body = rng.Chance(0.3) ? Truck(rng) : Car(rng);
  const double d = -rng.Uniform(0.5, 1.5);
  const double s = draft->Reach(rng.Uniform(2.0, 3.0)) + 3 + body.length / 2;
  Pose pose = draft->line.At(s, d);
  pose.heading += rng.Uniform(-0.12, 0.12);
  draft->Add(Standing(pose, body));
  double at = s + body.length / 2;
  while (rng.Chance(0.35)) {  // more of them behind it
    const Body next = Car(rng);
    at += rng.Uniform(1.2, 4) + next.length / 2;
    draft->AddBackground(Standing(draft->line.At(at, d + rng.Uniform(-0.5, 0.2)), next));
    at += next.length / 2;
  }
  if (rng.Chance(0.3)) {  // the driver, at its side away from the road
    draft->AddBackground(Standing(draft->line.At(s + rng.Uniform(-2, 3), d - 1.8), PedestrianBody(rng)));
  }
  AddBackdrop(draft, rng, street, {.opposite = 0, .same = 0, .beside = 0.5});
}

void UnclearBoundary(Random& rng, Draft* draft) {
  draft->go_around = true;
  const double side = rng.Chance(0.65) ? -1 : 1;  // where the edge cuts in
  const double limit = rng.Uniform(6, 11);
  const Path base = RandomLine(rng, 45, 110, 0.2);
  const Road road = draft->map.AddRoad(base, {.lanes = 1, .lane_width = 3.0, .speed_limit = limit, .polygon = false, .marked = false});
  draft->route = {road.block};
  draft->line = road.centers[0];
  draft->s0 = draft->line.Project(0, 0);
  Cruise(draft, rng, limit, 0.7, 1.0);
  draft->lateral = std::clamp(0.12 * rng.Normal(), -0.3, 0.3);
  // The nominal lane is cut so far that the ego's side would hang over; the other side gives way by as much.
  const double near = rng.Uniform(2.0, 2.8), far = rng.Uniform(2.2, 3.6), cut = rng.Uniform(1.0, 2.0);
  const double from = draft->Reach(rng.Uniform(0.9, 1.7)) + 2, ramp = rng.Uniform(7, 14);
  const double to = from + 2 * ramp + rng.Uniform(4, 40);
  const double edge = kEgoHalfWidth + 0.15;
  const double phase = rng.Uniform(0, 6.3), phase2 = rng.Uniform(0, 6.3);
  std::vector<std::pair<double, double>> cut_edge, far_edge;
  for (double s = 0; s <= base.length(); s += 2.5) {
    const double ragged = 0.12 * std::sin(0.9 * s + phase) + 0.08 * std::sin(2.3 * s + phase2);
    const double hump = Hump(s, from, to, ramp);
    const double d_near = near + (edge - cut - near) * hump + ragged;
    const double d_far = far + (cut + 1.1 + edge - std::min(far, cut + 1.1 + edge)) * hump + 0.7 * ragged;
    const Pose p = base.At(s, side * d_near), q = base.At(s, -side * d_far);
    cut_edge.emplace_back(p.x, p.y);
    far_edge.emplace_back(q.x, q.y);
  }
  std::vector<std::pair<double, double>> ring = cut_edge;
  ring.insert(ring.end(), far_edge.rbegin(), far_edge.rend());
  if (side > 0) std::reverse(ring.begin(), ring.end());
  v1::MapPolygon* polygon = draft->map.mutable_map()->add_polygons();
  polygon->set_token(road.block);
  polygon->set_type(v1::ROADBLOCK);
  for (const auto& [x, y] : ring) {
    polygon->mutable_exterior()->add_xy(x);
    polygon->mutable_exterior()->add_xy(y);
  }
  for (double s = draft->s0; s < draft->s0 + 60; s += rng.Uniform(10, 30)) {
    if (rng.Chance(0.4)) draft->AddBackground(Standing(draft->line.At(s, side * rng.Uniform(4.5, 7)), rng.Chance(0.5) ? PedestrianBody(rng) : Debris(rng)));
  }
}

void TemporaryRuleChange(Random& rng, Draft* draft) {
  draft->go_around = true;
  StreetSpec spec = RandomStreetSpec(rng);
  spec.lanes = std::min(spec.lanes, 2);
  if (spec.lanes == 1) spec.opposite = 1;
  spec.limit = std::min(spec.limit, 11.1);
  const Street street = LayStreet(draft, rng, RandomLine(rng, 45, 125, 0.1), spec, 0);
  Cruise(draft, rng, spec.limit, 0.6, 0.9);
  const double w = spec.lane_width;
  const double start = draft->Reach(rng.Uniform(1.1, 1.6)) + 3, taper = draft->speed * rng.Uniform(0.8, 1.3);
  const double end = start + taper + rng.Uniform(18, 40);
  const double right = -w / 2 - 0.1, left = w / 2 - rng.Uniform(0.2, 0.7);
  const int cones = static_cast<int>(std::ceil(taper / rng.Uniform(2.0, 3.0)));
  for (int i = 0; i <= cones; ++i) {
    const double u = static_cast<double>(i) / cones;
    draft->Add(Standing(draft->line.At(start + u * taper, right + u * (left - right)), Cone()));
  }
  const double spacing = rng.Uniform(3.5, 6);
  for (double s = start + taper + spacing; s < end; s += spacing) draft->Add(Standing(draft->line.At(s, left), Cone()));
  const Pose sign = draft->line.At(start + taper * 0.8, right + 0.5);
  draft->Add(Standing(sign, {v1::CZONE_SIGN, 0.4, 0.9, 1.5}));
  draft->Add(Standing(draft->line.At(start + taper + 1.0, right + 1.4), BarrierBody(rng)));
  // Behind the barrier: the work itself.
  draft->Add(Standing(draft->line.At(start + taper + rng.Uniform(4.5, 6.5), -rng.Uniform(0.3, 0.7)), rng.Chance(0.5) ? Truck(rng) : Car(rng)));
  const int workers = static_cast<int>(rng.Below(3));
  for (int i = 0; i < workers; ++i) {
    draft->AddBackground(Standing(draft->line.At(start + taper + rng.Uniform(12, 22), rng.Uniform(right, 0)), PedestrianBody(rng)));
  }
  AddBackdrop(draft, rng, street, {.opposite = 0, .same = 0, .beside = 0.4});
}

void UnconventionalObstacle(Random& rng, Draft* draft) {
  StreetSpec spec = RandomStreetSpec(rng);
  spec.limit = std::min(spec.limit, 13.9);
  spec.lanes = std::min(spec.lanes, 2);
  if (spec.lanes == 1) spec.opposite = 1;
  const Street street = LayStreet(draft, rng, RandomLine(rng, 45, 125, 0.15), spec, 0);
  Cruise(draft, rng, spec.limit, 0.6, 0.9);
  const double meet = 1.0 + draft->speed / rng.Uniform(5.5, 8.0);
  const Pose at = draft->line.At(draft->Reach(meet) + rng.Uniform(1, 3));
  const int kind = static_cast<int>(rng.Below(4));
  draft->go_around = kind == 1 || kind == 2;
  if (kind == 0) {  // a herd or a dog, crossing unsteadily
    const double from = rng.Chance(0.5) ? 1 : -1;
    const int animals = 1 + static_cast<int>(rng.Below(3));
    const double v = rng.Uniform(0.8, 2.0);
    for (int i = 0; i < animals; ++i) {
      Path path(Ahead({at.x, at.y, at.heading - from * (M_PI / 2 + rng.Uniform(-0.25, 0.25))}, -40));
      path.Straight(80);
      const Body body{v1::PEDESTRIAN, rng.Uniform(0.9, 2.2), rng.Uniform(0.4, 0.8), 1.2};
      draft->Add(Along(path, body, Roll(40 - v * meet - 1.6 * i + rng.Uniform(-0.4, 0.4), {.v0 = v}), {rng.Uniform(-1, 1), rng.Uniform(-1, 1), 0, 4}));
    }
  } else if (kind == 1) {  // a wheelchair or a pushed cart in the lane, same or opposite direction
    const bool same = rng.Chance(0.5);
    const double v = rng.Uniform(0.6, 1.6), d = rng.Uniform(-1.0, 0.1);
    const Body body{v1::PEDESTRIAN, rng.Uniform(1.0, 1.6), rng.Uniform(0.7, 0.9), 1.3};
    const double s = draft->Reach(meet) + 1.5;
    const Path path = same ? draft->line : draft->line.Reversed();
    const double p = same ? s - v * meet : path.length() - s - v * meet;
    draft->Add(Along(path, body, Roll(p, {.v0 = v}), {same ? d : -d, same ? d : -d}));
  } else if (kind == 2) {  // debris: a load lost on the road, and the vehicle that lost it at the side
    const double s = draft->Reach(meet) + 2;
    const int pieces = 1 + static_cast<int>(rng.Below(3));
    const double d = rng.Uniform(-1.0, 0.2);
    for (int i = 0; i < pieces; ++i) {
      Pose p = draft->line.At(s + 2.5 * i + rng.Uniform(-0.5, 0.5), d + rng.Uniform(-0.5, 0.3));
      p.heading += rng.Uniform(-1.5, 1.5);
      draft->Add(Standing(p, Debris(rng)));
    }
    draft->Add(Standing(draft->line.At(s + rng.Uniform(9, 14), -spec.lane_width / 2 + rng.Uniform(-0.6, 0.6)), Truck(rng)));
  } else {  // a scooter against the traffic
    const double v = rng.Uniform(2, 5), d = rng.Uniform(-0.9, 0.1);
    const Path path = draft->line.Reversed();
    const double s = draft->Reach(meet) + 1.5;
    draft->Add(Along(path, CyclistBody(rng), Roll(path.length() - s - v * meet, {.v0 = v}), {-d, -d}));
  }
  AddBackdrop(draft, rng, street, {.opposite = 0.1, .same = 0.1, .beside = 0.5});
}

void ChallengingConditions(Random& rng, Draft* draft) {
  StreetSpec spec = RandomStreetSpec(rng);
  spec.shoulder = rng.Uniform(0.05, 0.2);  // snow or mud narrows the road
  spec.lane_width = rng.Uniform(3.2, 3.4);
  spec.limit = std::clamp(spec.limit, 8.3, 13.9);
  const int lane = static_cast<int>(rng.Below(spec.lanes));
  const Street street = LayStreet(draft, rng, RandomLine(rng, 45, 125, 0.35), spec, lane);
  draft->speed = spec.limit * rng.Uniform(0.65, 0.9);
  draft->accel = rng.Uniform(-0.9, 0.0);
  const Body body = RandomVehicle(rng);
  if (rng.Chance(0.5)) {  // spun out across the lane, perhaps still sliding
    Pose pose = draft->line.At(draft->Reach(rng.Uniform(2.0, 3.0)) + 4, rng.Uniform(-0.8, 0.8));
    const double spin = (rng.Chance(0.5) ? 1 : -1) * rng.Uniform(0.5, 2.4);
    if (rng.Chance(0.5)) {
      const double v = rng.Uniform(0.8, 2.5);
      Actor a = Along(draft->line, body, Roll(draft->Reach(rng.Uniform(1.6, 2.4)) + 5, {.v0 = v, .before = -1.0, .accel = {{0, -0.5}}}), {rng.Uniform(-0.6, 0.6), 0, 0, 4});
      for (int i = 0; i < kSamples; ++i) a.poses[i].heading += spin * (0.7 + 0.06 * i);
      draft->Add(a);
    } else {
      pose.heading += spin;
      draft->Add(Standing(pose, body));
    }
  } else {  // a crawling column
    const double v = rng.Uniform(1.0, 3.0);
    double s = draft->s0 + kRearToFront + (draft->speed - v) * rng.Uniform(1.6, 2.6) + 3 + body.length / 2;
    draft->Add(Along(draft->line, body, Roll(s, {.v0 = v, .before = -0.3, .accel = {{0, rng.Uniform(-0.5, 0.1)}}}), {rng.Uniform(-0.4, 0.4), 0, 0, 4}));
    for (int i = 0; i < 3; ++i) {
      s += body.length + rng.Uniform(6, 12);
      draft->AddBackground(Along(draft->line, Car(rng), Roll(s, {.v0 = v * rng.Uniform(0.95, 1.1)})));
    }
  }
  AddBackdrop(draft, rng, street, {.opposite = 0.25, .same = 0.2, .beside = 0.2});
}

}  // namespace swerve::generator
