#include "reward_service/rewards.h"

#include <cmath>
#include <vector>

#include "absl/strings/strip.h"
#include "pdm/score_v2.h"

namespace swerve {
namespace {

// Position just after `tag`, or npos unless the text holds it exactly once.
size_t AfterOnly(absl::string_view text, absl::string_view tag) {
  size_t at = text.find(tag);
  if (at == absl::string_view::npos || text.find(tag, at + 1) != absl::string_view::npos) {
    return absl::string_view::npos;
  }
  return at + tag.size();
}

bool WellFormed(absl::string_view text) {
  text = absl::StripAsciiWhitespace(text);
  if (absl::ConsumeSuffix(&text, "<|im_end|>")) text = absl::StripAsciiWhitespace(text);
  constexpr absl::string_view kThink = "<think>", kThinkEnd = "</think>", kAnswer = "<answer>", kAnswerEnd = "</answer>";
  size_t think = AfterOnly(text, kThink), think_end = AfterOnly(text, kThinkEnd);
  size_t answer = AfterOnly(text, kAnswer), answer_end = AfterOnly(text, kAnswerEnd);
  for (size_t p : {think, think_end, answer, answer_end}) {
    if (p == absl::string_view::npos) return false;
  }
  if (think != kThink.size() || think_end < think + kThinkEnd.size() || answer < think_end + kAnswer.size() ||
      answer_end < answer + kAnswerEnd.size() || answer_end != text.size()) {
    return false;
  }
  absl::string_view between = text.substr(think_end, answer - kAnswer.size() - think_end);
  return absl::StripAsciiWhitespace(between).empty();
}

using Poses = google::protobuf::RepeatedPtrField<v1::Pose>;
using Flat = google::protobuf::RepeatedField<double>;

size_t CountOf(const Poses& poses, const Flat& flat) { return static_cast<size_t>(poses.size() + flat.size() / 3); }

void AddPoses(const Poses& poses, const Flat& flat, std::vector<pdm::Pose2>* out) {
  for (const v1::Pose& p : poses) out->push_back({p.x(), p.y(), p.heading()});
  for (int i = 0; i + 3 <= flat.size(); i += 3) out->push_back({flat[i], flat[i + 1], flat[i + 2]});
}

std::vector<pdm::Pose2> PosesOf(const Poses& poses, const Flat& flat) {
  std::vector<pdm::Pose2> out;
  out.reserve(CountOf(poses, flat));
  AddPoses(poses, flat, &out);
  return out;
}

absl::Status CheckFlat(int candidate, const char* name, const Poses& poses, const Flat& flat) {
  if (flat.empty()) return absl::OkStatus();
  if (!poses.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("candidates[", candidate, "]: both ", name, " and flat_", name, " are given; one of them is enough"));
  }
  if (flat.size() % 3 == 0) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("candidates[", candidate, "].flat_", name, ": ", flat.size(),
                                                 " numbers, but each pose has three: x, y, heading"));
}

// `plans[k]` is that of candidates[parsed[k]]: sub-scores, facts and the trajectory's reward.
void ScoreByV1(const RewardTarget& target, absl::Span<const size_t> parsed,
               absl::Span<const absl::Span<const pdm::Pose2>> plans, absl::Span<v1::Reward* const> rewards) {
  const pdm::PreparedScene& scene = *target.scene;
  pdm::EvaluateCandidates(scene, plans, /*want_trace=*/true, [&](const pdm::EvaluatedCandidate& c) {
    v1::Reward& reward = *rewards[parsed[c.index]];
    reward.set_invalid(c.invalid);
    if (c.invalid != v1::INVALID_REASON_UNSPECIFIED) return;
    pdm::FillScores(scene, *c.metrics, reward.mutable_scores());
    pdm::MakeFacts(scene, *c.motion, *c.metrics, *c.trace, reward.mutable_facts());
    reward.set_traj(reward.scores().pdms());
  });
}

void ScoreByV2(const RewardTarget& target, absl::Span<const v1::ScoreCandidate* const> candidates,
               absl::Span<const size_t> parsed, absl::Span<const absl::Span<const pdm::Pose2>> plans,
               absl::Span<v1::Reward* const> rewards) {
  std::vector<std::optional<pdm::PreviousPlan>> previous(plans.size());
  std::vector<const pdm::PreviousPlan*> before(plans.size(), nullptr);
  for (size_t k = 0; k < plans.size(); ++k) {
    const v1::ScoreCandidate& c = *candidates[parsed[k]];
    if (!target.previous.has_value()) continue;
    const std::vector<pdm::Pose2> plan = PreviousPlanOf(c);
    if (plan.empty()) continue;
    previous[k] = pdm::SimulatePrevious(*target.previous, target.scene->time_us(), plan);
    if (previous[k].has_value()) before[k] = &*previous[k];
  }
  const std::vector<pdm::ScoreV2> scores = pdm::ScoreTrajectoriesV2(
      *target.scene, plans, before, [&](size_t k) { return rewards[parsed[k]]->mutable_facts(); });
  for (size_t k = 0; k < scores.size(); ++k) {
    v1::Reward& reward = *rewards[parsed[k]];
    reward.set_invalid(scores[k].invalid);
    if (scores[k].invalid != v1::INVALID_REASON_UNSPECIFIED) continue;
    pdm::FillSubScores(scores[k], reward.mutable_scores());
    reward.set_traj(reward.scores().epdms());
  }
}

size_t MemoryOf(const pdm::Polygon& polygon) {
  size_t points = 0;
  for (const auto& ring : polygon.rings()) points += ring.size();
  // The rings, and every edge in the slabs it crosses: about four.
  return points * sizeof(pdm::Vec2) * 9 + 256;
}

// What a prepared scene holds on the heap, without its small change.
size_t MemoryOf(const pdm::PreparedScene& scene) {
  size_t bytes = sizeof scene + scene.map().centreline().points().size() * (sizeof(pdm::Vec2) + 2 * sizeof(double));
  for (const pdm::MapArea& area : scene.map().areas()) bytes += sizeof area + MemoryOf(area.polygon);
  const pdm::Observation& objects = scene.observation();
  return bytes + scene.map().grid().bytes() +
         objects.size() * (objects.samples() * (sizeof(pdm::Box) + sizeof(pdm::Vec2)) +
                           2 * pdm::kObservedColumn * sizeof(double) + sizeof(pdm::MotionBounds) +
                           sizeof(pdm::ObjectInfo) + sizeof(pdm::Bounds) + 40);
}

}  // namespace

std::vector<pdm::Pose2> ToPoses(const Poses& poses) { return PosesOf(poses, {}); }
std::vector<pdm::Pose2> PlanOf(const v1::ScoreCandidate& c) { return PosesOf(c.poses(), c.flat_poses()); }
std::vector<pdm::Pose2> PreviousPlanOf(const v1::ScoreCandidate& c) { return PosesOf(c.prev_poses(), c.flat_prev_poses()); }

absl::Status CheckPoses(const v1::ScoreGroupRequest& request) {
  for (int i = 0; i < request.candidates_size(); ++i) {
    const v1::ScoreCandidate& c = request.candidates(i);
    SWERVE_RETURN_IF_ERROR(CheckFlat(i, "poses", c.poses(), c.flat_poses()));
    SWERVE_RETURN_IF_ERROR(CheckFlat(i, "prev_poses", c.prev_poses(), c.flat_prev_poses()));
  }
  return absl::OkStatus();
}

double FormatReward(absl::string_view text, v1::ParseStatus parse) {
  return (WellFormed(text) ? 0.5 : 0.0) + (parse == v1::EXACT ? 0.5 : 0.0);
}

double GoalReward(const pdm::Pose2& last, const pdm::Pose2& gt) {
  double d = std::fabs(last.x - gt.x) + std::fabs(last.y - gt.y);
  if (d < 2) return 1.0;
  if (d < 4) return 0.8;
  if (d < 6) return 0.6;
  if (d < 10) return 0.4;
  return d < 15 ? 0.2 : 0.0;
}

absl::StatusOr<pdm::Rules> RulesByName(absl::string_view name) {
  if (name == "v1") return pdm::Rules::kV1;
  if (name == "v1.0") return pdm::Rules::kV10;
  if (name == "v2") return pdm::Rules::kV2;
  return absl::InvalidArgumentError(absl::StrCat("'", name, "' is no edition of the PDM score; there are v1, v1.0 and v2"));
}

absl::StatusOr<pdm::Rules> RulesOf(v1::PdmRules asked, pdm::Rules configured) {
  switch (asked) {
    case v1::PDM_RULES_UNSPECIFIED: return configured;
    case v1::V1: return pdm::Rules::kV1;
    case v1::V1_0: return pdm::Rules::kV10;
    case v1::V2: return pdm::Rules::kV2;
    default: return absl::InvalidArgumentError(absl::StrCat("pdm_rules: ", int{asked}, " stands for none; V1, V1_0, V2"));
  }
}

absl::StatusOr<std::shared_ptr<const RewardTarget>> PrepareTarget(const v1::Scene& scene, pdm::Rules rules) {
  auto target = std::make_shared<RewardTarget>(RewardTarget{.label = scene.label(), .actions = MetaActions(scene)});
  SWERVE_ASSIGN_OR_RETURN(target->scene, pdm::PreparedScene::Create(scene, rules));
  if (rules == pdm::Rules::kV2 && scene.has_prev()) target->previous = scene.prev().ego();
  if (!scene.gt().empty()) {
    const v1::Pose& p = *scene.gt().rbegin();
    if (!std::isfinite(p.x()) || !std::isfinite(p.y())) return absl::InvalidArgumentError("gt: last pose is not finite");
    target->goal = pdm::Pose2{p.x(), p.y(), p.heading()};
  }
  target->gt = ToPoses(scene.gt());
  target->bytes = MemoryOf(*target->scene) + target->gt.size() * sizeof(pdm::Pose2) +
                  target->actions.points() * (sizeof(Vec2) + sizeof(double));
  return target;
}

v1::Reward ScoreCandidate(const RewardTarget& target, const v1::ScoreCandidate& candidate,
                          const v1::RewardWeights& weights) {
  v1::Reward reward;
  const v1::ScoreCandidate* one = &candidate;
  v1::Reward* out = &reward;
  ScoreCandidates(target, {&one, 1}, weights, {&out, 1});
  return reward;
}

void ScoreCandidates(const RewardTarget& target, absl::Span<const v1::ScoreCandidate* const> candidates,
                     const v1::RewardWeights& weights, absl::Span<v1::Reward* const> rewards) {
  std::vector<pdm::Pose2> poses;
  std::vector<size_t> parsed;  // indices of candidates
  std::vector<absl::Span<const pdm::Pose2>> plans;
  size_t total = 0;
  for (const v1::ScoreCandidate* c : candidates) total += CountOf(c->poses(), c->flat_poses());
  poses.reserve(total);  // spans point into it
  for (size_t i = 0; i < candidates.size(); ++i) {
    const v1::ScoreCandidate& c = *candidates[i];
    rewards[i]->Clear();
    const size_t first = poses.size();
    if (c.parse() != v1::FAILED) AddPoses(c.poses(), c.flat_poses(), &poses);
    if (poses.size() == first) {
      rewards[i]->set_invalid(v1::UNPARSED);
      continue;
    }
    plans.emplace_back(poses.data() + first, poses.size() - first);
    parsed.push_back(i);
  }
  if (target.scene->rules() == pdm::Rules::kV2) {
    ScoreByV2(target, candidates, parsed, plans, rewards);
  } else {
    ScoreByV1(target, parsed, plans, rewards);
  }
  for (size_t k = 0; target.goal.has_value() && k < parsed.size(); ++k) {
    v1::Reward& reward = *rewards[parsed[k]];
    if (reward.invalid() == v1::INVALID_REASON_UNSPECIFIED) reward.set_goal(GoalReward(plans[k].back(), *target.goal));
  }
  for (size_t i = 0; i < candidates.size(); ++i) {
    v1::Reward& reward = *rewards[i];
    // Claiming an exact parse without a usable trajectory earns nothing.
    const v1::ParseStatus parse =
        reward.invalid() == v1::INVALID_REASON_UNSPECIFIED ? candidates[i]->parse() : v1::FAILED;
    reward.set_fmt(FormatReward(candidates[i]->text(), parse));
    reward.set_total(WeightedSum(reward, weights));
  }
}

double WeightedSum(const v1::Reward& reward, const v1::RewardWeights& weights) {
  return weights.traj() * reward.traj() + weights.fmt() * reward.fmt() + weights.goal() * reward.goal();
}

v1::RewardWeights UnitWeights() {
  v1::RewardWeights weights;
  weights.set_traj(1);
  weights.set_fmt(1);
  weights.set_goal(1);
  return weights;
}

absl::Status CheckWeights(const RewardTarget& target, const v1::RewardWeights& weights) {
  if (!std::isfinite(weights.traj()) || !std::isfinite(weights.fmt()) || !std::isfinite(weights.goal())) {
    return absl::InvalidArgumentError("weights: a weight is not finite");
  }
  if (weights.goal() != 0 && !target.goal.has_value()) {
    return absl::InvalidArgumentError("the scene has no gt: the goal reward needs one (or set weights.goal = 0)");
  }
  return absl::OkStatus();
}

absl::StatusOr<v1::ScoreGroupReply> ScoreGroup(const RewardTarget& target, const v1::ScoreGroupRequest& request,
                                               const v1::RewardWeights& weights,
                                               const std::function<absl::Status()>& go_on) {
  SWERVE_RETURN_IF_ERROR(CheckWeights(target, weights));
  v1::ScoreGroupReply reply;
  std::vector<const v1::ScoreCandidate*> candidates;
  std::vector<v1::Reward*> rewards;
  for (const v1::ScoreCandidate& candidate : request.candidates()) {
    candidates.push_back(&candidate);
    rewards.push_back(reply.add_rewards());
  }
  for (size_t first = 0; first < candidates.size(); first += pdm::kLanes) {
    if (go_on) SWERVE_RETURN_IF_ERROR(go_on());
    ScoreCandidates(target, absl::MakeConstSpan(candidates).subspan(first, pdm::kLanes), weights,
                    absl::MakeConstSpan(rewards).subspan(first, pdm::kLanes));
  }
  return reply;
}

}  // namespace swerve
