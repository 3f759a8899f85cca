// The tracker of the simulation in vector lanes: two decoupled one-shot LQR problems that turn a 10 Hz reference into
// acceleration and steering-rate commands (spec: PDM score §5). Included once per Highway target.
#if defined(SWERVE_PDM_TRACKER_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SWERVE_PDM_TRACKER_INL_H_
#undef SWERVE_PDM_TRACKER_INL_H_
#else
#define SWERVE_PDM_TRACKER_INL_H_
#endif

#include "pdm/angles-inl.h"
#include "pdm/speed_fit.h"

HWY_BEFORE_NAMESPACE();
namespace swerve::pdm {
namespace HWY_NAMESPACE {

inline constexpr int kPreview = 10;
inline constexpr double kStoppingGain = 0.5, kStoppingSpeed = 0.2, kLongitudinalGain = 10.0 / 11.0;

// What the tracker follows, per step: direction of the reference heading, fitted speed, fitted curvature. The last
// curvature is repeated, so that every step has a whole preview.
struct Profile {
  std::array<LaneValue, kSteps> cosine, sine, speed;
  std::array<LaneValue, kSteps + kPreview - 1> curvature;
};

// Speeds from displacements along the reference headings: (1 + K) speed = along / dt, a matrix of one and two
// sub-diagonals, factored beforehand.
HWY_INLINE void FitSpeed(const LaneReference& r, int l, Profile* p) {
  static const SpeedFit& fit = SpeedFit::Get();
  V before = Const(0), two_before = Const(0);
  for (int i = 0; i < kSteps; ++i) {
    V s, c;
    SinCos(LoadAt(r.heading[i], l), &s, &c);
    StoreAt(c, p->cosine[i], l);
    StoreAt(s, p->sine[i], l);
    const V along = hn::Add(hn::Mul(hn::Sub(LoadAt(r.x[i + 1], l), LoadAt(r.x[i], l)), c),
                            hn::Mul(hn::Sub(LoadAt(r.y[i + 1], l), LoadAt(r.y[i], l)), s));
    V y = hn::Sub(hn::Mul(along, Const(1 / kDt)), hn::Mul(Const(fit.below[i]), before));
    if (fit.two_below[i] != 0) y = hn::Sub(y, hn::Mul(Const(fit.two_below[i]), two_before));
    StoreAt(y, p->speed[i], l);
    two_before = before;
    before = y;
  }
  V after = Const(0), two_after = Const(0);
  for (int i = kSteps - 1; i >= 0; --i) {
    V v = hn::Mul(LoadAt(p->speed[i], l), Const(fit.inverse[i]));
    if (i + 1 < kSteps) v = hn::Sub(v, hn::Mul(Const(fit.below[i + 1]), after));
    if (i + 2 < kSteps && fit.two_below[i + 2] != 0) v = hn::Sub(v, hn::Mul(Const(fit.two_below[i + 2]), two_after));
    StoreAt(v, p->speed[i], l);
    two_after = after;
    after = v;
  }
}

// In the curvatures themselves the normal equations are a chain: node i has weight (v_i dt)^2, neighbours are coupled
// by lambda/dt^2. Eliminating from the end, each node hands its predecessor a weight and a load; every term is
// positive, so nothing cancels even when all speeds are almost zero.
HWY_INLINE void FitCurvature(const LaneReference& r, int l, Profile* p) {
  constexpr double kCoupling = 1e-2 / (kDt * kDt), kInitialPenalty = 1e-10;
  alignas(64) LaneValue load[kSteps], inverse[kSteps];  // inverse of (coupling + weight)
  const V coupling = Const(kCoupling);
  V weight = Const(0), sum = Const(0), share = Const(0), next = LoadAt(r.heading[kSteps], l);
  for (int i = kSteps - 1; i >= 0; --i) {
    const V here = LoadAt(r.heading[i], l), a = hn::Mul(LoadAt(p->speed[i], l), Const(kDt));
    const V turn = WrapAngles(hn::Sub(next, here));
    weight = hn::Add(hn::Mul(a, a), hn::Mul(weight, share));
    sum = hn::Add(hn::Mul(a, turn), hn::Mul(sum, share));
    const V over = hn::Div(Const(1), hn::Add(coupling, weight));
    share = hn::Mul(coupling, over);
    StoreAt(over, inverse[i], l);
    StoreAt(sum, load[i], l);
    next = here;
  }
  V k = hn::Div(sum, hn::Add(weight, Const(kInitialPenalty)));
  StoreAt(k, p->curvature[0], l);
  for (int i = 1; i < kSteps; ++i) {
    k = hn::Mul(hn::Add(hn::Mul(coupling, k), LoadAt(load[i], l)), LoadAt(inverse[i], l));
    StoreAt(k, p->curvature[i], l);
  }
  for (int i = kSteps; i < kSteps + kPreview - 1; ++i) StoreAt(k, p->curvature[i], l);
}

// Command at step k. The lateral errors are rolled forward over the preview without steering; the response to a unit
// steering rate is a polynomial in speed and acceleration, whose sums over the preview are constants.
HWY_INLINE void Track(const Profile& p, const LaneReference& r, int k, int l, V x, V y, V heading, V v, V steering,
                      V* acceleration, V* steering_rate) {
  // With T1 = sum of j and T2 = sum of j^2 below i, over i = 0 … 9: sums of i, i^2, T1, T2 + i T1, i T2.
  constexpr double kS1 = 45, kS2 = 285, kT1 = 120, kT2 = 1410, kT3 = 4146;
  const V v_ref = LoadAt(p.speed[std::min(k + kPreview, kSteps - 1)], l);
  const V excess = hn::Sub(v, v_ref);
  const V a = hn::Mul(Const(-kLongitudinalGain), excess);
  const V dx = hn::Sub(x, LoadAt(r.x[k], l)), dy = hn::Sub(y, LoadAt(r.y[k], l));
  V e_lateral = hn::Sub(hn::Mul(LoadAt(p.cosine[k], l), dy), hn::Mul(LoadAt(p.sine[k], l), dx));
  V e_heading = WrapAngles(hn::Sub(heading, LoadAt(r.heading[k], l)));
  const V step = hn::Mul(a, Const(kDt * kDt)), bend = hn::Mul(steering, Const(1 / kWheelBase));
  V w = hn::Mul(v, Const(kDt));  // speed of the preview times dt
  for (int i = 0; i < kPreview; ++i) {
    e_lateral = hn::Add(e_lateral, hn::Mul(w, e_heading));
    e_heading = hn::Add(e_heading, hn::Mul(w, hn::Sub(bend, LoadAt(p.curvature[k + i], l))));
    w = hn::Add(w, step);
  }
  e_heading = WrapAngles(e_heading);
  const V ramp = hn::Mul(a, Const(kDt));
  const V b_heading = hn::Mul(Const(kDt * kDt / kWheelBase), hn::Add(hn::Mul(Const(kS1), v), hn::Mul(Const(kS2), ramp)));
  const V b_lateral = hn::Mul(
      Const(kDt * kDt * kDt / kWheelBase),
      hn::Add(hn::Mul(v, hn::Add(hn::Mul(Const(kT1), v), hn::Mul(Const(kT2), ramp))),
              hn::Mul(Const(kT3), hn::Mul(ramp, ramp))));
  const V top = hn::Add(hn::Mul(b_lateral, e_lateral), hn::Mul(Const(10), hn::Mul(b_heading, e_heading)));
  const V bottom =
      hn::Add(hn::Add(hn::Mul(b_lateral, b_lateral), hn::Mul(Const(10), hn::Mul(b_heading, b_heading))), Const(1));
  const V rate = hn::Neg(hn::Div(top, bottom));
  const auto stopping = hn::And(hn::Le(v_ref, Const(kStoppingSpeed)), hn::Le(v, Const(kStoppingSpeed)));
  *acceleration = hn::IfThenElse(stopping, hn::Mul(Const(-kStoppingGain), excess), a);
  *steering_rate = hn::IfThenZeroElse(stopping, rate);
}

}  // namespace HWY_NAMESPACE
}  // namespace swerve::pdm
HWY_AFTER_NAMESPACE();

#endif  // SWERVE_PDM_TRACKER_INL_H_
