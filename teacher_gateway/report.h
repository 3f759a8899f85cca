// The five sections of a report (spec: algorithm §3.3) as a language model writes them: their JSON schema, the check of
// what came back, and the facts it is asked to explain. Pure functions.
#ifndef SWERVE_TEACHER_GATEWAY_REPORT_H_
#define SWERVE_TEACHER_GATEWAY_REPORT_H_

#include <string>

#include "base/status.h"
#include "swerve/v1/feedback.pb.h"
#include "swerve/v1/reward.pb.h"
#include "swerve/v1/scene.pb.h"
#include "teacher_gateway/prompt_template.h"

namespace swerve {

// Longest section, characters: the policy reads all of them in its prompt.
inline constexpr size_t kMaxSectionChars = 600;

// JSON schema of {meta_action, think_process, safety, efficiency, correction: {lateral, longitudinal}}.
const std::string& ReportSchema();

// Reads the object (white space and a ```json fence around it are forgiven) into the six texts and prompt_text, which
// begins with "wrong." or, when `positive`, "right.". Texts are made one line, and what looks like a special token or tag
// ("<think>", "<|im_end|>") loses its bracket: a teacher's words go into the policy's prompt, its control tokens must not.
// INVALID_ARGUMENT names the first member that is missing, empty, too long, of a wrong type or not asked for.
absl::StatusOr<v1::Feedback> ParseReport(const std::string& content, bool positive);

// "NC 0, DAC 1, DDC 1, EP 0.3, TTC 0, comfort 1, PDMS 0".
std::string ScoresText(const v1::Reward& reward);
// One fact a line; "nothing failed" when there is none.
std::string FactsText(const v1::Reward& reward);

// Everything a template can name. Precondition: the scene has its 8 ground-truth poses.
TemplateValues ValuesOf(const v1::Scene& scene, const v1::DiagnoseItem& item, double success_threshold);

}  // namespace swerve

#endif  // SWERVE_TEACHER_GATEWAY_REPORT_H_
