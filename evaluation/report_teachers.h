// The report's part on teachers: what each one's reports were worth, and when they were changed. Internal to evaluation/.
#ifndef SWERVE_EVALUATION_REPORT_TEACHERS_H_
#define SWERVE_EVALUATION_REPORT_TEACHERS_H_

#include <string>
#include <vector>

#include "evaluation/chart.h"
#include "evaluation/report.h"

namespace swerve {

// The events of a run's steps, as marks for its curves.
std::vector<ChartMark> MarksOf(const std::vector<MetricsRow>& rows);

// Table over the whole run, a curve of each teacher's lift, and the changes in words. Empty when nobody was asked.
std::string TeachersSection(const ReportInput& input);

}  // namespace swerve

#endif  // SWERVE_EVALUATION_REPORT_TEACHERS_H_
