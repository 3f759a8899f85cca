// Vocabulary of the PDM score: poses, simulated states, the ego's box, time grids.
//
// Frames. "Local" is the frame in which everything in pdm/ works: axes of the global map frame, origin at the ego's
// rear axle at t = 0. (UTM-sized coordinates cost nine digits; subtracting the origin keeps them.) "Ego" is the frame
// of the ego at t = 0: x forward, y left. Metres, seconds, radians. Plain values: no ownership, no threads.
#ifndef SWERVE_PDM_TYPES_H_
#define SWERVE_PDM_TYPES_H_

#include <array>
#include <cmath>
#include <cstdint>
#include <numbers>

namespace swerve::pdm {

struct Vec2 {
  double x = 0, y = 0;
};
inline Vec2 operator+(Vec2 a, Vec2 b) { return {a.x + b.x, a.y + b.y}; }
inline Vec2 operator-(Vec2 a, Vec2 b) { return {a.x - b.x, a.y - b.y}; }
inline Vec2 operator*(double k, Vec2 a) { return {k * a.x, k * a.y}; }
inline double Dot(Vec2 a, Vec2 b) { return a.x * b.x + a.y * b.y; }
inline double Cross(Vec2 a, Vec2 b) { return a.x * b.y - a.y * b.x; }
inline double Norm(Vec2 a) { return std::sqrt(Dot(a, a)); }

struct Pose2 {
  double x = 0, y = 0, heading = 0;
};

// One row of a simulation (spec: PDM score §1): rear axle pose (local frame), velocity and acceleration (body frame),
// tyre steering angle and rate, yaw rate and yaw acceleration.
struct EgoRow {
  double x = 0, y = 0, heading = 0;
  double vx = 0, vy = 0, ax = 0, ay = 0;
  double steering = 0, steering_rate = 0;
  double yaw_rate = 0, yaw_acceleration = 0;
};

inline constexpr int kPoses = 8;           // of a candidate, every 0.5 s
inline constexpr int kSteps = 40;          // of the simulation, 0.1 s each
inline constexpr int kSamples = kSteps + 1;  // t = 0 is the present
inline constexpr int kReferencePoses = 51;
inline constexpr double kDt = 0.1;

using States = std::array<EgoRow, kSamples>;

// Ego vehicle (Pacifica), §1.1.
inline constexpr double kEgoHalfWidth = 1.1485;
inline constexpr double kEgoHalfLength = 2.588;
inline constexpr double kEgoFront = 4.049;       // rear axle to front bumper
inline constexpr double kEgoRear = 1.127;        // rear axle to rear bumper
inline const double kEgoRadius = std::sqrt(kEgoHalfLength * kEgoHalfLength + kEgoHalfWidth * kEgoHalfWidth);
inline constexpr double kRearAxleToCentre = 1.461;
inline constexpr double kWheelBase = 3.089;

// (-pi, pi]; unchanged when already inside.
inline double WrapAngle(double a) {
  return std::fabs(a) <= std::numbers::pi ? a : std::atan2(std::sin(a), std::cos(a));
}

// "pv" of the spec: [-pi, pi) by a non-negative modulus. Non-finite in, non-finite out.
inline double PrincipalValue(double a) {
  if (a >= -std::numbers::pi && a < std::numbers::pi) return a;
  constexpr double kTwoPi = 2 * std::numbers::pi;
  double m = std::fmod(a + std::numbers::pi, kTwoPi);
  if (m < 0) m += kTwoPi;
  return m - std::numbers::pi;
}

// numpy.unwrap's correction of one heading difference: jumps of less than pi stay as they are.
inline double UnwrappedDifference(double d) {
  if (std::fabs(d) < std::numbers::pi) return d;
  double w = PrincipalValue(d);
  return w == -std::numbers::pi && d > 0 ? std::numbers::pi : w;
}

inline Vec2 Direction(double heading) { return {std::cos(heading), std::sin(heading)}; }

// Centre of the ego's box for a rear-axle pose.
inline Vec2 EgoCentre(double x, double y, Vec2 direction) {
  return {x + kRearAxleToCentre * direction.x, y + kRearAxleToCentre * direction.y};
}

}  // namespace swerve::pdm

#endif  // SWERVE_PDM_TYPES_H_
