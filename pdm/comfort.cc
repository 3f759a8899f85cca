#include "pdm/comfort.h"

#include <Eigen/Dense>
#include <algorithm>
#include <limits>
#include <mutex>

#include "pdm/comfort_lanes.h"

namespace swerve::pdm {
namespace {

constexpr std::array<ComfortBounds, kComfortLimits> kBounds = {{
    {"lon_acc", -4.05, 2.40},
    {"lat_acc", -4.89, 4.89},
    {"jerk", -8.37, 8.37},
    {"lon_jerk", -4.13, 4.13},
    {"yaw_acc", -1.93, 1.93},
    {"yaw_rate", -0.95, 0.95},
}};

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
  for (int i = 0; i < 2 * half_; ++i) {  // evaluated at the first and at the last half of the window
    const auto row = FitCoefficients(window_, degree, derivative, i < half_ ? i : window_ - 2 * half_ + i);
    edges_.insert(edges_.end(), row.begin(), row.end());
  }
}

void SavitzkyGolay::Apply(absl::Span<const double> in, double* out) const {
  for (int i = 0; i < samples_; ++i) {
    const Row row = At(i);
    double sum = 0;
    for (int k = 0; k < window_; ++k) sum += row.coefficients[k] * in[row.first + k];
    out[i] = RoundTo8(sum);
  }
}

Comfort Comfort::V1(double ay0) {
  static const auto smooth = std::make_shared<const SavitzkyGolay>(8, 2, 0, kSamples),
                    yaw_acceleration = std::make_shared<const SavitzkyGolay>(5, 3, 2, kSamples),
                    yaw_rate = std::make_shared<const SavitzkyGolay>(5, 2, 1, kSamples);
  static const SavitzkyGolay whole(41, 2, 0, kSamples);
  Comfort out;
  out.smooth_ = smooth;
  out.yaw_acceleration_ = yaw_acceleration;
  out.yaw_rate_ = yaw_rate;
  out.SetLateral(whole, ay0);
  return out;
}

namespace {

// The filters of a v2 check depend on the number of rows alone, which hardly varies, and take longer to make than a
// scene takes to prepare.
struct FiltersV2 {
  std::shared_ptr<const SavitzkyGolay> smooth, jerk, yaw_acceleration, yaw_rate;

  static FiltersV2 Of(int rows) {
    static std::array<std::once_flag, kMaxHistory + 1> made;
    static std::array<FiltersV2, kMaxHistory + 1> filters;
    const int h = rows - kSamples;
    std::call_once(made[h], [&] {
      filters[h] = {std::make_shared<const SavitzkyGolay>(8, 2, 0, rows), std::make_shared<const SavitzkyGolay>(15, 2, 1, rows),
                    std::make_shared<const SavitzkyGolay>(5, 3, 2, rows), std::make_shared<const SavitzkyGolay>(5, 2, 1, rows)};
    });
    return filters[h];
  }
};

}  // namespace

Comfort Comfort::V2(std::vector<EgoRow> history, double ay0) {
  Comfort out;
  history.resize(std::min<size_t>(history.size(), kMaxHistory));
  const int n = static_cast<int>(history.size()) + kSamples;
  out.history_ = std::move(history);
  out.at_centre_ = true;
  const FiltersV2 f = FiltersV2::Of(n);
  out.acceleration_ = out.smooth_ = f.smooth;
  out.jerk_ = f.jerk;
  out.yaw_acceleration_ = f.yaw_acceleration;
  out.yaw_rate_ = f.yaw_rate;
  out.SetLateral(*out.smooth_, ay0);
  return out;
}

// Lateral acceleration is known before any candidate is: it ends with the present.
void Comfort::SetLateral(const SavitzkyGolay& filter, double ay0) {
  const ComfortBounds& b = kBounds[kLatAcc];
  const int h = static_cast<int>(history_.size());
  std::vector<double> ay(h + kSamples), filtered(ay.size());
  for (int i = 0; i < h; ++i) ay[i] = history_[i].ay;
  ay[h] = ay0;
  filter.Apply(ay, filtered.data());
  double worst = -std::numeric_limits<double>::infinity();
  for (int i = 0; i < h + kSamples; ++i) {
    const double v = filtered[i], excess = std::max(v - b.high, b.low - v);
    lateral_holds_ &= v > b.low && v < b.high;
    if (excess > worst) {
      worst = excess;
      lateral_peak_ = {v, i - h};
    }
  }
}

void Comfort::Check(const LaneStates& states, int lanes, ComfortResult* out) const {
  CheckComfortLanes(*this, states, lanes, out);
  for (int l = 0; l < lanes; ++l) {
    out[l].holds[kLatAcc] = lateral_holds_;
    out[l].peak[kLatAcc] = lateral_peak_;
  }
}

ComfortResult Comfort::Check(const States& states) const {
  ComfortResult out;
  Check(PackStates(states), 1, &out);
  return out;
}

ExtendedFeatures::ExtendedFeatures(const States& states, int first, int rows) : rows_(rows) {
  Column magnitude, heading;
  for (int i = 0; i < rows; ++i) {
    const EgoRow& r = states[first + i];
    magnitude[i] = r.ay == 0 ? std::fabs(r.ax) : std::hypot(r.ax, r.ay);
    heading[i] = r.heading;
  }
  Filter(magnitude, heading);
}

ExtendedFeatures::ExtendedFeatures(const LaneStates& states, int lane, int first, int rows) : rows_(rows) {
  Column magnitude, heading;
  for (int i = 0; i < rows; ++i) {
    magnitude[i] = std::fabs(states.ax[first + i].lane[lane]);
    heading[i] = states.heading[first + i].lane[lane];
  }
  if (first == 0 && states.ay0 != 0) magnitude[0] = std::hypot(states.ax[0].lane[lane], states.ay0);
  Filter(magnitude, heading);
}

void ExtendedFeatures::Filter(const Column& magnitude, Column heading) {
  struct Filters {
    explicit Filters(int n) : smooth(8, 2, 0, n), jerk(15, 2, 1, n), yaw_rate(5, 2, 1, n), yaw_acceleration(5, 2, 2, n) {}
    SavitzkyGolay smooth, jerk, yaw_rate, yaw_acceleration;
  };
  constexpr int kMost = 5;  // samples between the frames
  static const std::vector<Filters> filters = [] {
    std::vector<Filters> out;
    for (int offset = 0; offset <= kMost; ++offset) out.emplace_back(kSamples - offset);
    return out;
  }();
  double turns = 0, before = heading[0];
  for (int i = 1; i < rows_; ++i) {
    const double h = heading[i];
    turns += std::nearbyint((h - before) / (2 * std::numbers::pi));
    before = h;
    heading[i] = h - 2 * std::numbers::pi * turns;
  }
  const Filters& f = filters[std::clamp(kSamples - rows_, 0, kMost)];
  const auto in = [this](const Column& series) { return absl::MakeConstSpan(series.data(), rows_); };
  f.smooth.Apply(in(magnitude), acceleration_.data());
  f.jerk.Apply(in(acceleration_), jerk_.data());
  f.yaw_rate.Apply(in(heading), yaw_rate_.data());
  f.yaw_acceleration.Apply(in(heading), yaw_acceleration_.data());
}

bool ExtendedFeatures::Comfortable(const ExtendedFeatures& previous) const {
  auto rms = [this](const auto& x, const auto& y) {
    double sum = 0;
    for (int i = 0; i < rows_; ++i) sum += (x[i] - y[i]) * (x[i] - y[i]);
    return std::sqrt(sum / rows_);
  };
  return rms(acceleration_, previous.acceleration_) <= 0.7 && rms(jerk_, previous.jerk_) <= 0.5 &&
         rms(yaw_rate_, previous.yaw_rate_) <= 0.1 && rms(yaw_acceleration_, previous.yaw_acceleration_) <= 0.1;
}

bool ExtendedComfort(const States& current, const States& previous, int offset) {
  const int rows = kSamples - offset;
  return ExtendedFeatures(current, 0, rows).Comfortable(ExtendedFeatures(previous, offset, rows));
}

}  // namespace swerve::pdm
