#include "rollout_workers/episode.h"

#include <algorithm>
#include <utility>

namespace swerve {

v1::Episode MakeEpisode(RefinedGroup group, const v1::RunConfig& config, absl::Time now) {
  RolloutGroup& rollout = group.diagnosed.scored.rollout;
  v1::Episode episode;
  episode.set_run_id(rollout.leased.run_id);
  episode.set_scene_id(rollout.leased.lease.scene_id());
  episode.set_group(rollout.leased.lease.group());
  episode.set_attempt(rollout.leased.lease.attempt());
  episode.mutable_prompt_ids()->Assign(rollout.prompt_ids.begin(), rollout.prompt_ids.end());
  int64_t oldest = rollout.policy.version();
  const auto note_versions = [&oldest](const v1::Response& response) {
    for (const int64_t version : response.weight_versions()) oldest = std::min(oldest, version);
  };
  for (v1::Sample& sample : rollout.samples) {
    note_versions(sample.response());
    *episode.add_samples() = std::move(sample);
  }
  for (v1::Refinement& refinement : group.refinements) {
    note_versions(refinement.response());
    *episode.add_refinements() = std::move(refinement);
  }
  episode.set_weight_version(oldest);
  episode.set_policy_checksum(rollout.policy.checksum());
  episode.set_teacher(group.diagnosed.teacher);
  episode.set_teacher_set_version(group.diagnosed.teacher_set_version);
  if (config.deterministic()) {
    for (v1::Sample& sample : *episode.mutable_samples()) {
      if (sample.has_feedback_cost()) sample.mutable_feedback_cost()->clear_seconds();
      for (v1::FailedTeacher& failed : *sample.mutable_feedback_failed()) failed.mutable_cost()->clear_seconds();
      if (!sample.has_feedback()) continue;
      sample.mutable_feedback()->mutable_cost()->clear_seconds();
      for (v1::FailedTeacher& failed : *sample.mutable_feedback()->mutable_fallen_from()) {
        failed.mutable_cost()->clear_seconds();
      }
    }
  } else {
    episode.set_created_us(absl::ToUnixMicros(now));
    episode.set_generate_seconds(rollout.generate_seconds);
    episode.set_score_seconds(group.diagnosed.scored.score_seconds);
    episode.set_diagnose_seconds(group.diagnosed.diagnose_seconds);
  }
  return episode;
}

GroupOutcome OutcomeOf(const v1::Episode& episode) {
  GroupOutcome outcome;
  outcome.weight_version = episode.weight_version();
  for (const v1::Sample& sample : episode.samples()) {
    if (sample.outcome() != v1::OK) continue;
    outcome.r_traj.push_back(sample.reward().traj());
    outcome.r_fmt.push_back(sample.reward().fmt());
  }
  return outcome;
}

}  // namespace swerve
