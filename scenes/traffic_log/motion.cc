#include "scenes/traffic_log/motion.h"

#include <algorithm>
#include <cmath>

namespace swerve {
namespace {

constexpr double kGap = 0.5;          // s: a longer hole in a track is an absence
constexpr double kFit = 0.6;          // s to each side
constexpr double kFitAcceleration = 1.0;
constexpr double kStanding = 0.1;     // m/s
constexpr double kHeadingSpeed = 1.5; // m/s from which movement gives a heading

// Index of the last state at or before `time`, or -1.
int Before(const LogAgent& a, double dt, double time) {
  auto it = std::upper_bound(a.states.begin(), a.states.end(), time / dt + 1e-6,
                             [](double step, const LogState& s) { return step < s.step; });
  return static_cast<int>(it - a.states.begin()) - 1;
}

struct Fit {
  Vec2 p, v, a;
};

// Least squares of p + v t + a t²/2 around `time`; a straight line with fewer than four samples, the nearest with one.
Fit FitAround(const LogAgent& agent, double dt, double time, double half) {
  double s[5] = {}, bx[3] = {}, by[3] = {};
  int n = 0;
  int i = std::max(0, Before(agent, dt, time - half));
  for (; i < static_cast<int>(agent.states.size()); ++i) {
    double t = agent.states[i].step * dt - time;
    if (t > half + 1e-6) break;
    if (t < -half - 1e-6) continue;
    double power = 1;
    for (int k = 0; k < 5; ++k, power *= t) {
      s[k] += power;
      if (k < 3) {
        bx[k] += power * agent.states[i].x;
        by[k] += power * agent.states[i].y;
      }
    }
    ++n;
  }
  Fit f;
  if (n >= 4) {
    // Cramer's rule on the 3×3 normal equations in (1, t, t²).
    auto det = [](double a, double b, double c, double d, double e, double f, double g, double h, double i) {
      return a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g);
    };
    double d = det(s[0], s[1], s[2], s[1], s[2], s[3], s[2], s[3], s[4]);
    auto solve = [&](const double* b, double* c0, double* c1, double* c2) {
      *c0 = det(b[0], s[1], s[2], b[1], s[2], s[3], b[2], s[3], s[4]) / d;
      *c1 = det(s[0], b[0], s[2], s[1], b[1], s[3], s[2], b[2], s[4]) / d;
      *c2 = 2 * det(s[0], s[1], b[0], s[1], s[2], b[1], s[2], s[3], b[2]) / d;
    };
    solve(bx, &f.p.x, &f.v.x, &f.a.x);
    solve(by, &f.p.y, &f.v.y, &f.a.y);
  } else {
    int at = std::clamp(Before(agent, dt, time), 0, static_cast<int>(agent.states.size()) - 1);
    const LogState& l = agent.states[at];
    f.p = {l.x, l.y};
    f.v = {l.vx, l.vy};
  }
  return f;
}

double RecordedYaw(const LogAgent& a, double dt, double time) {
  int i = std::max(0, Before(a, dt, time));
  const LogState& s = a.states[i];
  if (i + 1 >= static_cast<int>(a.states.size())) return s.yaw;
  const LogState& n = a.states[i + 1];
  double t = std::clamp((time / dt - s.step) / (n.step - s.step), 0.0, 1.0);
  return WrapAngle(s.yaw + t * WrapAngle(n.yaw - s.yaw));
}

// Mean direction of the recorded heading over ±0.3 s.
double SmoothYaw(const LogAgent& a, double dt, double time) {
  double c = 0, s = 0;
  for (int k = -3; k <= 3; ++k) {
    double yaw = RecordedYaw(a, dt, time + 0.1 * k);
    c += std::cos(yaw);
    s += std::sin(yaw);
  }
  return std::atan2(s, c);
}

// Headings from the movement, held where it is too slow to tell.
void HeadingFromMotion(const std::vector<Fit>& fits, std::vector<EgoMotion>* out) {
  const int n = static_cast<int>(fits.size());
  std::vector<int> source(n, -1);
  for (int i = 0; i < n; ++i)
    if (std::hypot(fits[i].v.x, fits[i].v.y) > kHeadingSpeed) source[i] = i;
  for (int i = 1; i < n; ++i)
    if (source[i] < 0) source[i] = source[i - 1];
  for (int i = n - 2; i >= 0; --i)
    if (source[i] < 0) source[i] = source[i + 1];
  for (int i = 0; i < n; ++i)
    if (source[i] >= 0) (*out)[i].heading = std::atan2(fits[source[i]].v.y, fits[source[i]].v.x);
}

}  // namespace

std::optional<ObjectState> RecordedState(const LogAgent& agent, double dt, double time) {
  int i = Before(agent, dt, time);
  if (i < 0) return std::nullopt;
  const LogState& s = agent.states[i];
  const bool exact = std::abs(s.step * dt - time) < 1e-6;
  const bool last = i + 1 >= static_cast<int>(agent.states.size());
  if (!exact && (last || (agent.states[i + 1].step - s.step) * dt > kGap + 1e-6)) return std::nullopt;
  ObjectState out{s.x, s.y, s.yaw};
  if (!exact) {
    const LogState& n = agent.states[i + 1];
    double t = (time / dt - s.step) / (n.step - s.step);
    out = {s.x + t * (n.x - s.x), s.y + t * (n.y - s.y), WrapAngle(s.yaw + t * WrapAngle(n.yaw - s.yaw))};
  }
  Fit f = FitAround(agent, dt, time, kFit);
  if (std::hypot(f.v.x, f.v.y) >= kStanding) {
    out.vx = f.v.x;
    out.vy = f.v.y;
  }
  return out;
}

std::vector<EgoMotion> EgoMotionOf(const LogAgent& agent, double dt, double start, int count,
                                   bool heading_from_motion) {
  std::vector<EgoMotion> out(count);
  std::vector<Fit> fits(count);
  for (int i = 0; i < count; ++i) {
    double time = start + 0.1 * i;
    if (!RecordedState(agent, dt, time)) return {};
    fits[i] = FitAround(agent, dt, time, kFit);
    out[i].heading = SmoothYaw(agent, dt, time);
  }
  if (heading_from_motion) HeadingFromMotion(fits, &out);
  for (int i = 0; i < count; ++i) {
    double c = std::cos(out[i].heading), s = std::sin(out[i].heading);
    out[i].x = fits[i].p.x - kEgoCentre * c;
    out[i].y = fits[i].p.y - kEgoCentre * s;
    out[i].v = fits[i].v.x * c + fits[i].v.y * s;
    Fit wide = FitAround(agent, dt, start + 0.1 * i, kFitAcceleration);
    out[i].a = wide.a.x * c + wide.a.y * s;
    int before = std::max(0, i - 3), after = std::min(count - 1, i + 3);
    out[i].yaw_rate = WrapAngle(out[after].heading - out[before].heading) / (0.1 * (after - before));
    if (std::abs(out[i].v) < kStanding) out[i].v = out[i].a = out[i].yaw_rate = 0;
  }
  return out;
}

}  // namespace swerve
