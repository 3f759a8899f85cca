#include "reward_service/score_rows.h"

#include <algorithm>
#include <map>

#include "pdm/resolve.h"
#include "pdm/traffic.h"

namespace swerve {
namespace {

using pdm::PreparedScene;
using Poses = std::vector<pdm::Pose2>;

constexpr int64_t kMaxGapUs = 550000;

template <typename Repeated>
Poses ToPoses(const Repeated& poses) {
  Poses out;
  for (const v1::Pose& p : poses) out.push_back({p.x(), p.y(), p.heading()});
  return out;
}

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

ScoreRow ScoreCandidateRow(const Targets& targets, const v1::Scene& scene, const v1::Candidate& candidate,
                           const ScoreRowOptions& options) {
  ScoreRow row;
  row.candidate = candidate.name();
  row.poses = candidate.poses_size();
  const Poses poses = ToPoses(candidate.poses());
  const PreparedScene& any = targets.v1 != nullptr ? *targets.v1 : *targets.v2;
  pdm::States states;  // the same by both rules
  if (targets.v1 != nullptr) {
    pdm::Score score = pdm::ScoreTrajectory(*targets.v1, poses, /*want_facts=*/false);
    row.invalid = score.invalid;
    if (row.valid()) row.v1 = std::move(score.scores);
  } else {
    row.invalid = pdm::SimulateCandidate(any, poses, &states);
  }
  if (!row.valid()) return row;
  if (options.diag || options.keep_states) pdm::SimulateCandidate(any, poses, &states);
  if (options.diag) row.diag.emplace();
  if (options.diag && targets.v1 != nullptr) {
    ScoreRow::Diag& diag = *row.diag;
    diag.reference = targets.v1->reference();
    diag.metrics = pdm::Evaluate(targets.v1->map(), targets.v1->observation(), states, targets.v1->options(), &diag.trace);
  }
  if (targets.v2 != nullptr) {
    auto previous = pdm::SimulatePrevious(scene, ToPoses(candidate.prev_poses()));
    const pdm::PreviousPlan* before = previous.has_value() ? &*previous : nullptr;
    row.v2 = targets.reactive != nullptr ? targets.reactive->Score(poses, before)
                                         : pdm::ScoreTrajectoryV2(*targets.v2, poses, before);
  }
  if (options.keep_states) {
    const v1::Pose& at = scene.ego().rear_axle();
    row.end_point = pdm::PlanEnd({at.x(), at.y(), at.heading()}, poses);
    row.states = std::make_unique<const pdm::States>(states);
  }
  return row;
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
  for (const v1::Candidate& c : scene.candidates()) out.rows.push_back(ScoreCandidateRow(*targets, scene, c, options));
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
