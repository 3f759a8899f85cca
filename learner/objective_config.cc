#include "learner/objective_config.h"

namespace swerve {

absl::StatusOr<ObjectiveSettings> ObjectiveOf(const v1::RunConfig& config) {
  const v1::LearnerConfig& c = config.learner();
  const v1::LearnerConfig usual;
  ObjectiveSettings out;
  absl::StatusOr<const Profile*> profile = FindProfile(c.profile());
  if (!profile.ok()) return Annotate(profile.status(), "learner.profile");
  out.profile = *profile;
  out.knobs = out.profile->defaults;
  out.T = config.rollout().max_new_tokens();
  const bool elf = out.profile->by_parts;
  Knobs& k = out.knobs;
  if (elf || c.epsilon() != usual.epsilon()) k.epsilon = c.epsilon();
  if (c.has_epsilon_high()) k.epsilon_high = c.epsilon_high();
  if (out.profile->has_kl && (elf || c.beta() != usual.beta())) k.beta = c.beta();
  if (out.profile->off_policy) {
    if (c.shaping()) {
      k.gamma = c.gamma();
    } else {
      k.gamma.reset();
    }
  }
  if (elf || c.scale_rewards() != usual.scale_rewards()) k.scale_by_std = c.scale_rewards() == "group";
  if (!elf) return out;
  k.k = config.teacher().kind() == "none" ? 0 : config.rollout().k();
  k.fill = c.fill() == "none" ? Fill::kNone : Fill::kBestOriginal;
  k.gate = c.gate() == "none" ? Gate::kNone : Gate::kOutcome;
  k.s = config.rollout().success_threshold();
  const auto& weights = config.reward().reward_weights();
  for (int i = 0; i < 3 && weights.size() == 3; ++i) k.reward_weights[i] = weights[i];
  return out;
}

}  // namespace swerve
