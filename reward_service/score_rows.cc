#include "reward_service/score_rows.h"

#include <algorithm>
#include <map>

#include "pdm/resolve.h"
#include "pdm/traffic.h"
#include "reward_service/rewards.h"

namespace swerve {
namespace {

using pdm::PreparedScene;
using Poses = std::vector<pdm::Pose2>;

constexpr int64_t kMaxGapUs = 550000;

// The scene made ready under both rules; null where the scene has none.
struct Targets {
  std::shared_ptr<const PreparedScene> v1, v2;
  std::shared_ptr<const pdm::ReactiveScene> reactive;  // null: the log replays
};

absl::Status PrepareV2(const v1::Scene& scene, bool reactive, Targets* out) {
  SWERVE_ASSIGN_OR_RETURN(auto prepared, PreparedScene::Create(scene, pdm::Rules::kV2));
  if (reactive) {
    SWERVE_ASSIGN_OR_RETURN(out->reactive, pdm::ReactiveScene::Create(scene, prepared));
  }
  out->v2 = std::move(prepared);
  return absl::OkStatus();
}

absl::StatusOr<Targets> Prepare(v1::Scene* scene, const ScoreRowOptions& options, absl::Status* status_v2) {
  Targets out;
  if (options.resolve) SWERVE_RETURN_IF_ERROR(pdm::ResolveBoth(scene, options.rules));
  if (!scene->has_resolved_v1() && !scene->has_resolved_v2()) {
    return absl::InvalidArgumentError("resolved.v1 is missing; --resolve builds it from map, route and tracks");
  }
  if (!scene->has_resolved_v1()) {
    SWERVE_RETURN_IF_ERROR(PrepareV2(*scene, options.reactive, &out));
    return out;
  }
  SWERVE_ASSIGN_OR_RETURN(out.v1, PreparedScene::Create(*scene, options.rules));
  if (scene->has_resolved_v2()) {
    *status_v2 = PrepareV2(*scene, options.reactive, &out);
  }
  return out;
}

// What the options ask for beyond the scores.
void AddDetails(const Targets& targets, const v1::Scene& scene, const Poses& poses, const ScoreRowOptions& options,
                ScoreRow* row) {
  if (!options.diag && !options.keep_states) return;
  pdm::States states;  // the same by both rules
  pdm::SimulateCandidate(targets.v1 != nullptr ? *targets.v1 : *targets.v2, poses, &states);
  if (options.diag) row->diag.emplace();
  if (options.diag && targets.v1 != nullptr) {
    const PreparedScene& target = *targets.v1;
    ScoreRow::Diag& diag = *row->diag;
    diag.reference = target.reference();
    diag.metrics = pdm::Evaluate(target.map(), target.observation(), states, target.options(), &diag.trace);
  }
  if (options.keep_states) {
    const v1::Pose& at = scene.ego().rear_axle();
    row->end_point = pdm::PlanEnd({at.x(), at.y(), at.heading()}, poses);
    row->states = std::make_unique<const pdm::States>(states);
  }
}

std::vector<pdm::ScoreV2> ScoreV2(const Targets& targets, const v1::Scene& scene,
                                  absl::Span<const absl::Span<const pdm::Pose2>> plans) {
  std::vector<std::optional<pdm::PreviousPlan>> previous;
  for (const v1::Candidate& c : scene.candidates()) {
    previous.push_back(pdm::SimulatePrevious(scene, ToPoses(c.prev_poses())));
  }
  std::vector<const pdm::PreviousPlan*> before;
  for (const auto& p : previous) before.push_back(p.has_value() ? &*p : nullptr);
  if (targets.reactive == nullptr) return pdm::ScoreTrajectoriesV2(*targets.v2, plans, before);
  std::vector<pdm::ScoreV2> out;
  for (size_t i = 0; i < plans.size(); ++i) out.push_back(targets.reactive->Score(plans[i], before[i]));
  return out;
}

std::vector<ScoreRow> ScoreCandidateRows(const Targets& targets, const v1::Scene& scene, const ScoreRowOptions& options) {
  std::vector<Poses> poses;
  for (const v1::Candidate& c : scene.candidates()) poses.push_back(ToPoses(c.poses()));
  const std::vector<absl::Span<const pdm::Pose2>> plans(poses.begin(), poses.end());
  std::vector<pdm::Score> scores_v1;
  std::vector<pdm::ScoreV2> scores_v2;
  if (targets.v1 != nullptr) scores_v1 = pdm::ScoreTrajectories(*targets.v1, plans, /*want_facts=*/false);
  if (targets.v2 != nullptr) scores_v2 = ScoreV2(targets, scene, plans);
  std::vector<ScoreRow> rows(plans.size());
  for (size_t i = 0; i < rows.size(); ++i) {
    ScoreRow& row = rows[i];
    row.candidate = scene.candidates(static_cast<int>(i)).name();
    row.poses = static_cast<int>(poses[i].size());
    row.invalid = targets.v1 != nullptr ? scores_v1[i].invalid : scores_v2[i].invalid;
    if (!row.valid()) continue;
    if (targets.v1 != nullptr) row.v1 = std::move(scores_v1[i].scores);
    if (targets.v2 != nullptr) row.v2 = std::move(scores_v2[i]);
    AddDetails(targets, scene, poses[i], options, &row);
  }
  return rows;
}

}  // namespace

ScoredScene ScoreScene(v1::Scene scene, const ScoreRowOptions& options) {
  ScoredScene out;
  out.id = scene.id();
  out.family = scene.family();
  out.token = scene.token().empty() ? scene.id() : scene.token();
  out.recording = scene.recording();
  out.synthetic = scene.synthetic_stage();
  out.time_us = scene.ego().time_us();
  out.start_point = {scene.ego().rear_axle().x(), scene.ego().rear_axle().y()};
  absl::StatusOr<Targets> targets = Prepare(&scene, options, &out.status_v2);
  out.status = targets.status();
  if (!targets.ok()) return out;
  out.has_v1 = targets->v1 != nullptr;
  out.has_v2 = targets->v2 != nullptr;
  out.rows = ScoreCandidateRows(*targets, scene, options);
  return out;
}

void PairFrames(std::vector<ScoredScene>* scenes) {
  std::map<std::string, std::vector<ScoredScene*>> recordings;
  for (ScoredScene& s : *scenes) {
    if (!s.recording.empty() && !s.synthetic && s.status.ok()) recordings[s.recording].push_back(&s);
  }
  for (auto& [recording, frames] : recordings) {
    std::stable_sort(frames.begin(), frames.end(), [](const auto* a, const auto* b) { return a->time_us < b->time_us; });
    for (size_t i = 1; i < frames.size(); ++i) {
      const int64_t gap = frames[i]->time_us - frames[i - 1]->time_us;
      if (gap <= 0 || gap >= kMaxGapUs) continue;
      const int offset = static_cast<int>((gap + 50000) / 100000);
      for (ScoreRow& now : frames[i]->rows) {
        if (!now.valid() || !now.v2.has_value() || now.v2->ec.has_value() || now.states == nullptr) continue;
        for (const ScoreRow& before : frames[i - 1]->rows) {
          if (before.candidate != now.candidate || before.states == nullptr) continue;
          pdm::SetExtendedComfort(pdm::ExtendedComfort(*now.states, *before.states, offset) ? 1.0 : 0.0, &*now.v2);
        }
      }
    }
  }
}

absl::StatusOr<std::vector<pdm::StageRow>> StageRows(absl::Span<const ScoredScene> scenes, const std::string& candidate) {
  std::vector<pdm::StageRow> out;
  for (const ScoredScene& s : scenes) {
    for (const ScoreRow& row : s.rows) {
      if (row.candidate != candidate) continue;
      auto bad = [&](absl::string_view what) {
        return absl::InvalidArgumentError(absl::StrCat("scene '", s.id, "', candidate '", candidate, "': ", what));
      };
      if (!row.valid()) return bad("the plan was refused, so that no score over two stages exists");
      if (!row.v2.has_value()) return bad("not scored by v2; the scene needs resolved.v2");
      out.push_back({s.token, static_cast<double>(s.time_us) * 1e-6, s.start_point, row.end_point, *row.states,
                     row.v2->filtered});
    }
  }
  return out;
}

}  // namespace swerve
