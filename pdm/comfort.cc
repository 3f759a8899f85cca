#include "pdm/comfort.h"

#include <Eigen/Dense>
#include <algorithm>
#include <limits>

namespace swerve::pdm {
namespace {

constexpr int kMaxRows = kMaxHistory + kSamples;
constexpr std::array<ComfortBounds, kComfortLimits> kBounds = {{
    {"lon_acc", -4.05, 2.40},
    {"lat_acc", -4.89, 4.89},
    {"jerk", -8.37, 8.37},
    {"lon_jerk", -4.13, 4.13},
    {"yaw_acc", -1.93, 1.93},
    {"yaw_rate", -0.95, 0.95},
}};

using Series = std::array<double, kMaxRows>;

// The rows a comfort check reads, as series.
struct Signals {
  int n = 0;
  Series lon, lat, magnitude, heading;
  void Push(double lon_acc, double ax, double ay, double h) {
    lon[n] = lon_acc;
    lat[n] = ay;
    magnitude[n] = ay == 0 ? std::fabs(ax) : std::hypot(ax, ay);
    heading[n] = h;
    ++n;
  }
  void Unwrap() {
    double turns = 0, before = heading[0];
    for (int i = 1; i < n; ++i) {
      double h = heading[i];
      turns += std::nearbyint((h - before) / (2 * std::numbers::pi));
      before = h;
      heading[i] = h - 2 * std::numbers::pi * turns;
    }
  }
};

struct Filters {
  const SavitzkyGolay& acceleration;  // of the two acceleration checks
  const SavitzkyGolay& smooth;        // before a jerk
  const SavitzkyGolay& jerk;
  const SavitzkyGolay& yaw_acceleration;
  const SavitzkyGolay& yaw_rate;
};

void CheckLimit(ComfortLimit limit, const double* values, int n, ComfortResult* out) {
  const ComfortBounds& b = kBounds[limit];
  double worst = -std::numeric_limits<double>::infinity();
  bool holds = true;
  for (int i = 0; i < n; ++i) {
    double v = values[i];
    holds &= v > b.low && v < b.high;
    double excess = std::max(v - b.high, b.low - v);
    if (excess > worst) {
      worst = excess;
      out->peak[limit] = {v, i};
    }
  }
  out->holds[limit] = holds;
}

ComfortResult Check(const Signals& s, const Filters& f) {
  ComfortResult out;
  Series a, b;
  auto in = [&](const Series& x) { return absl::MakeConstSpan(x.data(), s.n); };
  f.acceleration.Apply(in(s.lon), a.data());
  CheckLimit(kLonAcc, a.data(), s.n, &out);
  f.acceleration.Apply(in(s.lat), a.data());
  CheckLimit(kLatAcc, a.data(), s.n, &out);
  f.smooth.Apply(in(s.magnitude), a.data());
  f.jerk.Apply(in(a), b.data());
  CheckLimit(kJerk, b.data(), s.n, &out);
  f.smooth.Apply(in(s.lon), a.data());
  f.jerk.Apply(in(a), b.data());
  CheckLimit(kLonJerk, b.data(), s.n, &out);
  f.yaw_acceleration.Apply(in(s.heading), a.data());
  CheckLimit(kYawAcc, a.data(), s.n, &out);
  f.yaw_rate.Apply(in(s.heading), a.data());
  CheckLimit(kYawRate, a.data(), s.n, &out);
  return out;
}

// Coefficients that give the d-th derivative, at position `at`, of the polynomial fitted to samples 0 … window-1.
std::vector<double> FitCoefficients(int window, int degree, int derivative, double at) {
  using Matrix = Eigen::Matrix<long double, Eigen::Dynamic, Eigen::Dynamic>;
  Matrix powers(window, degree + 1);
  for (int i = 0; i < window; ++i) {
    long double x = i - static_cast<long double>(at), p = 1;
    for (int j = 0; j <= degree; ++j, p *= x) powers(i, j) = p;
  }
  Matrix coefficients = powers.householderQr().solve(Matrix::Identity(window, window));
  long double scale = 1;
  for (int k = 1; k <= derivative; ++k) scale *= k / 0.1L;
  std::vector<double> out(window);
  for (int i = 0; i < window; ++i) {
    out[i] = derivative <= degree ? static_cast<double>(scale * coefficients(derivative, i)) : 0.0;
  }
  return out;
}

}  // namespace

const ComfortBounds& BoundsOf(ComfortLimit limit) { return kBounds[limit]; }

double RoundTo8(double x) {
  constexpr double kMagic = 0x1.8p52;  // adding it leaves no room for a fraction: the unit rounds half to even
  double y = x * 1e8;
  if (!(std::fabs(y) < 0x1p51)) return std::nearbyint(y) / 1e8;
  return ((y + kMagic) - kMagic) / 1e8;
}

SavitzkyGolay::SavitzkyGolay(int window, int degree, int derivative, int samples)
    : window_(std::min(window, samples)), half_(window_ / 2), samples_(samples) {
  interior_ = FitCoefficients(window_, degree, derivative, window_ % 2 == 1 ? half_ : half_ - 0.5);
  left_.resize(static_cast<size_t>(half_) * window_);
  right_.resize(left_.size());
  for (int i = 0; i < half_; ++i) {
    auto l = FitCoefficients(window_, degree, derivative, i);
    auto r = FitCoefficients(window_, degree, derivative, window_ - half_ + i);
    for (int k = 0; k < window_; ++k) {
      left_[static_cast<size_t>(k) * half_ + i] = l[k];
      right_[static_cast<size_t>(k) * half_ + i] = r[k];
    }
  }
}

void SavitzkyGolay::Apply(absl::Span<const double> in, double* out) const {
  const double* y = in.data();
  const int n = samples_, w = window_, half = half_;
  // Every output is its products summed in the order of the window; the outputs' sums grow side by side.
  std::array<double, kMaxRows> sum{};
  double* const right = sum.data() + n - half;
  for (int k = 0; k < w; ++k) {
    const double *l = &left_[static_cast<size_t>(k) * half], *r = &right_[static_cast<size_t>(k) * half];
    const double first = y[k], last = y[n - w + k];
    for (int i = 0; i < half; ++i) sum[i] += l[i] * first;
    for (int i = 0; i < half; ++i) right[i] += r[i] * last;
  }
  const int begin = half - (w % 2 == 0 ? 1 : 0);  // samples before i that the window holds
  for (int k = 0; k < w; ++k) {
    const double c = interior_[k];
    const double* shifted = y + k - begin;
    for (int i = half; i < n - half; ++i) sum[i] += c * shifted[i];
  }
  for (int i = 0; i < n; ++i) out[i] = RoundTo8(sum[i]);
}

ComfortResult ComfortV1(const States& states) {
  static const SavitzkyGolay acceleration(41, 2, 0, kSamples), smooth(8, 2, 0, kSamples), jerk(41, 2, 1, kSamples),
      yaw_acceleration(5, 3, 2, kSamples), yaw_rate(5, 2, 1, kSamples);
  Signals s;
  for (const EgoRow& r : states) s.Push(r.ax, r.ax, r.ay, r.heading);
  s.Unwrap();
  return Check(s, {acceleration, smooth, jerk, yaw_acceleration, yaw_rate});
}

ComfortV2::ComfortV2(std::vector<EgoRow> history)
    : history_(std::move(history)),
      acceleration_(8, 2, 0, static_cast<int>(history_.size()) + kSamples),
      jerk_(15, 2, 1, static_cast<int>(history_.size()) + kSamples),
      yaw_acceleration_(5, 3, 2, static_cast<int>(history_.size()) + kSamples),
      yaw_rate_(5, 2, 1, static_cast<int>(history_.size()) + kSamples) {}

ComfortResult ComfortV2::Check(const States& states) const {
  Signals s;
  auto push = [&](const EgoRow& r) {
    s.Push(r.ax + kRearAxleToCentre * (r.yaw_rate * r.yaw_rate + r.yaw_acceleration), r.ax, r.ay, r.heading);
  };
  for (const EgoRow& r : history_) push(r);
  for (const EgoRow& r : states) push(r);
  s.Unwrap();
  return pdm::Check(s, {acceleration_, acceleration_, jerk_, yaw_acceleration_, yaw_rate_});
}

bool ExtendedComfort(const States& current, const States& previous, int offset) {
  int n = kSamples - offset;
  const SavitzkyGolay smooth(8, 2, 0, n), jerk(15, 2, 1, n), yaw_rate(5, 2, 1, n), yaw_acceleration(5, 2, 2, n);
  Signals a, b;
  for (int i = 0; i < n; ++i) {
    const EgoRow &x = current[i], &y = previous[i + offset];
    a.Push(x.ax, x.ax, x.ay, x.heading);
    b.Push(y.ax, y.ax, y.ay, y.heading);
  }
  a.Unwrap();
  b.Unwrap();
  auto rms = [n](const Series& x, const Series& y) {
    double sum = 0;
    for (int i = 0; i < n; ++i) sum += (x[i] - y[i]) * (x[i] - y[i]);
    return std::sqrt(sum / n);
  };
  auto filtered = [n](const SavitzkyGolay& f, const Series& in) {
    Series out;
    f.Apply(absl::MakeConstSpan(in.data(), n), out.data());
    return out;
  };
  Series acc_a = filtered(smooth, a.magnitude), acc_b = filtered(smooth, b.magnitude);
  return rms(acc_a, acc_b) <= 0.7 && rms(filtered(jerk, acc_a), filtered(jerk, acc_b)) <= 0.5 &&
         rms(filtered(yaw_rate, a.heading), filtered(yaw_rate, b.heading)) <= 0.1 &&
         rms(filtered(yaw_acceleration, a.heading), filtered(yaw_acceleration, b.heading)) <= 0.1;
}

}  // namespace swerve::pdm
