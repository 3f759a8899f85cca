// Takes leased scenes through the five steps (types.h) and keeps the engine busy meanwhile: while it generates for some
// groups, others are scored and diagnosed, and the engine goes on with originals of new groups and refinements of diagnosed
// ones together, whichever is next taking the room of one that has ended.
//
//   lease thread ─▶ leased ─┐                       ┌─▶ I/O threads: score, diagnose ─▶ to refine ─┐
//                           ├─▶ lanes: engine calls                                                │
//          ▲   to refine ───┘        ▲              └─▶ I/O threads: score, select, store, complete
//          │                         └─────────────────────────────────────────────────────────────┘
//
// rollout.groups_in_flight lanes call the engine with a group each, and twice as many groups are held. Deterministic mode
// holds one group at a time.
//
// Failures: what the services could not do is never a reward (score.h, diagnose.h, refine.h). A group that cannot go on
// is handed back to the orchestrator with a reason and counted; errors that another attempt cannot cure end Run.
#ifndef SWERVE_ROLLOUT_WORKERS_WORKER_H_
#define SWERVE_ROLLOUT_WORKERS_WORKER_H_

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "base/busy_log.h"
#include "buffers/buffers.h"
#include "rollout_workers/clients.h"
#include "rollout_workers/refine.h"
#include "rollout_workers/stats.h"
#include "base/task_pool.h"
#include "rollout_workers/types.h"

namespace swerve {

// What the worker works with; must outlive it. All but the engine are used from several threads.
struct WorkerParts {
  Engine* engine = nullptr;
  RewardClient* reward = nullptr;
  TeacherClient* teacher = nullptr;
  OrchestratorClient* orchestrator = nullptr;
  Buffers* buffers = nullptr;
  std::function<absl::StatusOr<std::shared_ptr<const v1::Scene>>(const std::string& id)> scenes;
  BusyLog* busy = nullptr;  // told when the engine works; may be null
};

struct WorkerOptions {
  std::string name = "rollout-0";
  uint64_t incarnation = 0;  // of this process, for the orchestrator
  int io_threads = 2;
  absl::Duration idle_poll = absl::Milliseconds(50);    // how soon a stop is noticed while idle
  absl::Duration report_every = absl::Seconds(2);
};

// How long to wait before leasing more when the last `drops` attempts in a row were dropped: nothing until all groups
// that are held at a time were, then 0.1 s doubling to 5 s with each such round. A service that fails fast would
// otherwise cost hundreds of attempts while it is mended.
absl::Duration PauseAfterDrops(int drops, int capacity);

class Worker {
 public:
  Worker(v1::RunConfig config, WorkerParts parts, WorkerOptions options);
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  // Works until `stop` is true (the engine calls under way end, groups whose refinements are sampled are stored, the
  // rest is left to the next lease) or the orchestrator says stop (everything held is finished). Call once. `stop` is
  // asked from several threads.
  // Returns the error that ended the work: the engine's when it is neither retryable nor about one request, the
  // store's when it is damaged or another run's.
  absl::Status Run(const std::function<bool()>& stop);

  const RolloutStats& stats() const { return stats_; }

 private:
  // A group whose refinements are to be sampled.
  struct ToRefine {
    DiagnosedGroup group;
    std::vector<RefineRequest> requests;
  };
  using Job = std::variant<LeasedGroup, ToRefine>;

  // Lease thread.
  void LeaseLoop();
  void LeaseSome(int want);
  void ReportNow();

  // Lanes. NextJob: nothing when there is nothing more to do.
  void Lane();
  std::optional<Job> NextJob() ABSL_LOCKS_EXCLUDED(mu_);
  bool MayGenerate() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void RefreshWeights() ABSL_LOCKS_EXCLUDED(mu_);
  absl::Status GenerateFor(LeasedGroup leased);
  absl::Status GenerateFor(ToRefine refine);
  bool Servable(const GenerateRequest& request, const std::string& what);
  // Nothing: the engine failed as it may, this time.
  struct Generated {
    std::vector<GenerateResult> results;
    double seconds = 0;  // of the engine's busy time, this call's share
  };
  absl::StatusOr<std::optional<Generated>> Generate(const std::vector<GenerateRequest>& requests);
  absl::Time BeginGenerating() ABSL_LOCKS_EXCLUDED(mu_);
  absl::Time EndGenerating(absl::Time now) ABSL_LOCKS_EXCLUDED(mu_);

  // I/O threads.
  void Submit(std::function<void()> task) ABSL_LOCKS_EXCLUDED(mu_);
  void ScoreAndDiagnose(RolloutGroup group);
  void FinishGroup(DiagnosedGroup group, const std::vector<RefineRequest>& requests,
                   std::vector<std::optional<v1::Response>> answers);
  void Store(RefinedGroup group);
  void Drop(const v1::Lease& lease, const std::string& reason);
  void Complete(const v1::Lease& lease, const std::string& dropped);
  void Fail(absl::Status status) ABSL_LOCKS_EXCLUDED(mu_);
  bool Closing() const ABSL_LOCKS_EXCLUDED(mu_);
  bool Stopping() const ABSL_LOCKS_EXCLUDED(mu_);  // closing, or about to

  const v1::RunConfig config_;
  const WorkerParts parts_;
  const WorkerOptions options_;
  const int lanes_;     // groups in the engine at a time
  const int capacity_;  // groups held
  const int image_size_;
  RolloutStats stats_;
  std::function<bool()> stop_;  // Run's, set before any thread starts

  mutable absl::Mutex mu_;
  std::deque<LeasedGroup> leased_ ABSL_GUARDED_BY(mu_);
  std::deque<ToRefine> to_refine_ ABSL_GUARDED_BY(mu_);
  int held_ ABSL_GUARDED_BY(mu_) = 0;   // groups leased and not ended
  int drops_in_row_ ABSL_GUARDED_BY(mu_) = 0;  // since the last group that was stored
  int in_io_ ABSL_GUARDED_BY(mu_) = 0;  // tasks submitted and not ended
  v1::PolicyManifest newest_ ABSL_GUARDED_BY(mu_);
  bool refreshing_ ABSL_GUARDED_BY(mu_) = false;  // a lane loads weights
  int generating_ ABSL_GUARDED_BY(mu_) = 0;       // lanes in the engine
  absl::Time counted_ ABSL_GUARDED_BY(mu_);       // the engine's busy time is, up to here
  bool draining_ ABSL_GUARDED_BY(mu_) = false;  // the orchestrator said stop
  bool closing_ ABSL_GUARDED_BY(mu_) = false;   // Run is ending
  absl::Status fatal_ ABSL_GUARDED_BY(mu_);

  std::unique_ptr<TaskPool> io_;  // last: its threads end before the rest goes
};

}  // namespace swerve

#endif  // SWERVE_ROLLOUT_WORKERS_WORKER_H_
