#include "rollout_workers/score.h"

#include <cmath>
#include <utility>

#include "absl/time/clock.h"
#include "scenes/flat_poses.h"

namespace swerve {

v1::ScoreGroupRequest ScoreRequest(const std::string& scene_id, const std::vector<const v1::Response*>& responses,
                                   const v1::RewardConfig& config) {
  v1::ScoreGroupRequest request;
  request.set_scene_id(scene_id);
  for (const v1::Response* response : responses) {
    v1::ScoreCandidate* candidate = request.add_candidates();
    AddFlat(response->poses(), candidate->mutable_flat_poses());
    candidate->set_text(response->text());
    candidate->set_parse(response->parse());
  }
  if (config.reward_weights_size() == 3) {
    request.mutable_weights()->set_traj(config.reward_weights(0));
    request.mutable_weights()->set_fmt(config.reward_weights(1));
    request.mutable_weights()->set_goal(config.reward_weights(2));
  }
  *request.mutable_rules() = config.rules();
  return request;
}

absl::StatusOr<ScoredGroup> Score(RolloutGroup group, const v1::RunConfig& config, RewardClient& service) {
  std::vector<v1::Sample*> live;
  std::vector<const v1::Response*> responses;
  for (v1::Sample& sample : group.samples) {
    if (sample.outcome() != v1::OK) continue;
    live.push_back(&sample);
    responses.push_back(&sample.response());
  }
  if (live.size() < 2) return absl::FailedPreconditionError("fewer than two samples of the group came through");
  const absl::Time start = absl::Now();
  SWERVE_ASSIGN_OR_RETURN(v1::ScoreGroupReply reply, service.ScoreGroup(ScoreRequest(group.leased.lease.scene_id(),
                                                                                     responses, config.reward())));
  if (reply.rewards_size() != static_cast<int>(live.size())) {
    return absl::DataLossError(
        absl::StrCat("the reward service answered ", reply.rewards_size(), " rewards for ", live.size(), " responses"));
  }
  size_t scored = 0;
  for (size_t i = 0; i < live.size(); ++i) {
    v1::Reward& reward = *reply.mutable_rewards(static_cast<int>(i));
    if (std::isfinite(reward.total()) && std::isfinite(reward.traj())) {
      *live[i]->mutable_reward() = std::move(reward);
      ++scored;
    } else {
      live[i]->set_outcome(v1::INTERNAL);
      live[i]->set_detail("its reward is not finite");
    }
  }
  if (scored < 2) return absl::FailedPreconditionError("fewer than two samples of the group could be scored");
  return ScoredGroup{std::move(group), absl::ToDoubleSeconds(absl::Now() - start)};
}

}  // namespace swerve
