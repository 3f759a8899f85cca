// Other drivers' surprises on an open road, and the bend that comes too soon.
#include <algorithm>
#include <cmath>

#include "scenes/generator/family.h"

namespace swerve::generator {
namespace {

Street QuietStreet(Random& rng, Draft* draft, StreetSpec spec, int lane, double bendiness, Backdrop backdrop) {
  Street street = LayStreet(draft, rng, RandomLine(rng, 45, 125, bendiness), spec, lane);
  Cruise(draft, rng, spec.limit);
  AddBackdrop(draft, rng, street, backdrop);
  return street;
}

}  // namespace

void SharpCurve(Random& rng, Draft* draft) {
  StreetSpec spec = RandomStreetSpec(rng);
  spec.lanes = 1;
  spec.opposite = rng.Chance(0.8) ? 1 : 0;
  const double radius = rng.Uniform(9, 17);
  spec.limit = std::sqrt(rng.Uniform(3.0, 4.0) * radius);
  Path back(Pose{0, 0, M_PI});
  back.Straight(45);
  Path base = back.Reversed();
  Path front(Pose{0, 0, 0});
  const double side = rng.Chance(0.5) ? 1 : -1;
  front.Straight(rng.Uniform(6, 16)).Bend(side * rng.Uniform(1.2, 2.2), radius).Straight(rng.Uniform(5, 15));
  if (rng.Chance(0.4)) front.Bend(-side * rng.Uniform(0.6, 1.2), rng.Uniform(14, 40));
  front.Straight(50);
  // Bends this tight are built wider, or no vehicle of this length could keep its lane.
  spec.lane_width = rng.Uniform(3.6, 4.2);
  spec.shoulder = rng.Uniform(0.4, 0.9);
  Street street = LayStreet(draft, rng, base.Append(front), spec, 0);
  // Fast enough that holding the speed through the bend breaks grip and comfort or leaves the lane.
  draft->speed = spec.limit * rng.Uniform(1.25, 1.6);
  draft->accel = rng.Uniform(-0.8, 0.2);
  AddBackdrop(draft, rng, street, {.opposite = 0.3, .same = 0, .beside = 0.4});
}

void HardBrakingLeader(Random& rng, Draft* draft) {
  StreetSpec spec = RandomStreetSpec(rng);
  QuietStreet(rng, draft, spec, static_cast<int>(rng.Below(spec.lanes)), 0.2, {});
  const Body body = RandomVehicle(rng);
  // It has been braking for a moment: its speed at present is already below what it was.
  const double a = -rng.Uniform(3.5, 6.5);
  const double v = draft->speed * rng.Uniform(0.55, 0.85);
  const double gap = rng.Uniform(3, 6) + draft->speed * rng.Uniform(0.8, 1.5);
  const double d = rng.Uniform(-0.25, 0.25);
  draft->Add(Along(draft->line, body,
                   Roll(draft->s0 + kRearToFront + gap + body.length / 2, {.v0 = v, .before = 0.6 * a, .accel = {{0, a}}}), {d, d}));
}

void CutIn(Random& rng, Draft* draft) {
  StreetSpec spec = RandomStreetSpec(rng);
  spec.lanes = std::max(2, spec.lanes);
  spec.limit = std::max(spec.limit, 11.1);
  const int lane = static_cast<int>(rng.Below(spec.lanes));
  const int from = lane == 0 ? 1 : lane == spec.lanes - 1 ? lane - 1 : lane + (rng.Chance(0.5) ? 1 : -1);
  QuietStreet(rng, draft, spec, lane, 0.15, {.opposite = 0.6, .same = 0.25, .beside = 0.5});
  const Body body = RandomVehicle(rng);
  const double dv = rng.Uniform(2.5, 6.0);
  const double v = std::max(1.5, draft->speed - dv);
  const double gap = rng.Uniform(3, 6) + (draft->speed - v) * rng.Uniform(0.8, 2.0);
  const double side = (from - lane) * spec.lane_width;
  const double duration = rng.Uniform(2.2, 3.4);
  draft->Add(Along(draft->line, body, Roll(draft->s0 + kRearToFront + gap + body.length / 2, {.v0 = v, .accel = {{0, rng.Uniform(-0.8, 0.3)}}}),
                   {side, rng.Uniform(-0.3, 0.3), -duration * rng.Uniform(0.3, 0.5), duration}));
}

void PullOut(Random& rng, Draft* draft) {
  StreetSpec spec = RandomStreetSpec(rng);
  spec.limit = std::min(spec.limit, 13.9);
  spec.shoulder = rng.Uniform(2.0, 2.6);
  const Street street = QuietStreet(rng, draft, spec, 0, 0.15, {.opposite = 0.35, .same = 0.25, .beside = 0.3});
  const double parked = -(spec.lane_width / 2 + spec.shoulder / 2 + 0.1);
  const Body body = Car(rng);
  const double meet = rng.Uniform(1.2, 2.4);
  const double v = rng.Uniform(1.0, 2.5);
  const double s = draft->Reach(meet) + 5.0 - v * meet;
  const double duration = rng.Uniform(2.4, 3.4);
  draft->Add(Along(draft->line, body, Roll(s, {.v0 = v, .before = 0.8, .accel = {{0, rng.Uniform(0.5, 1.3)}}}),
                   {parked, rng.Uniform(-0.4, 0.2), -duration * rng.Uniform(0.25, 0.45), duration}));
  for (double at = s - rng.Uniform(7, 9); at > draft->s0 - 20; at -= rng.Uniform(6.5, 12)) {
    if (rng.Chance(0.6)) draft->AddBackground(Standing(draft->line.At(at, parked), Car(rng)));
  }
  for (double at = s + rng.Uniform(9, 12); at < draft->s0 + 70; at += rng.Uniform(6.5, 12)) {
    if (rng.Chance(0.6)) draft->AddBackground(Standing(draft->line.At(at, parked), Car(rng)));
  }
}

void Merge(Random& rng, Draft* draft) {
  StreetSpec spec = RandomStreetSpec(rng);
  spec.limit = std::max(spec.limit, 11.1);
  spec.opposite = rng.Chance(0.5) ? 1 : 0;
  spec.lanes = rng.Chance(0.6) ? 1 : 2;
  const double w = spec.lane_width;
  const double speed = spec.limit * rng.Uniform(0.75, 1.0);
  const double meet = rng.Uniform(1.4, 2.6);            // s until the ego reaches the nose
  const double nose = kRearToCentre + speed * meet;     // m ahead of the ego
  const RoadSpec own{.lanes = spec.lanes, .lane_width = w, .shoulder = spec.shoulder, .median = 0.05, .speed_limit = spec.limit};
  Path before(Pose{nose - 150, 0, 0}), after(Pose{nose, 0, 0});
  before.Straight(150);
  after.Straight(130);
  const Road a = draft->map.AddRoad(before, own), b = draft->map.AddRoad(after, own);
  // The ramp comes from the right at a small angle and ends where the roads join.
  const double angle = rng.Uniform(0.10, 0.2);
  Path down(Pose{nose, 0, M_PI});
  down.Straight(2).Bend(angle, rng.Uniform(60, 120)).Straight(150 - down.length());
  const Path ramp = down.Reversed();
  const Road r = draft->map.AddRoad(ramp, {.lanes = 1, .lane_width = w, .shoulder = spec.shoulder, .speed_limit = spec.limit});
  draft->map.Join(a, b);
  draft->map.Join(r, b, 0);
  const bool on_ramp = rng.Chance(0.35);
  Path main_line = a.centers[0], ramp_line = r.centers[0];
  main_line.Append(b.centers[0]);
  ramp_line.Append(b.centers[0]);
  draft->line = on_ramp ? ramp_line : main_line;
  draft->route = {on_ramp ? r.block : a.block, b.block};
  draft->s0 = 150 - nose;
  draft->speed = speed;
  draft->accel = rng.Uniform(-0.5, 0.4);
  draft->lateral = std::clamp(0.12 * rng.Normal(), -0.3, 0.3);
  // The other one reaches the nose a little earlier and is slower: whoever just goes on drives into it.
  const double v = std::max(3.0, speed - rng.Uniform(2.0, 5.0));
  const Body body = RandomVehicle(rng);
  const double ahead = rng.Uniform(2.5, 7.0) + body.length / 2;
  const Path& line = on_ramp ? main_line : ramp_line;
  draft->Add(Along(line, body, Roll(150 + ahead - v * meet, {.v0 = v, .accel = {{0, rng.Uniform(-0.4, 0.5)}}})));
  if (rng.Chance(0.5)) {
    draft->AddBackground(Along(line, Car(rng), Roll(150 + ahead - v * meet + rng.Uniform(14, 24), {.v0 = v * rng.Uniform(1.0, 1.15)})));
  }
  if (spec.lanes > 1) {
    for (double at = draft->s0 - 20; at < 260; at += rng.Uniform(20, 50)) {
      draft->AddBackground(Along(main_line, RandomVehicle(rng), Roll(at, {.v0 = speed * rng.Uniform(0.9, 1.05)}), {w, w}));
    }
  }
}

void OncomingIntruder(Random& rng, Draft* draft) {
  StreetSpec spec = RandomStreetSpec(rng);
  spec.lanes = rng.Chance(0.7) ? 1 : 2;
  spec.opposite = 1;
  spec.limit = std::min(spec.limit, 13.9);
  spec.shoulder = rng.Uniform(1.4, 2.4);
  const int lane = spec.lanes - 1;
  const Street street = QuietStreet(rng, draft, spec, lane, 0.1, {.opposite = 0.2, .same = 0.2, .beside = 0.5});
  const double v = spec.limit * rng.Uniform(0.7, 1.0);
  const double meet = rng.Uniform(1.6, 2.8);
  const double s = draft->Reach(meet) + v * meet;
  const Path line = draft->line.Reversed();
  const double own = street.OppositeOffset(0), deep = rng.Uniform(0.5, 1.6);
  const double duration = rng.Uniform(1.8, 2.8);
  draft->Add(Along(line, RandomVehicle(rng), Roll(line.length() - s, {.v0 = v, .accel = {{0, rng.Uniform(-1.0, 0.2)}}}),
                   {-own, -deep, -duration * rng.Uniform(0.35, 0.6), duration}));
}

}  // namespace swerve::generator
