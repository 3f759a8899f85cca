// What is added to a response's weighted sum of traj, fmt and goal: reward functions, chosen by name in
// reward.rules.functions (docs/reward_service.md). A function sees the scene and the whole group and gives each response
// one term; what depends on the response alone is the special case ResponseFunction. Immutable, thread-safe, no I/O.
//
// A response that could not be scored gets the worst value of every term that judges what it drives: being unreadable is
// never the better choice. Masked responses are not sent here, and so belong to no group.
#ifndef SWERVE_REWARD_SERVICE_REWARD_FUNCTION_H_
#define SWERVE_REWARD_SERVICE_REWARD_FUNCTION_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "base/status.h"
#include "reward_service/rewards.h"
#include "swerve/v1/config.pb.h"
#include "swerve/v1/reward.pb.h"

namespace swerve {

// Of one scene. Nothing is owned.
struct RewardGroup {
  const RewardTarget& target;
  const v1::ScoreGroupRequest& request;  // candidates, and the peers of a group scored before
  absl::Span<const v1::Reward* const> rewards;  // of the candidates: traj, fmt, goal, invalid are set
};

class RewardFunction {
 public:
  virtual ~RewardFunction() = default;
  // Name of its term in Reward.terms, the metrics and groups.jsonl.
  virtual const char* term() const = 0;
  // INVALID_ARGUMENT: the scene lacks what the function reads.
  virtual absl::Status Check(const RewardTarget& target) const { return absl::OkStatus(); }
  // False: the scene gets no such term.
  virtual bool Applies(const RewardTarget& target) const { return true; }
  // False: r_goal is not paid on this scene.
  virtual bool PaysGoal(const RewardTarget& target) const { return true; }
  // One finite value per candidate, weighted.
  virtual std::vector<double> Terms(const RewardGroup& group) const = 0;
};

class ResponseFunction : public RewardFunction {
 public:
  std::vector<double> Terms(const RewardGroup& group) const final;

 protected:
  virtual double Term(const RewardTarget& target, const v1::ScoreCandidate& candidate, const v1::Reward& reward) const = 0;
};

// The functions of one configuration or request, in its order.
class RewardFunctions {
 public:
  RewardFunctions() = default;  // none
  // INVALID_ARGUMENT: an unknown name (the message lists the known ones), one given twice, a value out of range.
  static absl::StatusOr<RewardFunctions> Make(const v1::RewardRules& rules);
  // Names for reward.rules.functions.
  static std::vector<std::string> Known();

  bool empty() const { return functions_.empty(); }
  // INVALID_ARGUMENT: of the functions' own, or a peer whose traj is not in [0, 1].
  absl::Status Check(const RewardTarget& target, const v1::ScoreGroupRequest& request) const;
  // Sets goal, terms and total of every reward (of the candidates, in their order).
  void Apply(const RewardTarget& target, const v1::ScoreGroupRequest& request, const v1::RewardWeights& weights,
             absl::Span<v1::Reward* const> rewards) const;

 private:
  std::vector<std::shared_ptr<const RewardFunction>> functions_;
};

}  // namespace swerve

#endif  // SWERVE_REWARD_SERVICE_REWARD_FUNCTION_H_
