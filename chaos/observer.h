// Watches a run from outside and writes what it sees into the event log: announced weights, checkpoints as they appear.
#ifndef SWERVE_CHAOS_OBSERVER_H_
#define SWERVE_CHAOS_OBSERVER_H_

#include <set>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "absl/time/time.h"
#include "base/role_channel.h"
#include "base/role_files.h"
#include "chaos/event_log.h"
#include "swerve/v1/orchestrator.pb.h"

namespace swerve {

// Thread-safe. A thread of its own asks ten times a second; what is down is asked again.
class Observer {
 public:
  // `log` must outlive it.
  Observer(RunDir run, EventLog* log);
  ~Observer();
  Observer(const Observer&) = delete;
  Observer& operator=(const Observer&) = delete;

  uint64_t step() const ABSL_LOCKS_EXCLUDED(mu_);
  // When the step last was another than before.
  absl::Time moved() const ABSL_LOCKS_EXCLUDED(mu_);

  // Looks at every checkpoint on disk and writes a line "file" for each; `when` says why now.
  void LookAtCheckpoints(const std::string& when);

 private:
  void Loop();
  void AskStatus();
  void LookForCheckpoints();

  const RunDir run_;
  EventLog* const log_;
  RoleChannel orchestrator_;
  std::set<std::string> known_;       // the thread's: checkpoints, step and first-seen consumed
  v1::PolicyManifest policy_;         // the thread's: the last one seen
  mutable absl::Mutex mu_;
  uint64_t step_ ABSL_GUARDED_BY(mu_) = 0;
  absl::Time moved_ ABSL_GUARDED_BY(mu_);
  absl::Notification ended_;
  std::thread thread_;
};

}  // namespace swerve

#endif  // SWERVE_CHAOS_OBSERVER_H_
