// Paths that cross the ego's: the other one is at the conflict point when the ego, going on as it does, gets there.
#include <algorithm>
#include <cmath>

#include "scenes/generator/family.h"

namespace swerve::generator {
namespace {

// Arc length on `other` of the point nearest to `line` within the reach of the ego, and where that is on `line`.
struct Conflict {
  double on_line = 0, on_other = 0, distance = 1e9;
};
Conflict FindConflict(const Path& line, double from, double to, const Path& other) {
  Conflict best;
  for (double s = from; s < to; s += 0.5) {
    const Pose p = line.At(s);
    const double u = other.Project(p.x, p.y);
    const Pose q = other.At(u);
    const double d = std::hypot(p.x - q.x, p.y - q.y);
    if (d < best.distance - 1e-9) best = {s, u, d};
    if (best.distance < 0.5 && d > 3) break;  // the first crossing counts
  }
  return best;
}

// Seconds until the ego's centre is at `s` at its present speed.
double TimeTo(const Draft& draft, double s) {
  return (s - draft.s0 - kRearToCentre) / std::max(draft.speed, 0.5);
}

void Bystanders(Random& rng, Draft* draft, const Crossing& x) {
  for (int arm = 1; arm < 4; ++arm) {
    for (size_t lane = 0; lane < x.out[arm].lanes.size(); ++lane) {
      if (rng.Chance(0.35)) {
        draft->AddBackground(Along(x.out[arm].centers[lane], Car(rng), Roll(rng.Uniform(12, 45), {.v0 = x.limit * rng.Uniform(0.6, 1.0)})));
      }
      if (arm != 2 && rng.Chance(0.4)) {
        const Path& in = x.in[arm].centers[lane];
        draft->AddBackground(Standing(in.At(in.length() - rng.Uniform(3.5, 6)), RandomVehicle(rng)));
      }
    }
  }
}

// A street of at most two lanes a side and 50 km/h, and the ego on its way along it: where people cross.
Street LayTownStreet(Random& rng, Draft* draft) {
  StreetSpec spec = RandomStreetSpec(rng);
  spec.limit = std::min(spec.limit, 13.9);
  spec.lanes = std::min(spec.lanes, 2);
  const Street street = LayStreet(draft, rng, RandomLine(rng, 45, 125, 0.15), spec, static_cast<int>(rng.Below(spec.lanes)));
  Cruise(draft, rng, spec.limit, 0.6, 0.95);
  return street;
}

// A walker or rider that crosses the ego's line at right angles, near enough, at `meet` seconds.
void CrossStreet(Random& rng, Draft* draft, const Body& body, double speed, double meet, double slant) {
  const Pose at = draft->line.At(draft->Reach(meet) + rng.Uniform(0.0, 2.0));
  const bool from_right = rng.Chance(0.6);
  const Pose across{at.x, at.y, at.heading + (from_right ? 1 : -1) * (M_PI / 2 + slant)};
  Path path(Ahead(across, -60));
  path.Straight(120);
  const double arrive = meet + rng.Uniform(-0.35, 0.45);
  SpeedPlan plan{.v0 = speed};
  draft->Add(Along(path, body, Roll(60 - speed * arrive, plan)));
}

}  // namespace

void UnprotectedLeftTurn(Random& rng, Draft* draft) {
  const CrossingSpec spec{.lanes = rng.Chance(0.7) ? 1 : 2, .lane_width = rng.Uniform(3.3, 3.7), .limit = rng.Uniform(8, 11)};
  const Crossing x = LayCrossing(draft, rng, spec, kLeft, rng.Uniform(3, 11));
  draft->speed = rng.Uniform(4.0, 7.0);
  draft->accel = rng.Uniform(-0.8, 0.3);
  const int lane = static_cast<int>(rng.Below(spec.lanes));
  const Path other = Through(x, 2, kStraight, lane);
  const Conflict c = FindConflict(draft->line, draft->s0 + 3, draft->s0 + 45, other);
  const double v = rng.Uniform(6.5, 12), meet = TimeTo(*draft, c.on_line) + rng.Uniform(-0.35, 0.3);
  const Body body = RandomVehicle(rng);
  draft->Add(Along(other, body, Roll(c.on_other - v * meet, {.v0 = v, .accel = {{0, rng.Uniform(-0.3, 0.3)}}})));
  if (rng.Chance(0.4)) {  // a second one behind it
    const double u = v * rng.Uniform(0.9, 1.0);
    draft->AddBackground(Along(other, Car(rng), Roll(c.on_other - v * meet - u * rng.Uniform(1.6, 3.5) - 5, {.v0 = u})));
  }
  Bystanders(rng, draft, x);
}

void CrossingVehicle(Random& rng, Draft* draft) {
  const CrossingSpec spec{.lanes = rng.Chance(0.7) ? 1 : 2, .lane_width = rng.Uniform(3.3, 3.7), .limit = rng.Uniform(8, 12)};
  const Crossing x = LayCrossing(draft, rng, spec, kStraight, rng.Uniform(7, 20));
  Cruise(draft, rng, spec.limit, 0.65, 1.0);
  const int arm = rng.Chance(0.5) ? 1 : 3;
  const Path other = Through(x, arm, rng.Chance(0.75) ? kStraight : kLeft, 0);
  const Conflict c = FindConflict(draft->line, draft->s0 + 5, draft->s0 + 50, other);
  const double v = rng.Uniform(5, 11), meet = TimeTo(*draft, c.on_line) + rng.Uniform(-0.45, 0.2);
  draft->Add(Along(other, RandomVehicle(rng), Roll(c.on_other - v * meet, {.v0 = v})));
  Bystanders(rng, draft, x);
}

void CrossingPedestrian(Random& rng, Draft* draft) {
  const Street street = LayTownStreet(rng, draft);
  const double meet = 0.9 + draft->speed / rng.Uniform(6.5, 9.0);
  const double speed = rng.Uniform(1.0, 2.6);
  CrossStreet(rng, draft, PedestrianBody(rng), speed, meet, rng.Uniform(-0.2, 0.2));
  if (rng.Chance(0.3)) CrossStreet(rng, draft, PedestrianBody(rng), speed * rng.Uniform(0.9, 1.1), meet + rng.Uniform(0, 0.3), rng.Uniform(-0.2, 0.2));
  AddBackdrop(draft, rng, street, {.opposite = 0.4, .same = 0.3, .beside = 0.5});
}

void CrossingCyclist(Random& rng, Draft* draft) {
  const Street street = LayTownStreet(rng, draft);
  const double meet = 0.9 + draft->speed / rng.Uniform(6.5, 9.0);
  CrossStreet(rng, draft, CyclistBody(rng), rng.Uniform(2.5, 5.0), meet, rng.Uniform(-0.4, 0.4));
  AddBackdrop(draft, rng, street, {.opposite = 0.3, .same = 0.2, .beside = 0.4});
}

}  // namespace swerve::generator
