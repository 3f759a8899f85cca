// The quadratic fitted to a whole series of 41 samples, by orthonormal polynomials: three sums instead of 41 rows of 41.
#ifndef SWERVE_PDM_WHOLE_FIT_H_
#define SWERVE_PDM_WHOLE_FIT_H_

#include <array>

#include "pdm/types.h"

namespace swerve::pdm {

struct WholeFit {
  std::array<double, kSamples> linear, quadratic;  // besides the constant 1 / sqrt(41)
  double linear_rate;                              // derivatives with respect to time, 1/s
  std::array<double, kSamples> quadratic_rate;
  static const WholeFit& Get();  // thread-safe
};

}  // namespace swerve::pdm

#endif  // SWERVE_PDM_WHOLE_FIT_H_
