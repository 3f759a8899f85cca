// What the gateway must not forget when its process dies: reports that were paid for, and what each teacher has cost the
// run. One SQLite file in the run directory, opened when a teacher of kind openai first appears.
//
// Thread-safe. A statement that fails while the run goes on costs a remembered report or a sum on disk, never a report:
// it is logged once and counted (swerve_teacher_store_errors_total).
#ifndef SWERVE_TEACHER_GATEWAY_GATEWAY_STORE_H_
#define SWERVE_TEACHER_GATEWAY_GATEWAY_STORE_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "base/status.h"
#include "buffers/sqlite_db.h"
#include "swerve/v1/feedback.pb.h"
#include "teacher_gateway/limits.h"

namespace swerve {

class GatewayStore {
 public:
  // Opens or makes `path`. At most `max_bytes` of reports are kept, keys included, the least recently used go first; 0: none.
  // Errors: SqliteStatus's; DATA_LOSS tells to move the file away, which forgets reports and spending.
  static absl::StatusOr<std::unique_ptr<GatewayStore>> Open(const std::string& path, int64_t max_bytes);

  // `key` names everything that the report depends on; it is not stored itself, its SHA-256 is.
  std::optional<v1::Feedback> Get(const std::string& key) ABSL_LOCKS_EXCLUDED(mu_);
  void Put(const std::string& key, const v1::Feedback& feedback) ABSL_LOCKS_EXCLUDED(mu_);

  // Of this run, all its processes.
  Cost Spent(const std::string& teacher) ABSL_LOCKS_EXCLUDED(mu_);
  void AddSpent(const std::string& teacher, const Cost& cost) ABSL_LOCKS_EXCLUDED(mu_);

  int64_t bytes() const ABSL_LOCKS_EXCLUDED(mu_);  // of the reports kept

 private:
  GatewayStore(std::unique_ptr<SqliteDb> db, int64_t max_bytes) : max_bytes_(max_bytes), db_(std::move(db)) {}
  absl::Status Init() ABSL_LOCKS_EXCLUDED(mu_);
  absl::StatusOr<std::optional<v1::Feedback>> GetLocked(const std::string& id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::Status PutLocked(const std::string& id, const v1::Feedback& feedback) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::Status Evict() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Tell(const absl::Status& status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const int64_t max_bytes_;
  mutable absl::Mutex mu_;
  const std::unique_ptr<SqliteDb> db_ ABSL_PT_GUARDED_BY(mu_);
  int64_t bytes_ ABSL_GUARDED_BY(mu_) = 0;
  int64_t uses_ ABSL_GUARDED_BY(mu_) = 0;  // counts Get and Put: the order of use
  bool told_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace swerve

#endif  // SWERVE_TEACHER_GATEWAY_GATEWAY_STORE_H_
