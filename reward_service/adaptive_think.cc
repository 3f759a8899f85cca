#include "absl/strings/str_cat.h"
#include "reward_service/reward_rules.h"

namespace swerve {
namespace {

enum Mode { kPlain, kThinking };
Mode ModeOf(absl::string_view response) { return ReasoningOf(response).empty() ? kPlain : kThinking; }

struct Mean {
  double sum = 0;
  int n = 0;
  double value() const { return sum / n; }
};

class AdaptiveThink final : public RewardFunction {
 public:
  explicit AdaptiveThink(const v1::AdaptiveThinkRules& rules) : weight_(rules.weight()), threshold_(rules.threshold()) {}
  const char* term() const override { return "adaptive_think"; }

  std::vector<double> Terms(const RewardGroup& group) const override {
    const v1::ScoreGroupRequest& request = group.request;
    Mean means[2];
    const auto add = [&](absl::string_view text, double traj) {
      Mean& mean = means[ModeOf(text)];
      mean.sum += traj;
      ++mean.n;
    };
    for (const v1::GroupPeer& peer : request.peers()) add(peer.text(), peer.traj());
    for (int i = 0; i < request.candidates_size() && request.peers().empty(); ++i) {
      add(request.candidates(i).text(), group.rewards[i]->traj());
    }
    std::vector<double> terms(request.candidates_size(), 0.0);
    if (means[kPlain].n == 0 || means[kThinking].n == 0) return terms;  // nothing to compare
    const Mode better = means[kThinking].value() > means[kPlain].value() ? kThinking : kPlain;
    if (means[better].value() < threshold_) return terms;
    for (int i = 0; i < request.candidates_size(); ++i) {
      const bool scored = group.rewards[i]->invalid() == v1::INVALID_REASON_UNSPECIFIED;
      if (scored && ModeOf(request.candidates(i).text()) == better) terms[i] = weight_;
    }
    return terms;
  }

 private:
  const double weight_, threshold_;
};

}  // namespace

absl::StatusOr<RewardFunctionList> MakeAdaptiveThink(const v1::RewardRules& rules) {
  const v1::AdaptiveThinkRules& r = rules.adaptive_think();
  if (!(r.weight() >= 0 && r.weight() <= 1e6)) {
    return absl::InvalidArgumentError(
        absl::StrCat("rules.adaptive_think.weight is ", r.weight(), " but must be at least 0 and at most 1e6"));
  }
  if (!(r.threshold() >= 0 && r.threshold() <= 1)) {
    return absl::InvalidArgumentError(
        absl::StrCat("rules.adaptive_think.threshold is ", r.threshold(), " but must be at least 0 and at most 1"));
  }
  return RewardFunctionList{std::make_shared<AdaptiveThink>(r)};
}

}  // namespace swerve
