#include "pdm/lanes.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "pdm/simulate_lanes.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "pdm/tracker-inl.h"

HWY_BEFORE_NAMESPACE();
namespace swerve::pdm {
namespace HWY_NAMESPACE {
namespace {

constexpr double kStep = 100000 * 1e-6;  // of the motion model; one ulp below 0.1, as there
constexpr double kAccelerationShare = kStep / (kStep + 0.2);
constexpr double kSteeringShare = kStep / (kStep + 0.05);
constexpr double kMaxSteering = std::numbers::pi / 3;

void Interpolate(const LanePlaces& places, const LaneKnots& knots, int lanes, LaneReference* out) {
  const int width = static_cast<int>(hn::Lanes(D()));
  for (int k = 0; k < kSamples; ++k) {
    const int i = places.knot[k];
    const V f = Const(places.fraction[k]);
    for (int l = 0; l < lanes; l += width) {
      auto between = [&](const auto& column) {
        const V a = LoadAt(column[i], l);
        return hn::Add(a, hn::Mul(f, hn::Sub(LoadAt(column[i + 1], l), a)));
      };
      StoreAt(between(knots.x), out->x[k], l);
      StoreAt(between(knots.y), out->y[k], l);
      StoreAt(PrincipalValues(between(knots.heading)), out->heading[k], l);
    }
  }
}

void SetFirst(const SimulationStart& start, int l, LaneStates* s) {
  const EgoRow& r = start.row;
  StoreAt(Const(r.x), s->x[0], l);
  StoreAt(Const(r.y), s->y[0], l);
  StoreAt(Const(r.heading), s->heading[0], l);
  StoreAt(Const(start.direction.x), s->cosine[0], l);
  StoreAt(Const(start.direction.y), s->sine[0], l);
  StoreAt(Const(r.vx), s->vx[0], l);
  StoreAt(Const(r.ax), s->ax[0], l);
  StoreAt(Const(r.steering), s->steering[0], l);
  StoreAt(Const(r.steering_rate), s->steering_rate[0], l);
  StoreAt(Const(r.yaw_rate), s->yaw_rate[0], l);
  StoreAt(Const(r.yaw_acceleration), s->yaw_acceleration[0], l);
}

// Row k to k + 1 (§6). `turning`: yaw rate that follows from speed and steering at k.
HWY_INLINE V Move(int k, int l, V acceleration_command, V rate_command, V turning, LaneStates* s) {
  const V v = LoadAt(s->vx[k], l), ax = LoadAt(s->ax[k], l), steering = LoadAt(s->steering[k], l);
  const V step = Const(kStep), per_step = Const(1 / kStep), way = hn::Mul(v, step);
  const V a = hn::Add(ax, hn::Mul(Const(kAccelerationShare), hn::Sub(acceleration_command, ax)));
  const V target = hn::Add(steering, hn::Mul(Const(kSteeringShare), hn::Mul(step, rate_command)));
  const V rate = hn::Mul(hn::Sub(target, steering), per_step);
  const V heading = PrincipalValues(hn::Add(LoadAt(s->heading[k], l), hn::Mul(turning, step)));
  const V speed = hn::Add(v, hn::Mul(a, step));
  V turned = hn::Add(steering, hn::Mul(rate, step));
  turned = hn::IfThenElse(hn::Lt(turned, Const(-kMaxSteering)), Const(-kMaxSteering), turned);
  turned = hn::IfThenElse(hn::Gt(turned, Const(kMaxSteering)), Const(kMaxSteering), turned);
  V s_heading, c_heading, s_steering, c_steering;
  SinCos(heading, &s_heading, &c_heading);
  SinCos(turned, &s_steering, &c_steering);
  const V yaw_rate = hn::Mul(hn::Mul(speed, hn::Div(s_steering, c_steering)), Const(1 / kWheelBase));
  StoreAt(hn::Add(LoadAt(s->x[k], l), hn::Mul(way, LoadAt(s->cosine[k], l))), s->x[k + 1], l);
  StoreAt(hn::Add(LoadAt(s->y[k], l), hn::Mul(way, LoadAt(s->sine[k], l))), s->y[k + 1], l);
  StoreAt(heading, s->heading[k + 1], l);
  StoreAt(c_heading, s->cosine[k + 1], l);
  StoreAt(s_heading, s->sine[k + 1], l);
  StoreAt(speed, s->vx[k + 1], l);
  StoreAt(a, s->ax[k + 1], l);
  StoreAt(turned, s->steering[k + 1], l);
  StoreAt(rate, s->steering_rate[k + 1], l);
  StoreAt(yaw_rate, s->yaw_rate[k + 1], l);
  StoreAt(hn::Mul(hn::Sub(yaw_rate, LoadAt(s->yaw_rate[k], l)), per_step), s->yaw_acceleration[k + 1], l);
  return yaw_rate;
}

void Simulate(const SimulationStart& start, const LaneReference& reference, int lanes, LaneStates* s) {
  const int width = static_cast<int>(hn::Lanes(D()));
  Profile profile;
  LaneValue turning;
  s->vy0 = start.row.vy;
  s->ay0 = start.row.ay;
  for (int l = 0; l < lanes; l += width) {
    FitSpeed(reference, l, &profile);
    FitCurvature(reference, l, &profile);
    SetFirst(start, l, s);
    StoreAt(Const(start.row.vx * start.tangent / kWheelBase), turning, l);
  }
  for (int k = 0; k < kSteps; ++k) {
    for (int l = 0; l < lanes; l += width) {
      V acceleration, rate;
      Track(profile, reference, k, l, LoadAt(s->x[k], l), LoadAt(s->y[k], l), LoadAt(s->heading[k], l),
            LoadAt(s->vx[k], l), LoadAt(s->steering[k], l), &acceleration, &rate);
      StoreAt(Move(k, l, acceleration, rate, LoadAt(turning, l), s), turning, l);
    }
  }
}

void Directions(const LaneValue& heading, LaneValue* cosine, LaneValue* sine) {
  for (int l = 0; l < kLanes; l += static_cast<int>(hn::Lanes(D()))) {
    V s, c;
    SinCos(PrincipalValues(LoadAt(heading, l)), &s, &c);
    StoreAt(c, *cosine, l);
    StoreAt(s, *sine, l);
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace swerve::pdm
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace swerve::pdm {
namespace {
HWY_EXPORT(Interpolate);
HWY_EXPORT(Simulate);
HWY_EXPORT(Directions);
}  // namespace

void InterpolateLanes(const LanePlaces& places, const LaneKnots& knots, int lanes, LaneReference* out) {
  HWY_DYNAMIC_DISPATCH(Interpolate)(places, knots, lanes, out);
}

void SimulateLanes(const SimulationStart& start, const LaneReference& reference, int lanes, LaneStates* out) {
  HWY_DYNAMIC_DISPATCH(Simulate)(start, reference, lanes, out);
}

void LaneDirections(const LaneValue& heading, LaneValue* cosine, LaneValue* sine) {
  HWY_DYNAMIC_DISPATCH(Directions)(heading, cosine, sine);
}

}  // namespace swerve::pdm
#endif  // HWY_ONCE
