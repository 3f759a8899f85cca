#include "pdm/lanes.h"

#include "pdm/speed_fit.h"

namespace swerve::pdm {

EgoRow LaneStates::Row(int t, int lane) const {
  EgoRow r;
  r.x = x[t].lane[lane];
  r.y = y[t].lane[lane];
  r.heading = heading[t].lane[lane];
  r.vx = vx[t].lane[lane];
  r.vy = t == 0 ? vy0 : 0;
  r.ax = ax[t].lane[lane];
  r.ay = t == 0 ? ay0 : 0;
  r.steering = steering[t].lane[lane];
  r.steering_rate = steering_rate[t].lane[lane];
  r.yaw_rate = yaw_rate[t].lane[lane];
  r.yaw_acceleration = yaw_acceleration[t].lane[lane];
  return r;
}

States LaneStates::Rows(int lane) const {
  States out;
  for (int t = 0; t < kSamples; ++t) out[t] = Row(t, lane);
  return out;
}

LaneStates PackStates(const States& states) {
  LaneStates out;
  auto fill = [](LaneValue& v, double x) {
    for (double& lane : v.lane) lane = x;
  };
  for (int t = 0; t < kSamples; ++t) {
    const EgoRow& r = states[t];
    fill(out.x[t], r.x);
    fill(out.y[t], r.y);
    fill(out.heading[t], r.heading);
    fill(out.vx[t], r.vx);
    fill(out.ax[t], r.ax);
    fill(out.steering[t], r.steering);
    fill(out.steering_rate[t], r.steering_rate);
    fill(out.yaw_rate[t], r.yaw_rate);
    fill(out.yaw_acceleration[t], r.yaw_acceleration);
    LaneDirections(out.heading[t], &out.cosine[t], &out.sine[t]);
  }
  out.vy0 = states[0].vy;
  out.ay0 = states[0].ay;
  return out;
}

Vec2 LaneDirection(double heading) {
  LaneValue h, c, s;
  for (double& v : h.lane) v = heading;
  LaneDirections(h, &c, &s);
  return {c.lane[0], s.lane[0]};
}

SimulationStart::SimulationStart(const EgoRow& r) : row(r), direction(LaneDirection(r.heading)) {
  const Vec2 wheel = LaneDirection(r.steering);
  tangent = wheel.y / wheel.x;
}

bool Diverged(const LaneStates& s, int lane) {
  for (const auto* column : {&s.x, &s.y, &s.heading, &s.yaw_rate}) {
    if (!std::isfinite((*column)[kSteps].lane[lane])) return true;
  }
  return false;
}

const SpeedFit& SpeedFit::Get() {
  static const SpeedFit fit = [] {
    // 1 + K, by its diagonal and its first and second sub-diagonal.
    std::array<long double, kSteps> diagonal, first{}, second{};
    diagonal.fill(1);
    for (int j = 0; j <= 36; ++j) {
      diagonal[j] += 1;
      diagonal[j + 1] += 1;
      first[j + 1] -= 1;
    }
    diagonal[37] += 1;
    diagonal[38] += 4;
    diagonal[39] += 1;
    first[38] -= 2;
    first[39] -= 2;
    second[39] += 1;
    SpeedFit out;
    std::array<long double, kSteps> d, l1{}, l2{};
    for (int i = 0; i < kSteps; ++i) {
      if (i >= 2) l2[i] = second[i] / d[i - 2];
      if (i >= 1) l1[i] = (first[i] - (i >= 2 ? l2[i] * d[i - 2] * l1[i - 1] : 0)) / d[i - 1];
      d[i] = diagonal[i] - (i >= 1 ? l1[i] * l1[i] * d[i - 1] : 0) - (i >= 2 ? l2[i] * l2[i] * d[i - 2] : 0);
      out.below[i] = static_cast<double>(l1[i]);
      out.two_below[i] = static_cast<double>(l2[i]);
      out.inverse[i] = static_cast<double>(1 / d[i]);
    }
    return out;
  }();
  return fit;
}

}  // namespace swerve::pdm
