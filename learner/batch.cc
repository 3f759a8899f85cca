#include "learner/batch.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <cmath>

namespace swerve {
namespace {

void SetRewards(const v1::Reward& reward, ObjectiveRow* row) {
  row->traj = reward.traj();
  row->fmt = reward.fmt();
  row->goal = reward.goal();
  row->terms = 0;
  for (const v1::RewardTerm& term : reward.terms()) row->terms += term.value();
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

bool Finite(const v1::Reward& r) {
  return std::isfinite(r.traj()) && std::isfinite(r.fmt()) && std::isfinite(r.goal()) && std::isfinite(r.total()) &&
         std::all_of(r.terms().begin(), r.terms().end(), [](const auto& term) { return std::isfinite(term.value()); });
}

// An episode as rows of one group, not yet in the batch.
struct Rows {
  std::vector<BatchRow> rows;
  std::vector<ObjectiveRow> objective;
  bool finite = true;  // rewards and log-probabilities of rows that are not masked
  void Add(BatchRow row, ObjectiveRow o) {
    rows.push_back(std::move(row));
    objective.push_back(o);
  }
};

bool SampledWith(int64_t version, const v1::Response& r) {
  const auto& versions = r.weight_versions();
  return !versions.empty() && std::all_of(versions.begin(), versions.end(), [version](int64_t v) { return v == version; });
}

Rows RowsOf(const v1::Episode& episode, const ObjectiveSettings& objective, int group, int64_t version) {
  Rows out;
  for (const v1::Sample& sample : episode.samples()) {
    BatchRow row = RowOf(sample.response(), group);
    ObjectiveRow o{.group = group, .masked = !Usable(sample), .length = static_cast<int>(row.response_ids.size())};
    if (!o.masked) {
      row.old_lp.assign(sample.response().logprobs().begin(), sample.response().logprobs().end());
      row.current = SampledWith(version, sample.response());
      SetRewards(sample.reward(), &o);
      out.finite = out.finite && Finite(sample.reward()) &&
                   std::all_of(row.old_lp.begin(), row.old_lp.end(), [](double lp) { return std::isfinite(lp); });
    }
    out.Add(std::move(row), o);
  }
  if (!objective.profile->off_policy) return out;
  int free = objective.profile->by_parts ? objective.knobs.k : episode.refinements_size();
  for (const v1::Refinement& refinement : episode.refinements()) {
    if (!refinement.selected() || free == 0 || !refinement.has_reward() || refinement.response().token_ids_size() == 0) {
      continue;
    }
    --free;
    BatchRow row = RowOf(refinement.response(), group);
    ObjectiveRow o{.group = group, .off_policy = true, .length = static_cast<int>(row.response_ids.size())};
    SetRewards(refinement.reward(), &o);
    out.finite = out.finite && Finite(refinement.reward());
    out.Add(std::move(row), o);
  }
  return out;
}

// Empty: the rows can be trained on.
std::string DropReason(const BatchGroup& group, const Rows& rows, const ObjectiveSettings& objective,
                       const RowCheck& check) {
  if (rows.rows.empty()) return "no_samples";
  if (group.prompt_ids.empty()) return "no_prompt";
  if (std::all_of(rows.objective.begin(), rows.objective.end(),
                  [](const ObjectiveRow& o) { return o.masked || o.off_policy; })) {
    return "no_usable_sample";
  }
  if (!rows.finite) return "not_finite";
  for (size_t i = 0; i < rows.rows.size(); ++i) {
    if (rows.objective[i].masked) continue;
    if (objective.profile->needs_T() && rows.objective[i].length > objective.T) return "too_long";
    if (check) {
      if (std::string reason = check(group, rows.rows[i]); !reason.empty()) return reason;
    }
  }
  return "";
}

}  // namespace

const std::vector<std::string>& DropReasons() {
  static const auto* const reasons = new std::vector<std::string>{
      "no_samples", "no_prompt", "no_usable_sample", "no_scene", "not_finite", "too_long", "unknown_token",
      "image_mismatch"};
  return *reasons;
}

RowCheck ChecksOf(const ModelConfig& model) {
  return [model](const BatchGroup& group, const BatchRow& row) -> std::string {
    if (group.prompt_ids.size() + row.response_ids.size() > static_cast<size_t>(model.text.max_positions)) {
      return "too_long";
    }
    for (const auto* ids : {&group.prompt_ids, &row.response_ids}) {
      if (std::any_of(ids->begin(), ids->end(), [&](int32_t id) { return id < 0 || id >= model.text.vocab; })) {
        return "unknown_token";
      }
    }
    const auto slots = std::count(group.prompt_ids.begin(), group.prompt_ids.end(), model.image_token_id);
    if (!model.has_vision) return "";
    const auto wanted = group.image ? ImageTokens(model.processor, group.image->height, group.image->width) : 0;
    return !wanted.ok() || slots != *wanted ? "image_mismatch" : "";
  };
}

absl::StatusOr<Batch> MakeBatch(absl::Span<const v1::Episode> episodes, const ObjectiveSettings& objective,
                                const ImageSource& images, int64_t version, const RowCheck& check) {
  Batch batch;
  std::map<std::string, double> dropped;
  for (const std::string& reason : DropReasons()) dropped[reason] = 0;
  for (const v1::Episode& episode : episodes) {
    absl::StatusOr<std::shared_ptr<const Image>> image = images(episode.scene_id());
    if (!image.ok() && IsRetryable(image.status())) return image.status();
    BatchGroup group{episode.group(), episode.scene_id(), {episode.prompt_ids().begin(), episode.prompt_ids().end()},
                     image.ok() ? *image : nullptr};
    Rows rows = RowsOf(episode, objective, static_cast<int>(batch.groups.size()), version);
    const std::string reason = image.ok() ? DropReason(group, rows, objective, check) : "no_scene";
    if (!reason.empty()) {
      spdlog::warn("group {} (scene {}) cannot be trained on and is dropped: {}{}", episode.group(), episode.scene_id(),
                   reason, image.ok() ? "" : absl::StrCat(", ", image.status().message()));
      ++dropped[reason];
      continue;
    }
    batch.groups.push_back(std::move(group));
    std::move(rows.rows.begin(), rows.rows.end(), std::back_inserter(batch.rows));
    batch.objective.insert(batch.objective.end(), rows.objective.begin(), rows.objective.end());
  }
  batch.metrics = DataMetrics(episodes, objective.knobs.s, version);
  double all = 0;
  for (const auto& [reason, count] : dropped) {
    batch.metrics["train/dropped_by_reason/" + reason] = count;
    all += count;
  }
  batch.metrics["train/episodes_dropped"] = all;
  return batch;
}

}  // namespace swerve
