#include "learner/gap_watch.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_format.h"

namespace swerve {
namespace {

constexpr double kNoise = 2e-3;  // nats a token: no float type's rounding to argue about below it
constexpr double kMany = 4;
constexpr double kAny = 0.1;  // beyond what bfloat16 explains, whatever was seen before

}  // namespace

std::string GapWatch::See(double gap) {
  if (!std::isfinite(gap)) return "";
  least_ = std::min(least_, gap);
  if (least_ > kAny) {
    return absl::StrFormat(
        "the engine's log-probabilities differ from the learner's by %.2g a token with the same weights: what generates and what trains do "
        "not compute the same policy (docs/engines.md, Weights)",
        gap);
  }
  if (gap <= std::min(kAny, std::max(kNoise, kMany * least_))) return "";
  return absl::StrFormat(
      "the engine's log-probabilities differ from the learner's by %.2g a token with the same weights, and differed by %.2g before: what "
      "generates does not compute with all of the weights that it says it loaded (docs/engines.md, Weights)",
      gap, least_);
}

}  // namespace swerve
