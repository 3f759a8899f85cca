#include "learner/objective.h"

#include <algorithm>
#include <cmath>

#include "learner/token_terms.h"

namespace swerve {
namespace {

absl::Status Bad(const std::string& message) { return absl::InvalidArgumentError(message); }

absl::StatusOr<int> CountGroups(absl::Span<const ObjectiveRow> rows) {
  int groups = 0;
  for (size_t i = 0; i < rows.size(); ++i) {
    if (rows[i].group < 0) return Bad(absl::StrCat("group[", i, "]: is ", rows[i].group, "; allowed: 0 … G−1"));
    groups = std::max(groups, rows[i].group + 1);
    if (groups > static_cast<int>(rows.size())) {
      return Bad(absl::StrCat("group[", i, "]: is ", rows[i].group, " in a batch of ", rows.size(),
                              " rows; allowed: 0 … G−1, each present"));
    }
  }
  std::vector<bool> seen(groups, false);
  for (const ObjectiveRow& row : rows) seen[row.group] = true;
  for (int g = 0; g < groups; ++g) {
    if (!seen[g]) return Bad(absl::StrCat("group: no row belongs to group ", g, "; allowed: 0 … G−1, each present"));
  }
  return groups;
}

absl::Status CheckRows(const Profile& profile, const Knobs& knobs, absl::Span<const ObjectiveRow> rows, int groups) {
  std::vector<int> slots(groups, 0);
  for (size_t i = 0; i < rows.size(); ++i) {
    const ObjectiveRow& row = rows[i];
    if (row.off_policy && !profile.off_policy) {
      return Bad(absl::StrCat("off_policy_rows: names row ", i, ", but profile ", profile.name,
                              " has no shaped branch; allowed: []"));
    }
    if (row.length < (row.masked ? 0 : 1)) {
      return Bad(absl::StrCat("lens[", i, "]: is ", row.length, "; allowed: ≥ 1 (0 for a masked row)"));
    }
    if (row.masked) continue;
    if (!std::isfinite(TotalReward(profile, knobs, row))) {
      return Bad(absl::StrCat(profile.by_parts ? "r_traj, r_fmt, r_goal" : "rewards", "[", i,
                              "]: not finite; allowed: finite numbers"));
    }
    if (row.off_policy && profile.reduction == Reduction::kGroups && ++slots[row.group] > knobs.k) {
      return Bad(absl::StrCat("off_policy_rows: group ", row.group, " has more than k = ", knobs.k,
                              " refinements; allowed: at most k in a group"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ObjectivePlan> ObjectivePlan::Create(const Profile& profile, const Knobs& knobs,
                                                    absl::Span<const ObjectiveRow> rows, int T) {
  SWERVE_ASSIGN_OR_RETURN(const int groups, CountGroups(rows));
  SWERVE_RETURN_IF_ERROR(CheckRows(profile, knobs, rows, groups));
  ObjectivePlan plan;
  SWERVE_ASSIGN_OR_RETURN(plan.profile_, FindProfile(profile.name));
  plan.knobs_ = knobs;
  plan.rows_.assign(rows.begin(), rows.end());
  plan.advantages_ = ComputeAdvantages(profile, knobs, rows, groups);
  plan.on_weight_.assign(rows.size(), 0.0);
  plan.off_weight_.assign(rows.size(), 0.0);
  plan.slots_.assign(rows.size(), 0);
  SWERVE_RETURN_IF_ERROR(plan.AssignWeights(T));
  return plan;
}

absl::Status ObjectivePlan::AssignWeights(int T) {
  if (profile_->reduction == Reduction::kGroups) {
    const double kept = std::count_if(groups().begin(), groups().end(), [](const GroupPlan& g) { return g.kept; });
    empty_ = kept == 0;
    for (const GroupPlan& group : groups()) {
      if (!group.kept) continue;
      const double n = static_cast<double>(group.originals.size());
      for (int i : group.originals) on_weight_[i] = 1 / (kept * n * rows_[i].length);
      for (const auto* list : {&group.refinements, &group.fillers}) {
        for (int i : *list) ++slots_[i];
      }
    }
    for (size_t i = 0; i < rows_.size(); ++i) {
      if (slots_[i] > 0) off_weight_[i] = slots_[i] / (kept * knobs_.k * rows_[i].length);
    }
    return absl::OkStatus();
  }
  double count = 0, tokens = 0;
  for (size_t i = 0; i < rows_.size(); ++i) {
    if (rows_[i].masked) continue;
    count += 1;
    tokens += rows_[i].length;
    if (profile_->needs_T() && rows_[i].length > T) {
      return Bad(absl::StrCat("T: is ", T, ", but row ", i, " has ", rows_[i].length,
                              " tokens; allowed: at least the longest row"));
    }
  }
  empty_ = count == 0;
  for (size_t i = 0; i < rows_.size(); ++i) {
    if (rows_[i].masked) continue;
    double weight = 0;
    switch (profile_->reduction) {
      case Reduction::kSumOverT: weight = 1.0 / T; break;
      case Reduction::kTokenMean: weight = 1 / tokens; break;
      case Reduction::kRowMean: weight = 1 / (count * (rows_[i].length + profile_->row_eps)); break;
      default: weight = 1 / (count * T); break;
    }
    (rows_[i].off_policy ? off_weight_ : on_weight_)[i] = weight;
    slots_[i] = rows_[i].off_policy ? 1 : 0;
  }
  return absl::OkStatus();
}

bool ObjectivePlan::needs_old(size_t row) const {
  return on_weight_[row] != 0 || (profile_->off_needs_old && off_weight_[row] != 0);
}

absl::StatusOr<RowResult> ObjectivePlan::Evaluate(size_t row, const RowLogprobs& logprobs) const {
  RowResult out;
  const int length = rows_[row].length;
  out.grad.assign(length, 0.0);
  if (!active(row)) return out;
  const double on = on_weight_[row], off = off_weight_[row], A = advantage(row);
  const bool with_kl = needs_ref(row) && !logprobs.ref_lp.empty();
  if (static_cast<int>(logprobs.lp.size()) != length ||
      (needs_old(row) && static_cast<int>(logprobs.old_lp.size()) != length) ||
      (with_kl && static_cast<int>(logprobs.ref_lp.size()) != length)) {
    return Bad(absl::StrCat("lp[", row, "]: log-probabilities do not match the row's ", length, " tokens"));
  }
  MetricSums& sums = out.sums;
  for (int t = 0; t < length; ++t) {
    const double lp = logprobs.lp[t];
    if (on != 0) {
      const OnPolicyToken token = OnPolicyTerm(*profile_, knobs_, lp, logprobs.old_lp[t], A);
      out.original += on * token.surrogate.value;
      out.grad[t] -= on * token.surrogate.slope;
      sums.clip_low += token.clipped_low;
      sums.clip_high += token.clipped_high;
      sums.clip_lower += token.clipped_lower;
      sums.neg_log_ratio -= token.log_ratio;
      ++sums.on_tokens;
      if (with_kl) {
        const Term k3 = K3Term(*profile_, lp, logprobs.ref_lp[t]);
        out.kl += on * k3.value;
        if (knobs_.beta != 0) out.grad[t] += knobs_.beta * on * k3.slope;
        sums.kl += k3.value;
        ++sums.kl_tokens;
      }
    }
    if (off != 0) {
      const ShapedToken token = ShapedTerm(knobs_, lp, A);
      out.refinement += off * token.surrogate.value;
      out.grad[t] -= off * token.surrogate.slope;
      sums.prob += slots_[row] * token.prob;
      sums.shaped += slots_[row] * token.shaped;
      sums.off_tokens += slots_[row];
      if (profile_->off_needs_old) sums.off_neg_log_ratio -= lp - logprobs.old_lp[t];
    }
    if (!std::isfinite(out.grad[t]) || !std::isfinite(out.original) || !std::isfinite(out.kl)) {
      return absl::OutOfRangeError(absl::StrCat(
          "lp[", row, "][", t, "]: the ratio to old_lp or ref_lp overflows and profile ", profile_->name,
          " has no clamp; allowed: log-ratios below 700"));
    }
  }
  return out;
}

void ObjectiveTotals::Add(const RowResult& row) {
  original_ += row.original;
  refinement_ += row.refinement;
  kl_ += row.kl;
  sums_.clip_low += row.sums.clip_low;
  sums_.clip_high += row.sums.clip_high;
  sums_.clip_lower += row.sums.clip_lower;
  sums_.neg_log_ratio += row.sums.neg_log_ratio;
  sums_.kl += row.sums.kl;
  sums_.off_neg_log_ratio += row.sums.off_neg_log_ratio;
  sums_.prob += row.sums.prob;
  sums_.shaped += row.sums.shaped;
  sums_.on_tokens += row.sums.on_tokens;
  sums_.kl_tokens += row.sums.kl_tokens;
  sums_.off_tokens += row.sums.off_tokens;
}

ObjectiveMetrics ObjectiveTotals::metrics() const {
  ObjectiveMetrics m;
  m.on_policy_tokens = sums_.on_tokens;
  m.off_policy_tokens = sums_.off_tokens;
  const double on = static_cast<double>(sums_.on_tokens), off = static_cast<double>(sums_.off_tokens);
  if (on > 0) {
    m.clip_low = sums_.clip_low / on;
    m.clip_high = sums_.clip_high / on;
    if (plan_.profile().dual_clip) m.clip_lower = sums_.clip_lower / on;
  }
  const double ratio_tokens = plan_.profile().off_needs_old ? on + off : on;
  if (ratio_tokens > 0) m.ppo_kl = (sums_.neg_log_ratio + sums_.off_neg_log_ratio) / ratio_tokens;
  if (sums_.kl_tokens > 0) m.kl = sums_.kl / static_cast<double>(sums_.kl_tokens);
  if (off > 0) {
    m.off_policy_prob = sums_.prob / off;
    m.off_ratio_mean = sums_.shaped / off;
  }
  return m;
}

}  // namespace swerve
