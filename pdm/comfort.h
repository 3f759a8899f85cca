// Comfort (spec: PDM score §17): Savitzky-Golay filters as scipy has them, and the six limits, for candidates side by
// side (lanes.h). Pure and thread-safe; no allocation except where a filter is made.
#ifndef SWERVE_PDM_COMFORT_H_
#define SWERVE_PDM_COMFORT_H_

#include <array>
#include <memory>
#include <vector>

#include "absl/types/span.h"
#include "pdm/lanes.h"
#include "pdm/types.h"

namespace swerve::pdm {

// SG(W, p, d) on series of n samples 0.1 s apart, mode "interp", scipy's half-sample shift for even windows included.
class SavitzkyGolay {
 public:
  SavitzkyGolay(int window, int degree, int derivative, int samples);
  // Both of `samples` length; `out` may not alias `in`. Output is rounded to 8 decimals, half to even.
  void Apply(absl::Span<const double> in, double* out) const;

  // Output i is the sum of coefficients[k] * in[first + k], k = 0 … window() - 1, not yet rounded.
  struct Row {
    const double* coefficients;
    int first;
  };
  Row At(int i) const {
    if (i < half_) return {&edges_[static_cast<size_t>(i) * window_], 0};
    if (i >= samples_ - half_) return {&edges_[static_cast<size_t>(i - samples_ + 2 * half_) * window_], samples_ - window_};
    return {interior_.data(), i - half_ + (window_ % 2 == 0 ? 1 : 0)};
  }
  int window() const { return window_; }

 private:
  int window_, half_, samples_;
  std::vector<double> interior_;  // window coefficients
  std::vector<double> edges_;     // rows of them: half at the start, half at the end
};

// rint(x * 1e8) / 1e8.
double RoundTo8(double x);

enum ComfortLimit { kLonAcc, kLatAcc, kJerk, kLonJerk, kYawAcc, kYawRate, kComfortLimits };
struct ComfortBounds {
  const char* name;
  double low, high;  // a value must lie strictly between
};
const ComfortBounds& BoundsOf(ComfortLimit limit);

// The largest excess over one limit; excess <= 0 (or NaN never) means the limit holds.
struct ComfortPeak {
  double value = 0;  // of the filtered series, where it exceeds most or comes nearest
  int sample = 0;    // of 0.1 s, 0 is the present; negative: a row of the history
};

struct ComfortResult {
  std::array<bool, kComfortLimits> holds{};
  std::array<ComfortPeak, kComfortLimits> peak{};
  bool all() const {
    for (bool h : holds) {
      if (!h) return false;
    }
    return true;
  }
};

// What a comfort check reads and filters with, the same for all candidates of a scene.
class Comfort {
 public:
  // v1, "C": the simulated rows. `ay0`: lateral acceleration of the first, the only one that is not 0.
  static Comfort V1(double ay0);
  // v2, "HC": history rows followed by the simulated rows. At most kMaxHistory history rows are read.
  static Comfort V2(std::vector<EgoRow> history, double ay0);

  // Of the first `lanes` lanes, into out[0 … lanes).
  void Check(const LaneStates& states, int lanes, ComfortResult* out) const;
  ComfortResult Check(const States& states) const;

  // For Check. Null filters: the window is the whole series, which one quadratic then fits.
  const std::vector<EgoRow>& history() const { return history_; }
  bool at_centre() const { return at_centre_; }
  const SavitzkyGolay* acceleration() const { return acceleration_.get(); }
  const SavitzkyGolay* jerk() const { return jerk_.get(); }
  const SavitzkyGolay& smooth() const { return *smooth_; }
  const SavitzkyGolay& yaw_acceleration() const { return *yaw_acceleration_; }
  const SavitzkyGolay& yaw_rate() const { return *yaw_rate_; }

 private:
  Comfort() = default;
  void SetLateral(const SavitzkyGolay& filter, double ay0);

  std::vector<EgoRow> history_;
  bool at_centre_ = false;  // longitudinal acceleration is the centre's
  std::shared_ptr<const SavitzkyGolay> acceleration_, jerk_, smooth_, yaw_acceleration_, yaw_rate_;
  bool lateral_holds_ = true;
  ComfortPeak lateral_peak_;
};
inline constexpr int kMaxHistory = 64;

// v2, "EC": what is compared between the plans of two frames. Rows from `first` on, in one frame of reference.
class ExtendedFeatures {
 public:
  ExtendedFeatures(const States& states, int first, int rows);
  ExtendedFeatures(const LaneStates& states, int lane, int first, int rows);

  // `this`: the current frame's rows 0 … rows-1; `previous`: those that lie at the same times.
  bool Comfortable(const ExtendedFeatures& previous) const;

 private:
  using Column = std::array<double, kSamples>;
  void Filter(const Column& magnitude, Column heading);

  int rows_;
  Column acceleration_, jerk_, yaw_rate_, yaw_acceleration_;
};
// The previous frame lies `offset` samples earlier (1 … 5).
bool ExtendedComfort(const States& current, const States& previous, int offset);

}  // namespace swerve::pdm

#endif  // SWERVE_PDM_COMFORT_H_
