// Plausible mistakes: plans and think sections that a policy could have answered instead of the good ones, so that
// supervised fine-tuning sees feedback prompts before any policy exists. Pure functions of their arguments and the
// random stream; poses in the ego frame (m, m, rad), 8 at 0.5 … 4.0 s.
#ifndef SWERVE_LEARNER_PERTURB_H_
#define SWERVE_LEARNER_PERTURB_H_

#include <string>
#include <vector>

#include "absl/types/span.h"
#include "base/random.h"
#include "swerve/v1/scene.pb.h"

namespace swerve {

enum class Mistake {
  kSpeed,             // the right path at 0.5 … 1.6 times the pace
  kConstantVelocity,  // straight on at the present speed
  kDrift,             // leaves the path to one side, 1.2 … 4.5 m at 4 s
  kWrongTurn,         // a turn nobody asked for, or none where one was due
  kLateBraking,       // keeps the present speed, then brakes hard
  kStops,             // brakes to a stop where nobody stops
  kJitter,            // the right plan with poses that jump
};
inline constexpr int kMistakes = 7;

// `plan` with that mistake. `speed` is the ego's at t = 0, m/s. Coordinates are rounded as responses write them.
// `plan` must have 8 poses.
std::vector<v1::Pose> MakeMistake(Mistake mistake, absl::Span<const v1::Pose> plan, double speed, Random& random);

// A drivable plan other than `plan`: its path at another pace, shifted smoothly to one side, or a stop on it.
std::vector<v1::Pose> OtherPlan(absl::Span<const v1::Pose> plan, double speed, Random& random);

// `think` with some of its numbers wrong, sometimes another meta-action, sometimes a clause missing.
std::string MisjudgeThink(const std::string& think, Random& random);

// A response that breaks the format: cut short, or without one of its marks.
std::string BreakFormat(const std::string& response, Random& random);

}  // namespace swerve

#endif  // SWERVE_LEARNER_PERTURB_H_
