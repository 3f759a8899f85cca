// The scoring core behind every transport: a fixed pool of threads over a bounded queue of groups. Threads take groups
// in order of arrival and help each other within a large one, so that all cores are busy whether callers send many
// small groups or one big one. A candidate's score depends on nothing but the candidate and its scene; reward functions
// (reward_function.h) add to it what the group says, once all of it is scored. Idle threads wait where calls arrive
// (call_source.h); should all be busy for long, one more thread sees to it that refusals and cancellations get through.
//
// Statuses: INVALID_ARGUMENT and NOT_FOUND for a group that can never be scored; RESOURCE_EXHAUSTED with a retry hint
// (reward_service/retry_hint.h) when there is no room; DEADLINE_EXCEEDED and CANCELLED, after which the work on the
// group stops within the next pdm::kLanes candidates; UNAVAILABLE while shutting down. Never a partial answer.
#ifndef SWERVE_REWARD_SERVICE_SCORING_POOL_H_
#define SWERVE_REWARD_SERVICE_SCORING_POOL_H_

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "base/status.h"
#include "reward_service/call_source.h"
#include "reward_service/reward_function.h"
#include "reward_service/target_cache.h"
#include "swerve/v1/reward.pb.h"

namespace swerve {

struct ScoringOptions {
  int threads = 1;                              // 0: one per core
  int max_queue = 256;                          // groups waiting
  int64_t max_queue_bytes = 256 << 20;          // size of the groups waiting; a single one always fits
  absl::Duration deadline = absl::Seconds(30);  // per group, from its arrival; a shorter one of the caller wins
  int max_candidates = 4096;                    // per group, peers too; more are refused with INVALID_ARGUMENT
  size_t cache_bytes = 256 << 20;               // prepared scenes
  v1::RewardWeights default_weights = UnitWeights();  // of a request without weights
  RewardFunctions default_functions;                  // of a request without rules
  pdm::Rules pdm_rules = pdm::Rules::kV1;             // of a request that does not say
  std::function<absl::Time()> now = absl::Now;
};

// Thread-safe. Owns its threads and joins them in the destructor, which answers what still waits with UNAVAILABLE. What
// it serves must have left before.
class ScoringPool {
 public:
  struct Call {
    const v1::ScoreGroupRequest* request = nullptr;  // must live until `done` is called, as must:
    v1::ScoreGroupReply* reply = nullptr;            // empty; filled where `done` says OK, empty again where it does not
    // Where it is given, the two are null: called at most once, on the thread that takes the group, to set them.
    std::function<absl::Status(Call*)> open;
    int64_t bytes = 0;                               // size of the request, for reward.max_queue_mb
    absl::Duration timeout = absl::InfiniteDuration();
    std::function<bool()> cancelled;  // may be empty; cheap and thread-safe, not called after `done`
    std::function<void(const absl::Status&)> done;  // called exactly once; must not block
  };

  ScoringPool(const ScoringOptions& options, SceneLookup scenes);
  ~ScoringPool();

  // Never blocks on scoring. `done` is called on a scoring thread, or, for a refusal, before Submit returns.
  void Submit(Call call) ABSL_LOCKS_EXCLUDED(mu_);
  // Submit, and wait for the answer.
  absl::StatusOr<v1::ScoreGroupReply> Score(const v1::ScoreGroupRequest& request,
                                            absl::Duration timeout = absl::InfiniteDuration());

  // Threads wait at `source` from now on; one at a time.
  void Serve(CallSource* source) ABSL_LOCKS_EXCLUDED(mu_);
  // No thread will go there again; `leave` must make those that are there return. Blocks until they have.
  void Leave(const std::function<void()>& leave) ABSL_LOCKS_EXCLUDED(mu_);

 private:
  struct Job;
  using JobPtr = std::shared_ptr<Job>;
  struct Task {  // of one thread: prepare the job, or score candidates [begin, end), then look in at the source;
    JobPtr job;  // none: wait at the source
    int begin = 0, end = 0;
    CallSource* source = nullptr;  // may be null; none and no job: the end
    bool look = false;             // there, once the job is done
  };

  void Work();
  // The next, after `last`.
  Task Take(const Task& last) ABSL_LOCKS_EXCLUDED(mu_);
  // Whether who takes a job now is to look for calls after it.
  bool TimeToLook() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Attend() ABSL_LOCKS_EXCLUDED(mu_);
  void Begin(const JobPtr& job) ABSL_LOCKS_EXCLUDED(mu_);
  absl::Status Prepare(Job& job);
  absl::Status CheckSize(const v1::ScoreGroupRequest& request) const;
  absl::Status ScoreSome(Job& job, int begin, int end);
  void Settle(const JobPtr& job, const absl::Status& status) ABSL_LOCKS_EXCLUDED(mu_);
  absl::Status GoOn(const Job& job) const;
  void Answer(Job& job, const absl::Status& status);
  absl::Status Enqueue(const JobPtr& job) ABSL_LOCKS_EXCLUDED(mu_);
  bool Full(const Job& job) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);  // no room for it
  std::vector<JobPtr> DropGone() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::Duration RetryDelay() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void ShowQueue() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  bool HasWork() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return stopping_ || !jobs_.empty() || source_ != nullptr; }
  bool Unattended() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {  // calls arrive and nobody looks
    return stopping_ || (source_ != nullptr && idle_ == 0);
  }
  bool Stopping() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return stopping_; }
  bool NobodyThere() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return visitors_ == 0; }

  const ScoringOptions options_;
  TargetCache cache_;
  std::atomic<bool> stopping_{false};
  absl::Mutex mu_;
  std::deque<JobPtr> jobs_ ABSL_GUARDED_BY(mu_);  // with work to take: first those begun, then those waiting
  int waiting_ ABSL_GUARDED_BY(mu_) = 0;          // of them, not begun
  int64_t waiting_bytes_ ABSL_GUARDED_BY(mu_) = 0;
  double mean_seconds_ ABSL_GUARDED_BY(mu_) = 0;  // work per group, exponentially averaged
  CallSource* source_ ABSL_GUARDED_BY(mu_) = nullptr;
  int idle_ ABSL_GUARDED_BY(mu_) = 0;        // threads that wait at the source
  int visitors_ ABSL_GUARDED_BY(mu_) = 0;    // threads whose task names it
  int64_t looks_ ABSL_GUARDED_BY(mu_) = 0;   // how often one was taken
  bool looking_ ABSL_GUARDED_BY(mu_) = false;  // a thread that has work is about to
  absl::Time looked_ ABSL_GUARDED_BY(mu_) = absl::InfinitePast();  // when one did
  int few_ ABSL_GUARDED_BY(mu_) = 0;           // waiting groups that call for the next look
  std::vector<std::thread> threads_;
  std::thread attendant_;
};

}  // namespace swerve

#endif  // SWERVE_REWARD_SERVICE_SCORING_POOL_H_
