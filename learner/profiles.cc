#include "learner/profiles.h"

#include <algorithm>
#include <limits>

#include "absl/strings/str_join.h"

namespace swerve {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();

Profile Elf() {
  Profile p{.name = "elf", .reduction = Reduction::kGroups, .by_parts = true, .off_policy = true, .has_kl = true,
            .off_needs_old = false, .dual_clip = false, .singleton = Singleton::kDropped, .row_eps = 0,
            .ratio_clamp = 20, .kl_clamp = 20, .k3_cap = kInf,
            .knobs = {"scale_rewards", "advantage_eps", "epsilon", "epsilon_high", "beta", "gamma", "k", "fill", "gate",
                      "min_span", "s", "reward_weights"}};
  p.defaults.beta = 0.04;
  p.defaults.gamma = 0.1;
  p.defaults.k = 1;
  return p;
}

Profile Luffy(std::string name, bool paper) {
  Profile p{.name = std::move(name), .reduction = paper ? Reduction::kTokenMean : Reduction::kSumOverT,
            .by_parts = false, .off_policy = true, .has_kl = false, .off_needs_old = !paper, .dual_clip = false,
            .singleton = Singleton::kReward, .row_eps = 0, .ratio_clamp = kInf, .kl_clamp = kInf, .k3_cap = kInf,
            .knobs = {"scale_rewards", "advantage_eps", "epsilon", "epsilon_high", "gamma"}};
  p.defaults.scale_by_std = paper;
  p.defaults.advantage_eps = 1e-6;
  if (!paper) p.defaults.epsilon.reset();
  p.defaults.gamma = 0.1;
  return p;
}

Profile Verl(std::string name, bool dapo) {
  Profile p{.name = std::move(name), .reduction = dapo ? Reduction::kTokenMean : Reduction::kRowMean,
            .by_parts = false, .off_policy = false, .has_kl = true, .off_needs_old = false, .dual_clip = true,
            .singleton = Singleton::kReward, .row_eps = 1e-8, .ratio_clamp = 20, .kl_clamp = 20, .k3_cap = 10,
            .knobs = {"scale_rewards", "advantage_eps", "epsilon", "epsilon_high", "clip_ratio_c", "beta"}};
  p.defaults.advantage_eps = 1e-6;
  p.defaults.clip_ratio_c = 3;
  if (dapo) p.defaults.epsilon_high = 0.28;
  p.defaults.beta = dapo ? 0 : 0.001;
  return p;
}

Profile Trl(std::string name, Reduction reduction) {
  Profile p{.name = std::move(name), .reduction = reduction, .by_parts = false, .off_policy = false, .has_kl = true,
            .off_needs_old = false, .dual_clip = false, .singleton = Singleton::kZero, .row_eps = 0,
            .ratio_clamp = kInf, .kl_clamp = kInf, .k3_cap = kInf,
            .knobs = {"scale_rewards", "advantage_eps", "epsilon", "epsilon_high", "delta", "beta"}};
  if (reduction == Reduction::kTokenMean) p.defaults.epsilon_high = 0.28;
  return p;
}

}  // namespace

bool Profile::has_knob(absl::string_view knob) const {
  return std::find(knobs.begin(), knobs.end(), knob) != knobs.end();
}

const std::vector<Profile>& AllProfiles() {
  static const auto* all = new std::vector<Profile>{
      Elf(),
      Luffy("luffy", false),
      Luffy("luffy_paper", true),
      Verl("grpo_verl", false),
      Verl("dapo_verl", true),
      Trl("grpo_trl", Reduction::kRowMean),
      Trl("dapo_trl", Reduction::kTokenMean),
      Trl("dr_grpo_trl", Reduction::kSumOverBT),
  };
  return *all;
}

absl::StatusOr<const Profile*> FindProfile(absl::string_view name) {
  std::vector<std::string> names;
  for (const Profile& p : AllProfiles()) {
    if (p.name == name) return &p;
    names.push_back(p.name);
  }
  return absl::InvalidArgumentError(
      absl::StrCat("unknown profile \"", name, "\"; allowed: ", absl::StrJoin(names, ", ")));
}

}  // namespace swerve
