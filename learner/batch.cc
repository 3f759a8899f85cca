#include "learner/batch.h"

#include <spdlog/spdlog.h>

namespace swerve {
namespace {

void SetRewards(const v1::Reward& reward, ObjectiveRow* row) {
  row->traj = reward.traj();
  row->fmt = reward.fmt();
  row->goal = reward.goal();
  row->reward = reward.total();
}

BatchRow RowOf(const v1::Response& response, int group) {
  BatchRow row;
  row.group = group;
  row.response_ids.assign(response.token_ids().begin(), response.token_ids().end());
  return row;
}

bool Usable(const v1::Sample& sample) {
  const v1::Response& r = sample.response();
  return sample.outcome() == v1::OK && sample.has_reward() && r.finish() != v1::CANCELLED && r.token_ids_size() > 0 &&
         r.logprobs_size() == r.token_ids_size();
}

void AddGroup(const v1::Episode& episode, const ObjectiveSettings& objective, bool image_ok, Batch* batch) {
  const int group = static_cast<int>(batch->groups.size()) - 1;
  for (const v1::Sample& sample : episode.samples()) {
    BatchRow row = RowOf(sample.response(), group);
    ObjectiveRow o{.group = group, .masked = !image_ok || !Usable(sample), .length = static_cast<int>(row.response_ids.size())};
    if (!o.masked) {
      row.old_lp.assign(sample.response().logprobs().begin(), sample.response().logprobs().end());
      SetRewards(sample.reward(), &o);
    }
    batch->rows.push_back(std::move(row));
    batch->objective.push_back(o);
  }
  if (!objective.profile->off_policy) return;
  int free = objective.profile->by_parts ? objective.knobs.k : episode.refinements_size();
  for (const v1::Refinement& refinement : episode.refinements()) {
    if (!refinement.selected() || free == 0 || !refinement.has_reward() || refinement.response().token_ids_size() == 0) {
      continue;
    }
    --free;
    BatchRow row = RowOf(refinement.response(), group);
    ObjectiveRow o{.group = group, .off_policy = true, .masked = !image_ok, .length = static_cast<int>(row.response_ids.size())};
    SetRewards(refinement.reward(), &o);
    batch->rows.push_back(std::move(row));
    batch->objective.push_back(o);
  }
}

}  // namespace

absl::StatusOr<Batch> MakeBatch(absl::Span<const v1::Episode> episodes, const ObjectiveSettings& objective,
                                const ImageSource& images, int64_t version) {
  Batch batch;
  for (const v1::Episode& episode : episodes) {
    if (episode.samples().empty()) continue;
    absl::StatusOr<std::shared_ptr<const Image>> image = images(episode.scene_id());
    if (!image.ok() && IsRetryable(image.status())) return image.status();
    if (!image.ok()) spdlog::warn("group {} is masked: {}", episode.group(), std::string(image.status().message()));
    batch.groups.push_back({episode.group(), episode.scene_id(),
                            {episode.prompt_ids().begin(), episode.prompt_ids().end()},
                            image.ok() ? *image : nullptr});
    AddGroup(episode, objective, image.ok() && episode.prompt_ids_size() > 0, &batch);
  }
  batch.metrics = DataMetrics(episodes, objective.knobs.s, version);
  return batch;
}

}  // namespace swerve
