#include "scenes/generator/actor.h"

#include <algorithm>
#include <cmath>

namespace swerve::generator {
namespace {

constexpr int kSub = 10;  // integration steps per sample
constexpr double kDt = kSampleStep / kSub;

double AccelAt(const SpeedPlan& plan, double t) {
  double a = 0;
  for (const auto& [from, value] : plan.accel) {
    if (t >= from) a = value;
  }
  return a;
}

}  // namespace

double LateralPlan::At(double t) const {
  const double u = std::clamp((t - start) / std::max(duration, 1e-3), 0.0, 1.0);
  return from + (to - from) * u * u * u * (10 + u * (-15 + 6 * u));
}

Motion Roll(double s0, const SpeedPlan& plan) {
  Motion m;
  double s = s0, v = plan.v0;
  m.s[kPast] = s, m.v[kPast] = v;
  for (int i = kPast; i + 1 < kSamples; ++i) {
    for (int k = 0; k < kSub; ++k) {
      const double next = std::clamp(v + kDt * AccelAt(plan, SampleTime(i) + k * kDt), plan.floor, plan.ceiling);
      s += 0.5 * (v + next) * kDt, v = next;
    }
    m.s[i + 1] = s, m.v[i + 1] = v;
  }
  s = s0, v = plan.v0;
  for (int i = kPast; i > 0; --i) {
    const double before = std::clamp(v - plan.before * kSampleStep, 0.0, plan.ceiling);
    s -= 0.5 * (v + before) * kSampleStep, v = before;
    m.s[i - 1] = s, m.v[i - 1] = v;
  }
  return m;
}

Motion RollIdm(double s0, double v0, double target, const Motion& leader, double gap_lengths) {
  Motion m = Roll(s0, {.v0 = v0});
  double s = s0, v = v0;
  for (int i = kPast; i + 1 < kSamples; ++i) {
    for (int k = 0; k < kSub; ++k) {
      const double w = static_cast<double>(k) / kSub;
      const double lead_s = leader.s[i] + w * (leader.s[i + 1] - leader.s[i]);
      const double lead_v = leader.v[i] + w * (leader.v[i + 1] - leader.v[i]);
      const double gap = std::max(lead_s - s - gap_lengths, 0.5);
      const double want = 2.0 + 1.2 * v + v * (v - lead_v) / (2 * std::sqrt(1.5 * 3.0));
      const double ratio = std::max(want, 0.0) / gap;
      const double a = std::clamp(1.5 * (1 - std::pow(v / std::max(target, 0.5), 4) - ratio * ratio), -8.0, 2.0);
      const double next = std::max(0.0, v + a * kDt);
      s += 0.5 * (v + next) * kDt, v = next;
    }
    m.s[i + 1] = s, m.v[i + 1] = v;
  }
  return m;
}

Actor Along(const Path& path, const Body& body, const Motion& motion, const LateralPlan& lateral) {
  Actor a;
  a.body = body;
  for (int i = 0; i < kSamples; ++i) {
    const double t = SampleTime(i), d = lateral.At(t);
    const double slip = (lateral.At(t + 0.05) - lateral.At(t - 0.05)) / 0.1;
    a.poses[i] = path.At(motion.s[i], d);
    const double turn = motion.v[i] > 0.3 ? std::atan2(slip, motion.v[i]) : 0.0;
    a.poses[i].heading += turn;
    a.speed[i] = std::hypot(motion.v[i], motion.v[i] > 0.3 ? slip : 0.0);
    a.course[i] = a.poses[i].heading;
  }
  return a;
}

Actor Standing(const Pose& pose, const Body& body) {
  Actor a;
  a.body = body;
  a.poses.fill(pose);
  a.speed.fill(0);
  a.course.fill(pose.heading);
  return a;
}

Body Car(Random& rng) { return {v1::VEHICLE, rng.Uniform(4.0, 5.2), rng.Uniform(1.75, 2.05), rng.Uniform(1.4, 1.9)}; }
Body Truck(Random& rng) { return {v1::VEHICLE, rng.Uniform(6.5, 11.0), rng.Uniform(2.2, 2.55), rng.Uniform(2.6, 3.8)}; }
Body RandomVehicle(Random& rng) { return rng.Chance(0.15) ? Truck(rng) : Car(rng); }
Body PedestrianBody(Random& rng) {
  return {v1::PEDESTRIAN, rng.Uniform(0.5, 0.9), rng.Uniform(0.5, 0.9), rng.Uniform(1.5, 1.9)};
}
Body CyclistBody(Random& rng) { return {v1::BICYCLE, rng.Uniform(1.6, 2.0), rng.Uniform(0.6, 0.8), 1.7}; }
Body Cone() { return {v1::TRAFFIC_CONE, 0.4, 0.4, 0.7}; }
Body BarrierBody(Random& rng) { return {v1::BARRIER, 0.5, rng.Uniform(1.8, 2.6), 1.0}; }
Body Debris(Random& rng) { return {v1::GENERIC_OBJECT, rng.Uniform(0.8, 2.0), rng.Uniform(0.8, 1.8), 0.6}; }

bool Overlap(const Actor& a, const Actor& b, double margin) {
  // Separating-axis test of the two boxes, sample by sample.
  for (int i = kPast; i < kSamples; ++i) {
    const Pose &p = a.poses[i], &q = b.poses[i];
    const double dx = q.x - p.x, dy = q.y - p.y;
    const double reach = 0.5 * (a.body.length + a.body.width + b.body.length + b.body.width) + margin;
    if (std::abs(dx) > reach || std::abs(dy) > reach) continue;
    const double c = std::cos(q.heading - p.heading), s = std::sin(q.heading - p.heading);
    const double ac = std::abs(c), as = std::abs(s);
    auto apart = [&](const Pose& own, const Body& ob, const Body& other) {
      const double lx = dx * std::cos(own.heading) + dy * std::sin(own.heading);
      const double ly = -dx * std::sin(own.heading) + dy * std::cos(own.heading);
      return std::abs(lx) > 0.5 * (ob.length + ac * other.length + as * other.width) + margin ||
             std::abs(ly) > 0.5 * (ob.width + as * other.length + ac * other.width) + margin;
    };
    if (!apart(p, a.body, b.body) && !apart(q, b.body, a.body)) return true;
  }
  return false;
}

}  // namespace swerve::generator
