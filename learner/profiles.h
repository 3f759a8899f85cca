// The named objective profiles (spec: algorithm §6; golden/README_objectives.md): what each fixes and which knobs it
// has, with their defaults. One table, no behaviour. Plain values, thread-safe.
#ifndef SWERVE_LEARNER_PROFILES_H_
#define SWERVE_LEARNER_PROFILES_H_

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "base/status.h"

namespace swerve {

enum class Reduction {
  kGroups,      // elf: mean over kept groups of (1/n) Σ originals + (1/k) Σ slots, a row the mean of its tokens
  kSumOverT,    // Σ tokens / T
  kTokenMean,   // Σ tokens / number of tokens
  kRowMean,     // mean over rows of Σ tokens / (len + row_eps)
  kSumOverBT,   // Σ tokens / (rows · T)
};
enum class Fill { kBestOriginal, kNone };
enum class Gate { kOutcome, kNone };
// What a group of one unmasked row gets.
enum class Singleton { kDropped, kReward, kZero };

// Every knob of every profile; a profile reads only those it lists.
struct Knobs {
  bool scale_by_std = true;       // scale_rewards: group
  double advantage_eps = 1e-4;
  std::optional<double> epsilon = 0.2;  // empty: no clip
  std::optional<double> epsilon_high;   // empty: = epsilon
  std::optional<double> clip_ratio_c;   // dual clip
  std::optional<double> delta;          // cap of the unclipped ratio
  double beta = 0;
  std::optional<double> gamma;          // empty: f(x) = x
  int k = 0;                            // slots for refinements per group
  Fill fill = Fill::kBestOriginal;
  Gate gate = Gate::kOutcome;
  double min_span = 1e-6;
  double s = 0.8;                       // success threshold on r_traj
  std::array<double, 3> reward_weights = {1, 1, 1};  // traj, fmt, goal

  double high() const { return epsilon_high.value_or(epsilon.value_or(0)); }
};

struct Profile {
  std::string name;
  Reduction reduction;
  bool by_parts;        // rewards come as traj, fmt, goal (elf); otherwise as one total
  bool off_policy;      // has the shaped branch
  bool has_kl;          // reads ref_lp
  bool off_needs_old;   // luffy: ppo_kl runs over every row
  bool dual_clip;       // reports pg_clipfrac_lower
  Singleton singleton;
  double row_eps;       // kRowMean only
  double ratio_clamp;   // bound on |lp − old_lp|; infinity: none
  double kl_clamp;      // bound on |ref_lp − lp|
  double k3_cap;        // bound on the k3 value
  std::vector<std::string> knobs;  // names of those it has
  Knobs defaults;

  bool needs_T() const { return reduction == Reduction::kSumOverT || reduction == Reduction::kSumOverBT; }
  bool has_knob(absl::string_view name) const;
};

const std::vector<Profile>& AllProfiles();
// INVALID_ARGUMENT lists the known names.
absl::StatusOr<const Profile*> FindProfile(absl::string_view name);

}  // namespace swerve

#endif  // SWERVE_LEARNER_PROFILES_H_
