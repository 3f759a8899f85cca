#include "teacher_gateway/correction.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace swerve {
namespace {

constexpr double kStep = 0.5;       // s between poses
constexpr double kStill = 0.15;     // m per step that still counts as standing

std::string Sided(double value, int digits) {
  const double rounded = std::round(value * std::pow(10.0, digits));
  return absl::StrCat(rounded < 0 ? "right " : "left ", absl::StrFormat("%.*f", digits, std::abs(value)));
}

}  // namespace

Correction CorrectionOf(absl::Span<const v1::Pose> plan) {
  std::array<double, 8> step{};
  std::array<double, 8> sum{};
  double x = 0, y = 0, total = 0;
  for (size_t i = 0; i < 8; ++i) {
    step[i] = std::hypot(plan[i].x() - x, plan[i].y() - y);
    total += step[i];
    sum[i] = total;
    x = plan[i].x();
    y = plan[i].y();
  }
  Correction c;
  c.at2 = {(step[3] + step[4]) / (2 * kStep), sum[3], plan[3].y(), plan[3].heading()};
  // One-sided at the end of the plan: extrapolate half a step, so that a braking plan reads the speed it ends with.
  c.at4 = {std::max(0.0, (1.5 * step[7] - 0.5 * step[6]) / kStep), sum[7], plan[7].y(), plan[7].heading()};
  size_t moving = 8;
  while (moving > 0 && step[moving - 1] < kStill) --moving;
  if (moving < 8) c.stop_s = static_cast<double>(moving) * kStep;
  return c;
}

std::string LongitudinalText(const Correction& c) {
  std::string text;
  if (c.stop_s >= 0) text = absl::StrFormat("stop by %.1f s. ", c.stop_s);
  absl::StrAppendFormat(&text, "speed %.1f at 2 s, %.1f at 4 s. travel %.1f at 2 s, %.1f at 4 s.", c.at2.speed,
                        c.at4.speed, std::max(0.0, c.at2.travelled), std::max(0.0, c.at4.travelled));
  return text;
}

std::string LateralText(const Correction& c) {
  return absl::StrCat("shift ", Sided(c.at2.lateral, 1), " at 2 s, ", Sided(c.at4.lateral, 1), " at 4 s. heading ",
                      Sided(c.at2.heading, 2), " at 2 s, ", Sided(c.at4.heading, 2), " at 4 s.");
}

}  // namespace swerve
