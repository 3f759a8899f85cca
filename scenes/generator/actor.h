// Road users of a generated scene: where each one is from 1.5 s before the present to 5 s after it, every 0.5 s.
// They follow a line by a scripted speed profile or by the Intelligent Driver Model behind another one.
#ifndef SWERVE_SCENES_GENERATOR_ACTOR_H_
#define SWERVE_SCENES_GENERATOR_ACTOR_H_

#include <array>
#include <functional>
#include <utility>
#include <vector>

#include "base/random.h"
#include "scenes/generator/path.h"
#include "swerve/v1/scene.pb.h"

namespace swerve::generator {

inline constexpr int kPast = 3;             // samples before the present
inline constexpr int kSamples = kPast + 11; // -1.5 … 5.0 s
inline constexpr double kSampleStep = 0.5;  // s

struct Body {
  v1::ObjectType type = v1::VEHICLE;
  double length = 4.7, width = 1.9, height = 1.6;  // m
};

struct Actor {
  Body body;
  std::array<Pose, kSamples> poses;    // box centre
  std::array<double, kSamples> speed;  // m/s along the direction of motion
  std::array<double, kSamples> course; // direction of motion, rad
  bool background = false;             // may be left out where it would overlap something
};

// Seconds of sample i.
inline double SampleTime(int i) { return (i - kPast) * kSampleStep; }

// Speed over time: v0 at t = 0 and accelerations from given times on; never below `floor`. Acceleration before t = 0
// is `before`.
struct SpeedPlan {
  double v0 = 0;
  double before = 0;                                // m/s^2 while t < 0
  std::vector<std::pair<double, double>> accel;     // (from t, m/s^2), ascending
  double floor = 0;
  double ceiling = 60;
};

// Lateral shift over time: `from` until `start`, smoothly to `to` within `duration`.
struct LateralPlan {
  double from = 0, to = 0, start = 0, duration = 1;
  double At(double t) const;
};

// Longitudinal state on the 0.5 s grid and finely in between.
struct Motion {
  std::array<double, kSamples> s, v;
};

Motion Roll(double s0, const SpeedPlan& plan);
// Behind `leader` on the same line; `gap_lengths` is the sum of half lengths.
Motion RollIdm(double s0, double v0, double target, const Motion& leader, double gap_lengths);

Actor Along(const Path& path, const Body& body, const Motion& motion, const LateralPlan& lateral = {});
Actor Standing(const Pose& pose, const Body& body);

// Random bodies.
Body RandomVehicle(Random& rng);   // car, van or truck
Body Car(Random& rng);
Body Truck(Random& rng);
Body PedestrianBody(Random& rng);
Body CyclistBody(Random& rng);
Body Cone();
Body BarrierBody(Random& rng);
Body Debris(Random& rng);

// True if the two boxes come closer than `margin` at any sample (t >= 0).
bool Overlap(const Actor& a, const Actor& b, double margin);

}  // namespace swerve::generator

#endif  // SWERVE_SCENES_GENERATOR_ACTOR_H_
