// Comfort (spec: PDM score §17): Savitzky-Golay filters as scipy has them, and the six limits.
// Pure and thread-safe; no allocation except where a filter is made.
#ifndef SWERVE_PDM_COMFORT_H_
#define SWERVE_PDM_COMFORT_H_

#include <array>
#include <vector>

#include "absl/types/span.h"
#include "pdm/types.h"

namespace swerve::pdm {

// SG(W, p, d) on series of n samples 0.1 s apart, mode "interp", scipy's half-sample shift for even windows included.
class SavitzkyGolay {
 public:
  SavitzkyGolay(int window, int degree, int derivative, int samples);
  // Both of `samples` length; `out` may not alias `in`. Output is rounded to 8 decimals, half to even.
  void Apply(absl::Span<const double> in, double* out) const;

 private:
  int window_, half_, samples_;
  std::vector<double> interior_;  // window coefficients
  std::vector<double> left_;      // window columns of half coefficients: sums of several outputs grow side by side
  std::vector<double> right_;
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
  int sample = 0;
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

// v1, "C": the 41 simulated rows.
ComfortResult ComfortV1(const States& states);

// v2, "HC": history rows followed by the simulated rows. At most kMaxHistory history rows are read.
inline constexpr int kMaxHistory = 64;
class ComfortV2 {
 public:
  explicit ComfortV2(std::vector<EgoRow> history);
  ComfortResult Check(const States& states) const;

 private:
  std::vector<EgoRow> history_;
  SavitzkyGolay acceleration_, jerk_, yaw_acceleration_, yaw_rate_;
};

// v2, "EC": simulated rows of the current and of the previous frame, both in one frame of reference; the previous
// frame lies `offset` samples earlier (1 … 5).
bool ExtendedComfort(const States& current, const States& previous, int offset);

}  // namespace swerve::pdm

#endif  // SWERVE_PDM_COMFORT_H_
