// The tracker of the simulation: two decoupled one-shot LQR problems that turn a 10 Hz reference into acceleration and
// steering-rate commands (spec: PDM score §5). Pure and thread-safe; no allocation after the first use.
#ifndef SWERVE_PDM_TRACKER_H_
#define SWERVE_PDM_TRACKER_H_

#include <array>

#include "pdm/types.h"

namespace swerve::pdm {

using TenHertz = std::array<Pose2, kSamples>;  // reference poses at 0, 0.1, …, 4.0 s, local frame

struct Command {
  double acceleration = 0;   // m/s^2
  double steering_rate = 0;  // rad/s
};

// Follows one reference, which must outlive it.
class Tracker {
 public:
  explicit Tracker(const TenHertz& reference);

  // Command at step k in [0, 40) for the simulated row of that step. Unlimited, as the rules have it.
  Command At(int k, const EgoRow& row) const;

  // The fitted profiles, 40 values: speed (m/s) and curvature (1/m) of the reference. For tests and facts.
  const std::array<double, kSteps>& speed() const { return speed_; }
  const std::array<double, kSteps>& curvature() const { return curvature_; }

 private:
  void FitSpeed();
  void FitCurvature();

  const TenHertz& reference_;
  std::array<Vec2, kSteps> direction_;  // of the reference headings
  std::array<double, kSteps> speed_, curvature_;
};

}  // namespace swerve::pdm

#endif  // SWERVE_PDM_TRACKER_H_
