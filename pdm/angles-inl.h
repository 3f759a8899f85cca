// Angles in vector lanes. Included once per Highway target (no plain include guard): see Highway's documentation.
#if defined(SWERVE_PDM_ANGLES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SWERVE_PDM_ANGLES_INL_H_
#undef SWERVE_PDM_ANGLES_INL_H_
#else
#define SWERVE_PDM_ANGLES_INL_H_
#endif

#include "hwy/highway.h"
#include "pdm/lanes.h"

HWY_BEFORE_NAMESPACE();
namespace swerve::pdm {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using D = hn::CappedTag<double, kLanes>;
using V = hn::Vec<D>;

HWY_INLINE V Const(double v) { return hn::Set(D(), v); }
HWY_INLINE V LoadAt(const LaneValue& v, int lane) { return hn::Load(D(), v.lane + lane); }
HWY_INLINE void StoreAt(V value, LaneValue& v, int lane) { hn::Store(value, D(), v.lane + lane); }

// `fix` of every lane of `a` that `inside` does not hold. Rare, so lane by lane.
template <class M, class F>
HWY_NOINLINE V FixLanes(V a, M inside, F fix) {
  alignas(64) double value[kLanes];
  alignas(64) double good[kLanes];
  hn::Store(a, D(), value);
  hn::Store(hn::IfThenElseZero(inside, Const(1)), D(), good);
  for (size_t i = 0; i < hn::Lanes(D()); ++i) {
    if (good[i] == 0) value[i] = fix(value[i]);
  }
  return hn::Load(D(), value);
}

// As pdm::WrapAngle and pdm::PrincipalValue.
HWY_INLINE V WrapAngles(V a) {
  const auto inside = hn::Le(hn::Abs(a), Const(std::numbers::pi));
  return HWY_LIKELY(hn::AllTrue(D(), inside)) ? a : FixLanes(a, inside, [](double v) { return WrapAngle(v); });
}
HWY_INLINE V PrincipalValues(V a) {
  const auto inside = hn::And(hn::Ge(a, Const(-std::numbers::pi)), hn::Lt(a, Const(std::numbers::pi)));
  return HWY_LIKELY(hn::AllTrue(D(), inside)) ? a : FixLanes(a, inside, [](double v) { return PrincipalValue(v); });
}

// For |x| <= pi, to about an ulp: Taylor series on what is left of x beside the nearest multiple of pi/2.
HWY_INLINE void SinCos(V x, V* sine, V* cosine) {
  constexpr double kHalfPi = std::numbers::pi / 2, kHalfPiRest = 6.123233995736766e-17, kMagic = 0x1.8p52;
  const V n = hn::Sub(hn::Add(hn::Mul(x, Const(1 / kHalfPi)), Const(kMagic)), Const(kMagic));  // -2 … 2
  const V r = hn::Sub(hn::Sub(x, hn::Mul(n, Const(kHalfPi))), hn::Mul(n, Const(kHalfPiRest)));
  const V z = hn::Mul(r, r);
  auto horner = [z](V sum, double next) { return hn::Add(hn::Mul(sum, z), Const(next)); };
  V s = Const(-1 / 1307674368000.0);  // 15!
  V c = Const(1 / 20922789888000.0);  // 16!
  c = horner(c, -1 / 87178291200.0);
  s = horner(s, 1 / 6227020800.0);
  c = horner(c, 1 / 479001600.0);
  s = horner(s, -1 / 39916800.0);
  c = horner(c, -1 / 3628800.0);
  s = horner(s, 1 / 362880.0);
  c = horner(c, 1 / 40320.0);
  s = horner(s, -1 / 5040.0);
  c = horner(c, -1 / 720.0);
  s = horner(s, 1 / 120.0);
  c = horner(c, 1 / 24.0);
  s = horner(s, -1 / 6.0);
  s = hn::Add(r, hn::Mul(r, hn::Mul(z, s)));
  c = hn::Add(hn::Sub(Const(1), hn::Mul(Const(0.5), z)), hn::Mul(hn::Mul(z, z), c));
  const auto odd = hn::Eq(hn::Abs(n), Const(1)), far = hn::Eq(hn::Abs(n), Const(2));
  const V a = hn::IfThenElse(odd, c, s), b = hn::IfThenElse(odd, s, c);
  *sine = hn::IfThenElse(hn::Or(far, hn::Eq(n, Const(-1))), hn::Neg(a), a);
  *cosine = hn::IfThenElse(hn::Or(far, hn::Eq(n, Const(1))), hn::Neg(b), b);
}

}  // namespace HWY_NAMESPACE
}  // namespace swerve::pdm
HWY_AFTER_NAMESPACE();

#endif  // SWERVE_PDM_ANGLES_INL_H_
