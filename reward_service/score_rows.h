// One row per scene and candidate of a score file, before it becomes JSON or CSV. Pure and thread-safe.
#ifndef SWERVE_REWARD_SERVICE_SCORE_ROWS_H_
#define SWERVE_REWARD_SERVICE_SCORE_ROWS_H_

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "base/status.h"
#include "pdm/score.h"
#include "pdm/score_v2.h"
#include "pdm/two_stage.h"
#include "swerve/v1/scene.pb.h"

namespace swerve {

struct ScoreRow {
  std::string candidate;
  int poses = 0;
  v1::InvalidReason invalid = v1::INVALID_REASON_UNSPECIFIED;  // set: there are no scores
  std::optional<v1::SubScores> v1;
  std::optional<pdm::ScoreV2> v2;
  // What frames are paired and stages joined by; only with options.keep_states.
  pdm::Vec2 end_point;  // of the plan, global
  std::unique_ptr<const pdm::States> states;
  struct Diag {
    pdm::Metrics reference, metrics;
    pdm::Trace trace;
  };
  std::optional<Diag> diag;  // of v1, where there is v1; that of v2 is in v2

  bool valid() const { return invalid == v1::INVALID_REASON_UNSPECIFIED; }
};

struct ScoredScene {
  std::string id, family, token, recording;
  bool synthetic = false;
  int64_t time_us = 0;
  pdm::Vec2 start_point;  // rear axle at the present, global
  absl::Status status;     // not OK: no rows
  absl::Status status_v2;  // not OK: rows without v2
  bool has_v1 = false, has_v2 = false;  // was scored by v1, v2
  std::vector<ScoreRow> rows;
};

struct ScoreRowOptions {
  pdm::Rules rules = pdm::Rules::kV1;  // of the "v1" scores: v1.1 or v1.0
  bool resolve = false;                // build resolved_v1 and resolved_v2 from the raw scene
  bool reactive = false;               // v2 in reactive traffic instead of the log's
  bool diag = false;
  bool keep_states = false;
};

// Every candidate of the scene: v1 where it has resolved_v1, v2 where it has resolved_v2; one of them is needed.
ScoredScene ScoreScene(v1::Scene scene, const ScoreRowOptions& options);

// One-stage EC across scenes (spec: PDM score §19.3): per recording, original scenes by time; a scene whose predecessor
// lies less than 0.55 s earlier takes EC from the two plans of the same candidate. Rows that have an EC keep it. Needs
// keep_states.
void PairFrames(std::vector<ScoredScene>* scenes);

// Rows of one candidate for the aggregation over stages; scenes without it, or without a token, are left out.
// INVALID_ARGUMENT: a plan of it was refused, or was not scored by v2.
absl::StatusOr<std::vector<pdm::StageRow>> StageRows(absl::Span<const ScoredScene> scenes, const std::string& candidate);

}  // namespace swerve

#endif  // SWERVE_REWARD_SERVICE_SCORE_ROWS_H_
