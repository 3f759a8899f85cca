// From rewards to advantages, group by group (spec: algorithm §3.5–3.7): who is dropped and why, which original fills
// an empty slot, and each row's advantage. Needs no log-probabilities. Pure, float64.
#ifndef SWERVE_LEARNER_ADVANTAGES_H_
#define SWERVE_LEARNER_ADVANTAGES_H_

#include <string>
#include <vector>

#include "absl/types/span.h"
#include "learner/profiles.h"

namespace swerve {

// One response as the objective sees it before any log-probability.
struct ObjectiveRow {
  int group = 0;            // 0 … G−1
  bool off_policy = false;  // a selected refinement or guided row
  bool masked = false;      // sampling or scoring failed: as good as absent
  int length = 0;           // tokens
  double traj = 0, fmt = 0, goal = 0;  // profiles by parts (elf)
  double terms = 0;                    // of reward functions, added to the parts
  double reward = 0;                   // the other profiles
};

struct GroupPlan {
  bool kept = true;
  std::string drop_cause;     // empty, all_failed, all_succeeded, no_spread, no_originals
  std::vector<int> originals;    // unmasked rows
  std::vector<int> refinements;  // unmasked off-policy rows
  std::vector<int> fillers;      // the row duplicated, once per slot it fills
};

struct Advantages {
  std::vector<GroupPlan> groups;
  std::vector<double> values;  // per row; 0 for masked rows and dropped groups
};

// Rows must be valid (objective.h checks them).
Advantages ComputeAdvantages(const Profile& profile, const Knobs& knobs, absl::Span<const ObjectiveRow> rows, int groups);

// The reward the profile learns from.
double TotalReward(const Profile& profile, const Knobs& knobs, const ObjectiveRow& row);

}  // namespace swerve

#endif  // SWERVE_LEARNER_ADVANTAGES_H_
