// The learner's objective, value and gradient, exactly (spec: algorithm §4, §6; golden/README_objectives.md). float64.
//
// Three steps, so that a trainer can cut a batch into micro-batches without changing a digit:
//   1. ObjectivePlan::Create(rewards)    advantages, dropped groups, fillers and every denominator: before any forward
//   2. plan.Evaluate(row, log-probs)     one row's d loss/d lp and its share of loss and metrics; rows in any order
//   3. ObjectiveTotals                   adds the shares up, in row order
// Thread-safety: a plan is immutable. No torch, no I/O.
#ifndef SWERVE_LEARNER_OBJECTIVE_H_
#define SWERVE_LEARNER_OBJECTIVE_H_

#include <optional>
#include <vector>

#include "absl/types/span.h"
#include "learner/advantages.h"
#include "learner/profiles.h"

namespace swerve {

// Log-probabilities of one row's tokens, nats, under the base prompt, sampling temperature applied; finite, ≤ 0.
struct RowLogprobs {
  absl::Span<const double> lp;
  absl::Span<const double> old_lp;  // empty where the row does not need it
  absl::Span<const double> ref_lp;  // empty: no KL
};

// Sums over tokens, not yet divided.
struct MetricSums {
  double clip_low = 0, clip_high = 0, clip_lower = 0, neg_log_ratio = 0, kl = 0;  // on-policy tokens
  double off_neg_log_ratio = 0, prob = 0, shaped = 0;                             // off-policy tokens, per slot
  long on_tokens = 0, kl_tokens = 0, off_tokens = 0;
};

struct RowResult {
  std::vector<double> grad;  // d loss / d lp, one per token
  double original = 0, refinement = 0, kl = 0;  // share of the three terms after reduction, in the sign of J
  MetricSums sums;
};

// Means over tokens; empty where there is no token to average or the profile has no such thing.
struct ObjectiveMetrics {
  std::optional<double> clip_low, clip_high, clip_lower, ppo_kl, kl, off_policy_prob, off_ratio_mean;
  long on_policy_tokens = 0, off_policy_tokens = 0;
};

class ObjectivePlan {
 public:
  // `T`: padded response length, read by profiles whose reduction divides by it. INVALID_ARGUMENT names the field
  // (group, off_policy_rows, lens, T, r_traj …), what was wrong and what is allowed.
  static absl::StatusOr<ObjectivePlan> Create(const Profile& profile, const Knobs& knobs,
                                              absl::Span<const ObjectiveRow> rows, int T = 0);

  size_t rows() const { return rows_.size(); }
  // False: masked or in a dropped group; contributes nothing and needs no forward pass.
  bool active(size_t row) const { return on_weight_[row] != 0 || off_weight_[row] != 0; }
  bool needs_old(size_t row) const;
  bool needs_ref(size_t row) const { return profile_->has_kl && on_weight_[row] != 0; }
  bool empty() const { return empty_; }
  bool masked(size_t row) const { return rows_[row].masked; }
  int length(size_t row) const { return rows_[row].length; }
  double advantage(size_t row) const { return advantages_.values[row]; }
  const std::vector<GroupPlan>& groups() const { return advantages_.groups; }
  const Profile& profile() const { return *profile_; }
  const Knobs& knobs() const { return knobs_; }

  // Spans as long as the row (old_lp, ref_lp where needed); an inactive row gives zeros whatever is passed.
  // OUT_OF_RANGE when a profile without clamps overflows, naming lp[row][token].
  absl::StatusOr<RowResult> Evaluate(size_t row, const RowLogprobs& logprobs) const;

 private:
  ObjectivePlan() = default;
  absl::Status AssignWeights(int T);

  const Profile* profile_ = nullptr;  // in AllProfiles()
  Knobs knobs_;
  std::vector<ObjectiveRow> rows_;
  Advantages advantages_;
  std::vector<double> on_weight_;   // factor of each on-policy token of the row in J; also of its KL
  std::vector<double> off_weight_;  // factor of each shaped token, all its slots together
  std::vector<int> slots_;          // how often the row stands in the shaped branch
  bool empty_ = true;
};

class ObjectiveTotals {
 public:
  explicit ObjectiveTotals(const ObjectivePlan& plan) : plan_(plan) {}
  void Add(const RowResult& row);

  double original() const { return original_; }
  double refinement() const { return refinement_; }
  double kl() const { return kl_; }
  double loss() const { return -(original_ + refinement_ - plan_.knobs().beta * kl_); }
  ObjectiveMetrics metrics() const;

 private:
  const ObjectivePlan& plan_;
  double original_ = 0, refinement_ = 0, kl_ = 0;
  MetricSums sums_;
};

}  // namespace swerve

#endif  // SWERVE_LEARNER_OBJECTIVE_H_
