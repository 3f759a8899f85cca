// The objective a run's configuration asks for. Pure.
#ifndef SWERVE_LEARNER_OBJECTIVE_CONFIG_H_
#define SWERVE_LEARNER_OBJECTIVE_CONFIG_H_

#include "learner/profiles.h"
#include "swerve/v1/config.pb.h"

namespace swerve {

struct ObjectiveSettings {
  const Profile* profile = nullptr;
  Knobs knobs;
  int T = 0;  // padded response length: rollout.max_new_tokens
};

// Profile `elf` takes every knob from the configuration; with teacher none it has no slots (k = 0): plain GRPO, since
// fillers without feedback would only weigh the best original twice. The other profiles keep their own defaults for a
// field that stands at the default of config.proto. INVALID_ARGUMENT: unknown profile.
absl::StatusOr<ObjectiveSettings> ObjectiveOf(const v1::RunConfig& config);

}  // namespace swerve

#endif  // SWERVE_LEARNER_OBJECTIVE_CONFIG_H_
