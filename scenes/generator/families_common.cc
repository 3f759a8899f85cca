// Everyday driving: a plan that follows the lane at the present speed is mostly fine.
#include <algorithm>
#include <cmath>

#include "scenes/generator/family.h"

namespace swerve::generator {
namespace {

Street AnyStreet(Random& rng, Draft* draft, double bendiness, Backdrop backdrop = {}) {
  const StreetSpec spec = RandomStreetSpec(rng);
  const int lane = static_cast<int>(rng.Below(spec.lanes));
  Street street = LayStreet(draft, rng, RandomLine(rng, 45, 125, bendiness), spec, lane);
  Cruise(draft, rng, spec.limit);
  AddBackdrop(draft, rng, street, backdrop);
  return street;
}

// Turning traffic of a crossing that stays out of the ego's way: waiting at the mouths, and going where it may.
void WaitingTraffic(Random& rng, Draft* draft, const Crossing& x, double chance) {
  for (int arm = 1; arm < 4; ++arm) {
    for (size_t lane = 0; lane < x.in[arm].lanes.size(); ++lane) {
      const Path& path = x.in[arm].centers[lane];
      double at = path.length() - rng.Uniform(3.5, 6);
      while (rng.Chance(chance) && at > 10) {
        draft->AddBackground(Standing(path.At(at, rng.Uniform(-0.2, 0.2)), RandomVehicle(rng)));
        at -= rng.Uniform(7, 11);
      }
      if (rng.Chance(0.4)) {
        const Path& out = x.out[arm].centers[lane];
        draft->AddBackground(Along(out, Car(rng), Roll(rng.Uniform(5, 40), {.v0 = x.limit * rng.Uniform(0.5, 1.0)})));
      }
    }
    if (rng.Chance(0.5)) {
      const double v = rng.Chance(0.5) ? 0 : rng.Uniform(0.6, 1.4), d = -rng.Uniform(2.8, 4.5);
      draft->AddBackground(Along(x.out[arm].centers[0], PedestrianBody(rng), Roll(rng.Uniform(8, 30), {.v0 = v}), {d, d}));
    }
  }
}

}  // namespace

void StraightFree(Random& rng, Draft* draft) {
  Street street = AnyStreet(rng, draft, 0.1);
  if (rng.Chance(0.12)) {  // pulling away
    draft->speed = rng.Uniform(0.0, 3.0);
    draft->accel = rng.Uniform(0.3, 1.2);
  } else if (rng.Chance(0.4)) {  // somebody far ahead
    const double v = street.spec.limit * rng.Uniform(0.85, 1.05);
    draft->AddBackground(Along(draft->line, RandomVehicle(rng), Roll(draft->s0 + rng.Uniform(40, 60), {.v0 = v})));
  }
}

void Curve(Random& rng, Draft* draft) {
  StreetSpec spec = RandomStreetSpec(rng);
  Path back(Pose{0, 0, M_PI});
  back.Straight(45);
  Path base = back.Reversed();
  Path front(Pose{0, 0, 0});
  front.Straight(rng.Uniform(2, 20));
  const double radius = rng.Uniform(32, 110), side = rng.Chance(0.5) ? 1 : -1;
  front.Bend(side * rng.Uniform(0.35, 1.2), radius).Straight(rng.Uniform(10, 30));
  if (rng.Chance(0.5)) front.Bend(-side * rng.Uniform(0.2, 0.8), rng.Uniform(40, 120));
  front.Straight(60);
  const int lane = static_cast<int>(rng.Below(spec.lanes));
  spec.limit = std::min(spec.limit, std::sqrt(2.6 * radius));
  Street street = LayStreet(draft, rng, base.Append(front), spec, lane);
  Cruise(draft, rng, spec.limit);
  AddBackdrop(draft, rng, street, {});
  if (rng.Chance(0.4)) {
    const double v = draft->speed * rng.Uniform(0.9, 1.1);
    draft->Add(Along(draft->line, RandomVehicle(rng), Roll(draft->Reach(0) + 8 + v * rng.Uniform(1.5, 3), {.v0 = v})));
  }
}

void LeadFollowing(Random& rng, Draft* draft) {
  AnyStreet(rng, draft, 0.3);
  const double lead_v = std::max(0.5, draft->speed * rng.Uniform(0.75, 1.1));
  const double gap = 4.0 + lead_v * rng.Uniform(1.1, 2.4);
  const Body body = RandomVehicle(rng);
  const double s = draft->s0 + kRearToFront + gap + body.length / 2, d = rng.Uniform(-0.25, 0.25);
  SpeedPlan plan{.v0 = lead_v, .before = rng.Uniform(-0.4, 0.4)};
  plan.accel = {{0.0, rng.Uniform(-0.9, 0.7)}, {rng.Uniform(1.5, 3.5), rng.Uniform(-0.6, 0.6)}};
  plan.ceiling = std::max(lead_v, 16.0);
  if (rng.Chance(0.5)) {  // the leader follows somebody itself
    const Body ahead = RandomVehicle(rng);
    const double lengths = 0.5 * (body.length + ahead.length);
    const Motion front = Roll(s + lengths + 3 + lead_v * rng.Uniform(0.9, 1.8), plan);
    draft->Add(Along(draft->line, ahead, front, {d, d}));
    draft->Add(Along(draft->line, body, RollIdm(s, lead_v, std::max(lead_v, draft->speed), front, lengths), {d, d}));
  } else {
    draft->Add(Along(draft->line, body, Roll(s, plan), {d, d}));
  }
}

void StopBehindQueue(Random& rng, Draft* draft) {
  AnyStreet(rng, draft, 0.2);
  // Braking at 1.2 … 2.2 m/s^2 from now stops behind the last vehicle.
  const double room = draft->speed * draft->speed / (2 * rng.Uniform(1.2, 2.2)) + rng.Uniform(4, 9);
  const Body last = RandomVehicle(rng);
  const double s = draft->s0 + kRearToFront + room + last.length / 2;
  if (rng.Chance(0.5)) {
    draft->Add(Standing(draft->line.At(s, rng.Uniform(-0.25, 0.25)), last));
  } else {  // still rolling to its stop
    const double v = draft->speed * rng.Uniform(0.3, 0.7), a = -rng.Uniform(1.2, 2.5);
    draft->Add(Along(draft->line, last, Roll(s - v * v / (-2 * a) * 0.6, {.v0 = v, .before = a, .accel = {{0, a}}})));
  }
  double at = s + last.length / 2;
  for (int i = 0; i < 3; ++i) {
    const Body body = RandomVehicle(rng);
    at += rng.Uniform(1.8, 3.5) + body.length / 2;
    draft->AddBackground(Standing(draft->line.At(at, rng.Uniform(-0.25, 0.25)), body));
    at += body.length / 2;
  }
}

void IntersectionStraight(Random& rng, Draft* draft) {
  const CrossingSpec spec{.lanes = rng.Chance(0.6) ? 1 : 2, .lane_width = rng.Uniform(3.3, 3.7), .limit = rng.Uniform(8, 14)};
  const Crossing x = LayCrossing(draft, rng, spec, kStraight, rng.Uniform(6, 35));
  Cruise(draft, rng, spec.limit);
  WaitingTraffic(rng, draft, x, 0.6);
  if (rng.Chance(0.5)) {
    draft->AddBackground(Along(Through(x, 2, kStraight), RandomVehicle(rng), Roll(rng.Uniform(40, 85), {.v0 = spec.limit * rng.Uniform(0.7, 1.0)})));
  }
}

void IntersectionRightTurn(Random& rng, Draft* draft) {
  const CrossingSpec spec{.lanes = rng.Chance(0.7) ? 1 : 2, .lane_width = rng.Uniform(3.3, 3.7), .limit = rng.Uniform(6, 8)};
  const Crossing x = LayCrossing(draft, rng, spec, kRight, rng.Uniform(4, 16));
  draft->speed = rng.Uniform(3.0, 5.5);
  draft->accel = rng.Uniform(-0.6, 0.5);
  WaitingTraffic(rng, draft, x, 0.6);
}

void IntersectionLeftTurn(Random& rng, Draft* draft) {
  const CrossingSpec spec{.lanes = rng.Chance(0.7) ? 1 : 2, .lane_width = rng.Uniform(3.3, 3.7), .limit = rng.Uniform(7, 9)};
  const Crossing x = LayCrossing(draft, rng, spec, kLeft, rng.Uniform(4, 16));
  draft->speed = rng.Uniform(3.5, 6.5);
  draft->accel = rng.Uniform(-0.6, 0.5);
  WaitingTraffic(rng, draft, x, 0.6);
}

}  // namespace swerve::generator
