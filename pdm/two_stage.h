// EPDMS over two stages, "pseudo closed loop" (spec: PDM score §20): what the first plan leads to is scored again in
// second-stage scenes that start near its end, weighted by how near. Pure and thread-safe.
#ifndef SWERVE_PDM_TWO_STAGE_H_
#define SWERVE_PDM_TWO_STAGE_H_

#include <array>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/types/span.h"
#include "base/status.h"
#include "pdm/score_v2.h"
#include "pdm/types.h"

namespace swerve::pdm {

// One scored scene of either stage.
struct StageRow {
  std::string token;
  double start_time = 0;  // s
  Vec2 start_point;       // rear axle at the present, global
  Vec2 end_point;         // of the plan (its 8th pose, not the simulation), global
  States states;          // simulated; positions are not read
  SubScoresV2 scores;     // after the human filter, which acts in the first stage only
};

// First-stage tokens with the second-stage pairs that belong to them; each previous frame lies 0.5 s earlier.
struct StageGroup {
  std::string now, prev;
  std::vector<std::pair<std::string, std::string>> second;  // (now, prev)
};

enum StageColumn { kNC, kDAC, kDDC, kTLC, kEP, kTTC, kLK, kHC, kEC, kScore, kStageColumns };
inline constexpr std::array<const char*, kStageColumns> kStageColumnNames = {"NC", "DAC", "DDC", "TLC", "EP",
                                                                            "TTC", "LK", "HC", "EC", "score"};
using StageColumns = std::array<double, kStageColumns>;

struct StageResult {
  struct Token {
    double weight = 0;
    StageColumns columns{};
  };
  std::map<std::string, Token> per_token;
  // Means over the groups; a column that no group has a value for is NaN. The headline is combined[kScore].
  StageColumns combined{}, stage_one{}, stage_two{};
};

// Global end point of a plan given in the ego frame of `rear_axle`.
Vec2 PlanEnd(const Pose2& rear_axle, absl::Span<const Pose2> poses);

// INVALID_ARGUMENT names the token: one without a row or with two, or a pair that is not (0, 0.55) s apart.
absl::StatusOr<StageResult> AggregateTwoStages(absl::Span<const StageRow> rows, absl::Span<const StageGroup> groups);

}  // namespace swerve::pdm

#endif  // SWERVE_PDM_TWO_STAGE_H_
