#include "reward_service/reward_function.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "reward_service/reward_rules.h"

namespace swerve {
namespace {

struct Entry {
  const char* name;
  absl::StatusOr<RewardFunctionList> (*make)(const v1::RewardRules&);
};
// base/config_rules.cc holds the names too, for it may not know this library; a test compares.
constexpr Entry kRegistry[] = {{"spanvla", MakeSpanVla}, {"adaptive_think", MakeAdaptiveThink}};

}  // namespace

std::vector<double> ResponseFunction::Terms(const RewardGroup& group) const {
  std::vector<double> terms;
  for (int i = 0; i < group.request.candidates_size(); ++i) {
    terms.push_back(Term(group.target, group.request.candidates(i), *group.rewards[i]));
  }
  return terms;
}

std::vector<std::string> RewardFunctions::Known() {
  std::vector<std::string> names;
  for (const Entry& entry : kRegistry) names.push_back(entry.name);
  return names;
}

absl::StatusOr<RewardFunctions> RewardFunctions::Make(const v1::RewardRules& rules) {
  RewardFunctions out;
  for (auto name = rules.functions().begin(); name != rules.functions().end(); ++name) {
    const auto entry = std::find_if(std::begin(kRegistry), std::end(kRegistry), [&](const Entry& e) { return *name == e.name; });
    if (entry == std::end(kRegistry)) {
      return absl::InvalidArgumentError(absl::StrCat("rules.functions: no reward function '", *name,
                                                     "'; known: ", absl::StrJoin(Known(), ", ")));
    }
    if (std::find(rules.functions().begin(), name, *name) != name) {
      return absl::InvalidArgumentError(absl::StrCat("rules.functions: '", *name, "' is given twice"));
    }
    SWERVE_ASSIGN_OR_RETURN(RewardFunctionList functions, entry->make(rules));
    std::move(functions.begin(), functions.end(), std::back_inserter(out.functions_));
  }
  return out;
}

absl::Status RewardFunctions::Check(const RewardTarget& target, const v1::ScoreGroupRequest& request) const {
  for (const auto& function : functions_) SWERVE_RETURN_IF_ERROR(function->Check(target));
  for (int i = 0; i < request.peers_size(); ++i) {
    const double traj = request.peers(i).traj();
    if (traj >= 0 && traj <= 1) continue;
    return absl::InvalidArgumentError(absl::StrCat("peers[", i, "].traj is ", traj, ", not in [0, 1]"));
  }
  return absl::OkStatus();
}

void RewardFunctions::Apply(const RewardTarget& target, const v1::ScoreGroupRequest& request,
                            const v1::RewardWeights& weights, absl::Span<v1::Reward* const> rewards) const {
  if (empty()) return;
  const bool pays_goal = std::all_of(functions_.begin(), functions_.end(),
                                     [&](const auto& function) { return function->PaysGoal(target); });
  const std::vector<const v1::Reward*> seen(rewards.begin(), rewards.end());
  for (v1::Reward* reward : rewards) {
    if (!pays_goal) reward->set_goal(0);
    reward->set_total(WeightedSum(*reward, weights));
  }
  for (const auto& function : functions_) {
    if (!function->Applies(target)) continue;
    const std::vector<double> terms = function->Terms({target, request, seen});
    for (size_t i = 0; i < rewards.size(); ++i) {
      v1::RewardTerm* term = rewards[i]->add_terms();
      term->set_name(function->term());
      term->set_value(terms[i]);
      rewards[i]->set_total(rewards[i]->total() + terms[i]);
    }
  }
}

}  // namespace swerve
