// Learning-rate schedules by the names trainers use. Pure.
#ifndef SWERVE_LEARNER_SCHEDULE_H_
#define SWERVE_LEARNER_SCHEDULE_H_

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numbers>

#include "absl/strings/string_view.h"

namespace swerve {

// Factor of the base rate at optimiser step `step` (0-based) of `total`: linear warm-up over `warmup` steps, then
// "constant", "linear" or "cosine" decay to 0 at `total`.
inline double ScheduleFactor(absl::string_view kind, uint64_t step, uint64_t warmup, uint64_t total) {
  if (step < warmup) return static_cast<double>(step + 1) / static_cast<double>(warmup + 1);
  if (kind == "constant" || total <= warmup) return 1;
  const double done = std::min(1.0, static_cast<double>(step - warmup) / static_cast<double>(total - warmup));
  return kind == "linear" ? 1 - done : 0.5 * (1 + std::cos(std::numbers::pi * done));
}

}  // namespace swerve

#endif  // SWERVE_LEARNER_SCHEDULE_H_
