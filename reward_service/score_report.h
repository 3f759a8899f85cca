// Scored scenes as JSON (docs/scores.md) and as CSV with NAVSIM's column names. Pure and thread-safe.
#ifndef SWERVE_REWARD_SERVICE_SCORE_REPORT_H_
#define SWERVE_REWARD_SERVICE_SCORE_REPORT_H_

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "reward_service/score_rows.h"

namespace swerve {

// {name, family, candidates: […]}; "error" or "error_v2" where something could not be scored.
nlohmann::ordered_json SceneScoresJson(const ScoredScene& scene);

// Means over the valid rows of each candidate name: {name: {v1: {…, scored, invalid}, v2: {…}}}. A sub-score that a row
// lacks (EC) is left out of its mean.
nlohmann::ordered_json SummaryJson(absl::Span<const ScoredScene> scenes);

// The two-stage result: {per_token, combined, stage_one, stage_two}; NaN becomes null.
nlohmann::ordered_json StageResultJson(const pdm::StageResult& result);

// One line per row in NAVSIM's column order, a mean at the end. Rows that were refused have empty cells and count in no
// mean. The last column, "candidate", is ours. V2 leaves out scenes without v2.
std::string PdmsCsv(absl::Span<const ScoredScene> scenes);
std::string EpdmsCsv(absl::Span<const ScoredScene> scenes);

}  // namespace swerve

#endif  // SWERVE_REWARD_SERVICE_SCORE_REPORT_H_
