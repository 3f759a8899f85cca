// When generation and training ran, for the one number that says how well they overlap: the share of a run's wall time
// in which neither did. `<run>/busy.jsonl` has one line an interval: {"role":"rollout-0","start_us":…,"end_us":…}.
// Roles append to the same file; `swerve train` marks its own begin and end as role "run".
#ifndef SWERVE_BASE_BUSY_LOG_H_
#define SWERVE_BASE_BUSY_LOG_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "base/role_files.h"
#include "base/status.h"

namespace swerve {

// Thread-safe. A line that cannot be written is lost and told once: statistics never end the work.
class BusyLog {
 public:
  // Errors: those of base/files.h.
  static absl::StatusOr<std::unique_ptr<BusyLog>> Open(const RunDir& run, const std::string& role);
  ~BusyLog();
  BusyLog(const BusyLog&) = delete;
  BusyLog& operator=(const BusyLog&) = delete;

  void Add(absl::Time start, absl::Time end);

 private:
  BusyLog(int fd, std::string role) : fd_(fd), role_(std::move(role)) {}
  const int fd_;
  const std::string role_;
  std::atomic<bool> told_{false};
};

struct BusyInterval {
  std::string role;
  int64_t start_us = 0, end_us = 0;
};

// In the order of the file; lines that are not intervals (half a line of a killed process) are skipped. NOT_FOUND when
// the run has no such file.
absl::StatusOr<std::vector<BusyInterval>> ReadBusy(const RunDir& run);

struct BusyShares {
  double wall_seconds = 0;  // in which the run's processes were up: pauses between interruption and resumption excluded
  double generating = 0;    // shares of it in which at least one rollout engine worked,
  double training = 0;      // the learner trained,
  double idle = 0;          // neither did
};

// From roles "rollout…" and "learner", within the run's sessions. A session begins where a "run" interval does and ends
// with the last of that interval's ends; one that was killed ends with the last work before the next begins. Without
// any "run" interval the wall time goes from the first work to the last. Pure.
BusyShares SharesOf(std::vector<BusyInterval> intervals);

}  // namespace swerve

#endif  // SWERVE_BASE_BUSY_LOG_H_
