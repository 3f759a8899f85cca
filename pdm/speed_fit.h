// The least-squares fit of a speed profile to displacements (spec: PDM score §5.1), factored once.
// The penalty is the one NAVSIM really applies ("Trap"), not a penalty on jerk. In the speeds themselves it couples
// neighbours alone, except at the end:
//   minimise sum (along_i / dt - v_i)^2 + sum_{j <= 36} (v_{j+1} - v_j)^2 + (v_39 - 2 v_38 + v_37)^2,
// because lambda / dt^4 = 1. That is (1 + K) v = along / dt = L D L^T v.
#ifndef SWERVE_PDM_SPEED_FIT_H_
#define SWERVE_PDM_SPEED_FIT_H_

#include <array>

#include "pdm/types.h"

namespace swerve::pdm {

struct SpeedFit {
  std::array<double, kSteps> below{}, two_below{};  // L(i, i-1), L(i, i-2)
  std::array<double, kSteps> inverse{};             // of D
  static const SpeedFit& Get();                     // thread-safe
};

}  // namespace swerve::pdm

#endif  // SWERVE_PDM_SPEED_FIT_H_
