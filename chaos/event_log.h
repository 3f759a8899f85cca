// What happened in a chaos run, as it happens: one line of JSON in a file for the auditor, one line of plain text for
// who watches.
#ifndef SWERVE_CHAOS_EVENT_LOG_H_
#define SWERVE_CHAOS_EVENT_LOG_H_

#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "base/status.h"

namespace swerve {

// Thread-safe. A line that cannot be written is lost: the auditor then misses what it proves from.
class EventLog {
 public:
  // Replaces `path`; text goes to stderr. Errors: those of base/files.h.
  static absl::StatusOr<std::unique_ptr<EventLog>> Open(const std::string& path);
  ~EventLog();
  EventLog(const EventLog&) = delete;
  EventLog& operator=(const EventLog&) = delete;

  // {"t":seconds since Open,"what":what,…fields}. `text` "": nothing is shown.
  void Write(const std::string& what, nlohmann::json fields, const std::string& text) ABSL_LOCKS_EXCLUDED(mu_);
  double Seconds() const;  // since Open

 private:
  explicit EventLog(std::FILE* file);
  const absl::Time start_;
  absl::Mutex mu_;
  std::FILE* const file_ ABSL_PT_GUARDED_BY(mu_);
};

// All lines of such a file, in order; half a last line of a killed process is left out. DATA_LOSS: another line is not
// JSON. Errors of base/files.h.
absl::StatusOr<std::vector<nlohmann::json>> ReadEventLog(const std::string& path);

}  // namespace swerve

#endif  // SWERVE_CHAOS_EVENT_LOG_H_
