#include "buffers/difficulty_store.h"

#include <algorithm>

namespace swerve {

void AddOutcome(const GroupOutcome& outcome, v1::DifficultyRecord* record) {
  if (outcome.r_traj.empty()) return;
  for (size_t i = 0; i < outcome.r_traj.size(); ++i) {
    const double x = outcome.r_traj[i];
    const double fmt = i < outcome.r_fmt.size() ? outcome.r_fmt[i] : 0.0;
    record->set_attempts(record->attempts() + 1);
    const double n = static_cast<double>(record->attempts());
    const double delta = x - record->mean();
    record->set_mean(record->mean() + delta / n);
    record->set_m2(record->m2() + delta * (x - record->mean()));
    record->set_format_mean(record->format_mean() + (fmt - record->format_mean()) / n);
  }
  record->set_groups(record->groups() + 1);
  if (std::all_of(outcome.r_traj.begin(), outcome.r_traj.end(), [](double r) { return r == 0.0; })) {
    record->set_total_failures(record->total_failures() + 1);
  }
  record->set_last_version(std::max(record->last_version(), outcome.weight_version));
}

double Variance(const v1::DifficultyRecord& record) {
  return record.attempts() < 2 ? 0.0 : record.m2() / static_cast<double>(record.attempts() - 1);
}

}  // namespace swerve
