#include "learner/advantages.h"

#include <algorithm>
#include <cmath>

namespace swerve {
namespace {

double Span(absl::Span<const double> values) {
  if (values.empty()) return 0;
  const auto [low, high] = std::minmax_element(values.begin(), values.end());
  return *high - *low;
}

// Empty when the group is to be kept.
std::string DropCause(const Profile& profile, const Knobs& knobs, absl::Span<const ObjectiveRow> rows,
                      const GroupPlan& group) {
  if (group.originals.empty()) return "no_originals";
  std::vector<double> total, traj;
  for (const auto* list : {&group.originals, &group.refinements}) {
    for (int i : *list) {
      total.push_back(TotalReward(profile, knobs, rows[i]));
      traj.push_back(rows[i].traj);
    }
  }
  const bool flat = Span(total) < knobs.min_span;
  const bool gated = knobs.gate == Gate::kOutcome && Span(traj) < knobs.min_span;
  if (!flat && !gated) return "";
  if (std::all_of(traj.begin(), traj.end(), [&](double r) { return r < knobs.min_span; })) return "all_failed";
  if (std::all_of(traj.begin(), traj.end(), [&](double r) { return r >= knobs.s; })) return "all_succeeded";
  return "no_spread";
}

void FillSlots(const Knobs& knobs, absl::Span<const ObjectiveRow> rows, GroupPlan* group) {
  if (knobs.fill != Fill::kBestOriginal) return;
  int best = group->originals.front();
  for (int i : group->originals) {
    if (rows[i].traj > rows[best].traj) best = i;  // of equals the lowest row: originals are in row order
  }
  for (int slot = static_cast<int>(group->refinements.size()); slot < knobs.k; ++slot) group->fillers.push_back(best);
}

void Standardise(const Profile& profile, const Knobs& knobs, absl::Span<const ObjectiveRow> rows,
                 const GroupPlan& group, std::vector<double>* out) {
  std::vector<int> members = group.originals;
  members.insert(members.end(), group.refinements.begin(), group.refinements.end());
  members.insert(members.end(), group.fillers.begin(), group.fillers.end());
  if (members.empty()) return;
  std::vector<double> r;
  for (int i : members) r.push_back(TotalReward(profile, knobs, rows[i]));
  double mean = 0, deviation = 0;
  if (r.size() > 1) {
    // Relative to the first: equal rewards then give exactly A = 0.
    for (double v : r) mean += v - r[0];
    mean = r[0] + mean / static_cast<double>(r.size());
    for (double v : r) deviation += (v - mean) * (v - mean);
    deviation = std::sqrt(deviation / static_cast<double>(r.size() - 1));
  } else {
    mean = profile.singleton == Singleton::kReward ? 0 : r[0];
    deviation = 1;
  }
  const double scale = knobs.scale_by_std ? deviation + knobs.advantage_eps : 1;
  for (size_t m = 0; m < members.size(); ++m) (*out)[members[m]] = scale > 0 ? (r[m] - mean) / scale : 0;
}

}  // namespace

double TotalReward(const Profile& profile, const Knobs& knobs, const ObjectiveRow& row) {
  if (!profile.by_parts) return row.reward;
  return knobs.reward_weights[0] * row.traj + knobs.reward_weights[1] * row.fmt + knobs.reward_weights[2] * row.goal +
         row.terms;
}

Advantages ComputeAdvantages(const Profile& profile, const Knobs& knobs, absl::Span<const ObjectiveRow> rows,
                             int groups) {
  Advantages out;
  out.groups.resize(groups);
  out.values.assign(rows.size(), 0.0);
  for (size_t i = 0; i < rows.size(); ++i) {
    if (rows[i].masked) continue;
    GroupPlan& group = out.groups[rows[i].group];
    (rows[i].off_policy ? group.refinements : group.originals).push_back(static_cast<int>(i));
  }
  for (GroupPlan& group : out.groups) {
    if (profile.reduction == Reduction::kGroups) {
      group.drop_cause = DropCause(profile, knobs, rows, group);
      group.kept = group.drop_cause.empty();
      if (!group.kept) continue;
      FillSlots(knobs, rows, &group);
    }
    Standardise(profile, knobs, rows, group, &out.values);
  }
  return out;
}

}  // namespace swerve
