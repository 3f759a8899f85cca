// The learner's Prometheus metrics. Thread-safe.
#ifndef SWERVE_LEARNER_METRICS_H_
#define SWERVE_LEARNER_METRICS_H_

#include <map>
#include <string>

#include "evaluation/teacher_tally.h"

namespace swerve {

// One gauge per number of a step, named after its TensorBoard tag: "train/grad_norm" becomes
// swerve_learner_train_grad_norm. What belongs to a teacher has it as a label: "teacher/vlm/pdms_gain" becomes
// swerve_learner_teacher_pdms_gain{teacher="vlm"}, and keeps its value through steps without that teacher.
void ExportMetrics(const std::map<std::string, double>& values);

// Counts a step's groups, so that ratios over any time can be had.
void CountTeachers(const TeacherTallies& tallies);

// Changes of the teachers that the log has: swerve_learner_teacher_changes_total.
void CountTeacherChanges(size_t changes);

}  // namespace swerve

#endif  // SWERVE_LEARNER_METRICS_H_
