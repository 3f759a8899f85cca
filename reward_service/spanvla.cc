#include <algorithm>
#include <cmath>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "reward_service/reward_rules.h"
#include "scenes/prompt.h"

namespace swerve {
namespace {

constexpr double kMaxWeight = 1e6;

absl::Status CheckRange(const char* name, double value, double low, double high = kMaxWeight) {
  if (value >= low && value <= high) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("rules.spanvla.", name, " is ", value, " but must be at least ", low, " and at most ", high));
}

absl::Status CheckRules(const v1::SpanVlaRules& r) {
  SWERVE_RETURN_IF_ERROR(CheckRange("w_neg", r.w_neg(), 0));
  SWERVE_RETURN_IF_ERROR(CheckRange("w_rec", r.w_rec(), 0));
  SWERVE_RETURN_IF_ERROR(CheckRange("lambda_cot", r.lambda_cot(), 0));
  SWERVE_RETURN_IF_ERROR(CheckRange("similarity_bound", r.similarity_bound(), 1e-3));
  SWERVE_RETURN_IF_ERROR(CheckRange("cot_free", r.cot_free(), 0, 1 << 30));
  SWERVE_RETURN_IF_ERROR(CheckRange("contradiction", r.contradiction(), 0));
  if (r.cot_full() > r.cot_free()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("rules.spanvla.cot_full is ", r.cot_full(),
                                                 " but must be more than cot_free, ", r.cot_free()));
}

// Likeness to what was recorded, on the scenes of one label: taken off, or added. Where the recording is one to avoid, its
// goal is no goal.
class SimilarityTerm final : public ResponseFunction {
 public:
  SimilarityTerm(const char* term, v1::SampleLabel label, double weight, double bound)
      : term_(term), label_(label), weight_(weight), bound_(bound) {}

  const char* term() const override { return term_; }
  bool Applies(const RewardTarget& target) const override { return target.label == label_; }
  bool PaysGoal(const RewardTarget& target) const override { return label_ != v1::NEGATIVE || !Applies(target); }
  absl::Status Check(const RewardTarget& target) const override {
    if (!Applies(target) || weight_ == 0 || (target.gt.size() == pdm::kPoses && std::all_of(target.gt.begin(), target.gt.end(), Finite))) {
      return absl::OkStatus();
    }
    return absl::InvalidArgumentError(absl::StrCat("gt: spanvla compares with the recorded trajectory of a ",
                                                   v1::SampleLabel_Name(label_), " scene, which needs ", pdm::kPoses,
                                                   " finite poses; it has ", target.gt.size()));
  }

 protected:
  double Term(const RewardTarget& target, const v1::ScoreCandidate& candidate, const v1::Reward& reward) const override {
    const bool scored = reward.invalid() == v1::INVALID_REASON_UNSPECIFIED;
    if (label_ == v1::NEGATIVE) return 0.0 - weight_ * (scored ? Similarity(target, candidate) : 1.0);
    return scored ? weight_ * Similarity(target, candidate) : 0.0;
  }

 private:
  static bool Finite(const pdm::Pose2& p) { return std::isfinite(p.x) && std::isfinite(p.y); }
  double Similarity(const RewardTarget& target, const v1::ScoreCandidate& candidate) const {
    return PathSimilarity(PlanOf(candidate), target.gt, bound_);
  }

  const char* term_;
  const v1::SampleLabel label_;
  const double weight_, bound_;
};

class ReasoningTerm final : public ResponseFunction {
 public:
  explicit ReasoningTerm(const v1::SpanVlaRules& rules) : rules_(rules) {}
  const char* term() const override { return "reasoning"; }

 protected:
  double Term(const RewardTarget& target, const v1::ScoreCandidate& candidate, const v1::Reward& reward) const override {
    return 0.0 - rules_.lambda_cot() * Cost(target, candidate, reward);
  }

 private:
  double Cost(const RewardTarget& target, const v1::ScoreCandidate& candidate, const v1::Reward& reward) const {
    const absl::string_view reasoning = ReasoningOf(candidate.text());
    // Where nothing is driven, nothing can be contradicted.
    if (reward.invalid() == v1::INVALID_REASON_UNSPECIFIED) {
      const std::vector<v1::Pose> plan(candidate.poses().begin(), candidate.poses().end());
      const std::optional<MetaAction> stated = ReadThink(reasoning).plan;
      if (stated.has_value() && Contradicts(*stated, target.actions.Of(plan))) return rules_.contradiction();
    }
    const double over = double{1} * ReasoningCharacters(reasoning) - rules_.cot_free();
    return std::clamp(over / (double{1} * rules_.cot_full() - rules_.cot_free()), 0.0, 1.0);
  }

  const v1::SpanVlaRules rules_;
};

// In the order of the field's words.
int Speed(absl::string_view action) {
  return action == "stop" ? 0 : action == "decelerate" ? 1 : action == "maintain" ? 2 : 3;
}
int Side(absl::string_view action) {
  return absl::EndsWith(action, "left") ? 1 : absl::EndsWith(action, "right") ? -1 : 0;
}

}  // namespace

double PathSimilarity(absl::Span<const pdm::Pose2> plan, absl::Span<const pdm::Pose2> recorded, double bound) {
  const size_t n = std::min(plan.size(), recorded.size());
  if (n == 0) return 0;
  double sum = 0;
  for (size_t i = 0; i < n; ++i) sum += std::hypot(plan[i].x - recorded[i].x, plan[i].y - recorded[i].y);
  return std::max(0.0, 1 - sum / static_cast<double>(n) / bound);
}

absl::string_view ReasoningOf(absl::string_view response) {
  constexpr absl::string_view kThink = "<think>";
  if (const size_t open = response.find(kThink); open != absl::string_view::npos) {
    response.remove_prefix(open + kThink.size());
  }
  response = response.substr(0, response.find("</think>"));
  response = response.substr(0, response.find("<answer>"));
  return absl::StripAsciiWhitespace(response);
}

int ReasoningCharacters(absl::string_view reasoning) {
  // Continuation bytes of UTF-8 start no character.
  return static_cast<int>(std::count_if(reasoning.begin(), reasoning.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

bool Contradicts(const MetaAction& stated, const MetaAction& driven) {
  return Side(stated.lateral) != Side(driven.lateral) ||
         std::abs(Speed(stated.longitudinal) - Speed(driven.longitudinal)) > 1;
}

absl::StatusOr<RewardFunctionList> MakeSpanVla(const v1::RewardRules& rules) {
  const v1::SpanVlaRules& r = rules.spanvla();
  SWERVE_RETURN_IF_ERROR(CheckRules(r));
  return RewardFunctionList{
      std::make_shared<SimilarityTerm>("negative", v1::NEGATIVE, r.w_neg(), r.similarity_bound()),
      std::make_shared<SimilarityTerm>("recovery", v1::RECOVERY, r.w_rec(), r.similarity_bound()),
      std::make_shared<ReasoningTerm>(r)};
}

}  // namespace swerve
