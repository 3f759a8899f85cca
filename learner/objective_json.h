// The JSON of `swerve objective` (golden/README_objectives.md): cases in, answers out. Pure: text to text.
#ifndef SWERVE_LEARNER_OBJECTIVE_JSON_H_
#define SWERVE_LEARNER_OBJECTIVE_JSON_H_

#include <string>

#include <nlohmann/json.hpp>

#include "base/status.h"
#include "learner/objective.h"

namespace swerve {

// One case, read and checked.
struct ObjectiveCase {
  const Profile* profile = nullptr;
  Knobs knobs;
  int T = 0;
  std::vector<ObjectiveRow> rows;
  std::vector<std::vector<double>> lp, old_lp, ref_lp;  // per row; empty where not needed or not given
};

// INVALID_ARGUMENT: "<path>: what was wrong; allowed: …".
absl::StatusOr<ObjectiveCase> ParseObjectiveCase(const nlohmann::json& json);

// Overrides in the README's names on top of `knobs`.
absl::Status ApplyKnobs(const Profile& profile, const nlohmann::json& config, Knobs* knobs);

// The answer to one case, without `id`. `micro_batch` 0: the whole batch at once.
absl::StatusOr<nlohmann::ordered_json> ComputeObjectiveCase(const ObjectiveCase& c, int micro_batch);

struct ObjectiveFileAnswer {
  std::string json;
  int failed_cases = 0;
};
// A whole file. INVALID_ARGUMENT when it is no JSON or has no `cases`.
absl::StatusOr<ObjectiveFileAnswer> AnswerObjectiveFile(const std::string& text, int micro_batch);

}  // namespace swerve

#endif  // SWERVE_LEARNER_OBJECTIVE_JSON_H_
