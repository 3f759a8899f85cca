// The teacher of a run as its workers see it: one or several teachers behind one face, which change while it works.
//
// Which teachers: the teachers file (teacher.teachers_file, else teachers.yaml in the run directory), and without one
// teacher.kind alone. A changed file is read anew; an invalid one is refused whole, the old set stays. Changes asked for
// by hand (Edit) are checked, written to the file and put in force together, so that a restart finds them; comments in
// the file are not kept. Every change that takes effect is a line in <run>/teacher_changes.jsonl, one that was made while
// no gateway ran too; the set's version counts them, over restarts.
#ifndef SWERVE_TEACHER_GATEWAY_GATEWAY_H_
#define SWERVE_TEACHER_GATEWAY_GATEWAY_H_

#include <atomic>
#include <functional>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "swerve/v1/config.pb.h"
#include "swerve/v1/teachers.pb.h"
#include "teacher_gateway/shadows.h"
#include "teacher_gateway/teacher_set.h"

namespace swerve {

// The set in force. Thread-safe; held for no longer than a pointer takes to copy. (ThreadSanitizer does not understand
// g++ 12's std::atomic<std::shared_ptr>.)
class SetInForce {
 public:
  std::shared_ptr<const TeacherSet> load() const ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    return set_;
  }
  void store(std::shared_ptr<const TeacherSet> set) ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    set_.swap(set);  // the old set ends with `set`, after the lock
  }

 private:
  mutable absl::Mutex mu_;
  std::shared_ptr<const TeacherSet> set_ ABSL_GUARDED_BY(mu_);
};

// Thread-safe. Diagnose never waits for a change.
class Gateway final : public Teacher {
 public:
  struct Options {
    v1::TeacherConfig config;
    std::string run_root;
    RetryClock clock;
    std::shared_ptr<HttpTransport> http;  // null: libcurl
  };
  // NOT_FOUND: teacher.teachers_file is named and not there. INVALID_ARGUMENT: the file is invalid and there is no set
  // that an earlier process had put in force (kept as <run>/teachers.applied.yaml), which would be used instead.
  static absl::StatusOr<std::unique_ptr<Gateway>> Open(Options options);

  v1::DiagnoseReply DiagnoseBy(const v1::DiagnoseRequest& request, const v1::Scene& scene,
                               absl::Time deadline) const override;
  v1::DiagnoseReply Diagnose(const v1::DiagnoseRequest& request, const v1::Scene& scene) const override;
  std::string name() const override { return "gateway"; }

  // Reads the file when it has changed since it was last looked at. An error is that of a refused change, once per
  // change; a file that is gone changes nothing.
  absl::Status ReloadIfChanged() ABSL_LOCKS_EXCLUDED(mu_);
  // Reads the file in any case, keys and templates too. NOT_FOUND: there is none. Returns the new set's version.
  absl::StatusOr<uint64_t> Reload() ABSL_LOCKS_EXCLUDED(mu_);
  // `edit` changes the teachers in force; `cause` is for the log. Errors: the edit's, INVALID_ARGUMENT, those of
  // base/files.h, FAILED_PRECONDITION when the run's workers ask no teacher (kind none). Returns the new set's version.
  absl::StatusOr<uint64_t> Edit(const std::function<absl::Status(v1::TeachersFile*)>& edit, const std::string& cause)
      ABSL_LOCKS_EXCLUDED(mu_);

  v1::ListTeachersReply List() const;

 private:
  explicit Gateway(Options options);
  absl::Status Start() ABSL_LOCKS_EXCLUDED(mu_);
  v1::TeachersFile FileOfKind() const;
  absl::Status Load(const std::string& yaml, const std::string& cause) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::StatusOr<std::shared_ptr<const TeacherSet>> BuildNext(const TeachersSource& source)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void PutInForce(std::shared_ptr<const TeacherSet> set, bool from_file, const std::string& cause)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Tell(const TeacherSet& set, const std::string& cause) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const Options options_;
  const std::string file_, applied_;
  absl::Mutex mu_;  // one change at a time
  TeacherParts parts_ ABSL_GUARDED_BY(mu_);
  uint64_t changes_ ABSL_GUARDED_BY(mu_) = 0;  // lines in teacher_changes.jsonl
  std::string seen_ ABSL_GUARDED_BY(mu_);  // inode, size and time of the file when last looked at
  bool file_refused_ ABSL_GUARDED_BY(mu_) = false;  // it holds something else than what is in force
  SetInForce set_;
  std::atomic<bool> from_file_{false};
  mutable Shadows shadows_;  // last: its threads end before the rest goes
};

}  // namespace swerve

#endif  // SWERVE_TEACHER_GATEWAY_GATEWAY_H_
