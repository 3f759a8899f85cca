#include "pdm/comfort_lanes.h"

#include <limits>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "pdm/comfort_lanes.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "pdm/angles-inl.h"
#include "pdm/whole_fit.h"

HWY_BEFORE_NAMESPACE();
namespace swerve::pdm {
namespace HWY_NAMESPACE {
namespace {

constexpr double kUnits = 1e8;  // filtered values are whole multiples of 1e-8: kept as those multiples
constexpr int kMaxRows = kMaxHistory + kSamples;
using Column = std::array<LaneValue, kMaxRows>;

// The series of the rows, history first.
struct Signals {
  int n = 0;
  Column lon, magnitude, heading;
};

// One limit of one group of lanes.
struct Peak {
  explicit Peak(ComfortLimit limit)
      : low(std::nearbyint(BoundsOf(limit).low * kUnits)), high(std::nearbyint(BoundsOf(limit).high * kUnits)) {}

  HWY_INLINE void Take(V value, int i) {
    broken = hn::Or(broken, hn::Not(hn::And(hn::Gt(value, Const(low)), hn::Lt(value, Const(high)))));
    const V above = hn::Sub(value, Const(high)), below = hn::Sub(Const(low), value);
    const V excess = hn::IfThenElse(hn::Lt(above, below), below, above);
    const auto more = hn::Gt(excess, worst);
    worst = hn::IfThenElse(more, excess, worst);
    peak = hn::IfThenElse(more, value, peak);
    index = hn::IfThenElse(more, Const(i), index);
  }

  double low, high;
  V worst = Const(-std::numeric_limits<double>::infinity()), peak = Const(0), index = Const(0);
  hn::Mask<D> broken = hn::Lt(Const(0), Const(0));
};

void Finish(const Peak& p, ComfortLimit limit, int history, int l, int lanes, ComfortResult* out) {
  LaneValue value, index, broken;
  StoreAt(hn::Div(p.peak, Const(kUnits)), value, 0);
  StoreAt(p.index, index, 0);
  StoreAt(hn::IfThenElseZero(p.broken, Const(1)), broken, 0);
  for (int i = 0; i < static_cast<int>(hn::Lanes(D())) && l + i < lanes; ++i) {
    out[l + i].holds[limit] = broken.lane[i] == 0;
    out[l + i].peak[limit] = {value.lane[i], static_cast<int>(index.lane[i]) - history};
  }
}

// Output i of a filter, in units.
HWY_INLINE V Filtered(const SavitzkyGolay& f, const Column& in, int i, int l) {
  const SavitzkyGolay::Row row = f.At(i);
  V sum = hn::Mul(Const(row.coefficients[0]), LoadAt(in[row.first], l));
  for (int k = 1; k < f.window(); ++k) {
    sum = hn::Add(sum, hn::Mul(Const(row.coefficients[k]), LoadAt(in[row.first + k], l)));
  }
  return hn::Round(hn::Mul(sum, Const(kUnits)));
}

void Gather(const Comfort& comfort, const LaneStates& s, int l, Signals* out) {
  int n = 0;
  auto push = [&](V ax, V yaw_rate, V yaw_acceleration, V magnitude, V heading) {
    const V turning = hn::Add(hn::Mul(yaw_rate, yaw_rate), yaw_acceleration);
    StoreAt(comfort.at_centre() ? hn::Add(ax, hn::Mul(Const(kRearAxleToCentre), turning)) : ax, out->lon[n], l);
    StoreAt(magnitude, out->magnitude[n], l);
    StoreAt(heading, out->heading[n], l);
    ++n;
  };
  auto norm = [](double ax, double ay) { return ay == 0 ? std::fabs(ax) : std::sqrt(ax * ax + ay * ay); };
  for (const EgoRow& r : comfort.history()) {
    push(Const(r.ax), Const(r.yaw_rate), Const(r.yaw_acceleration), Const(norm(r.ax, r.ay)), Const(r.heading));
  }
  for (int t = 0; t < kSamples; ++t) {
    const V ax = LoadAt(s.ax[t], l);
    const V magnitude = t == 0 ? Const(norm(s.ax[0].lane[0], s.ay0)) : hn::Abs(ax);  // the start is common to all lanes
    push(ax, LoadAt(s.yaw_rate[t], l), LoadAt(s.yaw_acceleration[t], l), magnitude, LoadAt(s.heading[t], l));
  }
  out->n = n;
}

void Unwrap(int l, Signals* s) {
  constexpr double kTwoPi = 2 * std::numbers::pi;
  V before = LoadAt(s->heading[0], l), turns = Const(0);
  for (int i = 1; i < s->n; ++i) {
    const V here = LoadAt(s->heading[i], l), d = hn::Sub(here, before);
    if (!hn::AllTrue(D(), hn::Lt(hn::Abs(d), Const(3)))) {  // less than 3 rounds to no turn
      turns = hn::Add(turns, hn::Round(hn::Div(d, Const(kTwoPi))));
    }
    StoreAt(hn::Sub(here, hn::Mul(Const(kTwoPi), turns)), s->heading[i], l);
    before = here;
  }
}

// The quadratic fitted to the whole series, at every sample (§17.1: window = number of samples), or its derivative.
HWY_INLINE void TakeWhole(const Column& in, bool derivative, int l, Peak* peak) {
  static const WholeFit& fit = WholeFit::Get();
  V level = Const(0), slope = Const(0), bend = Const(0);
  for (int i = 0; i < kSamples; ++i) {
    const V y = LoadAt(in[i], l);
    level = hn::Add(level, y);
    slope = hn::Add(slope, hn::Mul(Const(fit.linear[i]), y));
    bend = hn::Add(bend, hn::Mul(Const(fit.quadratic[i]), y));
  }
  level = hn::Mul(level, Const(1.0 / kSamples));
  for (int i = 0; i < kSamples; ++i) {
    const V at = derivative ? hn::Add(hn::Mul(slope, Const(fit.linear_rate)), hn::Mul(bend, Const(fit.quadratic_rate[i])))
                            : hn::Add(level, hn::Add(hn::Mul(slope, Const(fit.linear[i])), hn::Mul(bend, Const(fit.quadratic[i]))));
    peak->Take(hn::Round(hn::Mul(at, Const(kUnits))), i);
  }
}

// Smoothed, then differentiated.
void TakeJerk(const Comfort& comfort, const Column& in, int n, int l, Column* smooth, Peak* acceleration, Peak* jerk) {
  for (int i = 0; i < n; ++i) {
    const V value = Filtered(comfort.smooth(), in, i, l);
    if (acceleration != nullptr) acceleration->Take(value, i);
    StoreAt(hn::Mul(value, Const(1 / kUnits)), (*smooth)[i], l);
  }
  if (comfort.jerk() == nullptr) return TakeWhole(*smooth, true, l, jerk);
  for (int i = 0; i < n; ++i) jerk->Take(Filtered(*comfort.jerk(), *smooth, i, l), i);
}

void CheckComfort(const Comfort& comfort, const LaneStates& states, int lanes, ComfortResult* out) {
  Signals s;
  Column smooth;
  for (int l = 0; l < lanes; l += static_cast<int>(hn::Lanes(D()))) {
    Gather(comfort, states, l, &s);
    Unwrap(l, &s);
    Peak lon(kLonAcc), jerk(kJerk), lon_jerk(kLonJerk), yaw_acceleration(kYawAcc), yaw_rate(kYawRate);
    // Where acceleration is filtered as before a jerk, it is filtered once.
    const bool whole = comfort.acceleration() == nullptr;
    if (whole) TakeWhole(s.lon, false, l, &lon);
    TakeJerk(comfort, s.magnitude, s.n, l, &smooth, nullptr, &jerk);
    TakeJerk(comfort, s.lon, s.n, l, &smooth, whole ? nullptr : &lon, &lon_jerk);
    for (int i = 0; i < s.n; ++i) yaw_acceleration.Take(Filtered(comfort.yaw_acceleration(), s.heading, i, l), i);
    for (int i = 0; i < s.n; ++i) yaw_rate.Take(Filtered(comfort.yaw_rate(), s.heading, i, l), i);
    const int history = static_cast<int>(comfort.history().size());
    Finish(lon, kLonAcc, history, l, lanes, out);
    Finish(jerk, kJerk, history, l, lanes, out);
    Finish(lon_jerk, kLonJerk, history, l, lanes, out);
    Finish(yaw_acceleration, kYawAcc, history, l, lanes, out);
    Finish(yaw_rate, kYawRate, history, l, lanes, out);
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace swerve::pdm
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace swerve::pdm {
namespace {
HWY_EXPORT(CheckComfort);
}  // namespace

const WholeFit& WholeFit::Get() {
  static const WholeFit fit = [] {
    constexpr long double kMiddle = kSteps / 2.0L;
    long double squares = 0, fourths = 0, mean = 0;
    for (int i = 0; i < kSamples; ++i) mean += (i - kMiddle) * (i - kMiddle) / kSamples;
    for (int i = 0; i < kSamples; ++i) {
      const long double x = i - kMiddle, q = x * x - mean;
      squares += x * x;
      fourths += q * q;
    }
    WholeFit out;
    const long double a = 1 / std::sqrt(squares), b = 1 / std::sqrt(fourths), per_second = 10;
    for (int i = 0; i < kSamples; ++i) {
      const long double x = i - kMiddle;
      out.linear[i] = static_cast<double>(a * x);
      out.quadratic[i] = static_cast<double>(b * (x * x - mean));
      out.quadratic_rate[i] = static_cast<double>(per_second * b * 2 * x);
    }
    out.linear_rate = static_cast<double>(per_second * a);
    return out;
  }();
  return fit;
}

void CheckComfortLanes(const Comfort& comfort, const LaneStates& states, int lanes, ComfortResult* out) {
  HWY_DYNAMIC_DISPATCH(CheckComfort)(comfort, states, lanes, out);
}

}  // namespace swerve::pdm
#endif  // HWY_ONCE
