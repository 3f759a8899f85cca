// What the gateway wrote down about changes of a run's teachers (`<run>/teacher_changes.jsonl`, one line a change that took
// effect), as the run's log and report tell it.
#ifndef SWERVE_EVALUATION_TEACHER_CHANGES_H_
#define SWERVE_EVALUATION_TEACHER_CHANGES_H_

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"

namespace swerve {

struct TeacherChanges {
  std::vector<std::string> texts;  // "teachers: set 4 (add vlm): oracle 25 %, vlm 75 %"
  uint64_t lines = 0;              // of the file, whole ones
};

// The changes beyond the first `seen` lines. A line that is still being written is none yet; one that is not the gateway's
// counts as a line and tells nothing. Without the file: no lines. Errors: those of base/files.h.
absl::StatusOr<TeacherChanges> ReadTeacherChanges(const std::string& run_dir, uint64_t seen);

}  // namespace swerve

#endif  // SWERVE_EVALUATION_TEACHER_CHANGES_H_
