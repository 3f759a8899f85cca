// The files and the table of an evaluation. Stateless.
#ifndef SWERVE_EVALUATION_EVAL_JSON_H_
#define SWERVE_EVALUATION_EVAL_JSON_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "base/status.h"
#include "evaluation/eval.h"

namespace swerve {

// {"overall": {…}, "families": {name: {…}}} with keys scenes pdms pdms_ci95 total_failure_ratio nc dac ttc comfort ep
// format_ok planning_accuracy.
std::string EvalToJson(const EvalResult& result, int indent = 2);
// INVALID_ARGUMENT names the key that is missing or of the wrong type. Other keys are ignored.
absl::StatusOr<EvalResult> EvalFromJson(absl::string_view json);

// One line, without its end: {"scene","family","sample","temperature","seed","text","parse","poses","rewards"}; rewards
// holds traj fmt goal total and the sub-scores.
std::string AnswerToJson(const EvalAnswer& answer);
// The lines of `eval --responses`. NOT_FOUND; INVALID_ARGUMENT names the line.
absl::StatusOr<std::vector<EvalAnswer>> ReadAnswers(const std::string& path);

// For the terminal: one row per family, the overall row last.
std::string EvalTable(const EvalResult& result);

}  // namespace swerve

#endif  // SWERVE_EVALUATION_EVAL_JSON_H_
