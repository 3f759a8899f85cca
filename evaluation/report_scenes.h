// The report's cards: a scene drawn with the failing, the refined and the ground-truth trajectory, beside what the policy
// thought and what the teacher said. Internal to evaluation/.
#ifndef SWERVE_EVALUATION_REPORT_SCENES_H_
#define SWERVE_EVALUATION_REPORT_SCENES_H_

#include <string>
#include <vector>

#include "evaluation/report.h"

namespace swerve {

// Held-out scenes that were total failures before training and are not after it. For them nobody asked the teacher
// during training: the report shown is the oracle's on the failing answer.
std::string HeldOutSection(const ReportInput& input);

// Training scenes in which every original failed and feedback led to a better answer.
std::string RescuedSection(const ReportInput& input);

}  // namespace swerve

#endif  // SWERVE_EVALUATION_REPORT_SCENES_H_
