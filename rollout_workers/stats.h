// Every number a rollout worker tells: Prometheus metrics, and the values it reports to the orchestrator:
//
//   rollout/tokens_per_second   sampled tokens, over the last 30 s (they are counted a group at a time)
//   rollout/busy_ratio          share of wall time inside the engine, since the last report
//   rollout/groups_stored, groups_duplicate, groups_dropped, groups_held, weight_version    now
//   rollout/generate_seconds, score_seconds, diagnose_seconds           per group, mean of the window
//   reward/traj/mean, reward/fmt/mean, reward/goal/mean, reward/mean, reward/std    of originals, window
//   reward/TERM/mean    of each term of the reward functions, over the originals that have it, window
//   rollout/total_failure_ratio      share of groups whose originals all have r_traj = 0, window
//   rollout/refinement_success_ratio share of groups with refinements in which one beat every original, window
//   rollout/feedback_failed_ratio    share of responses whose teacher gave no report, window
//   completion_length/mean           tokens per original, window
//
// The window is the last 64 stored groups.
#ifndef SWERVE_ROLLOUT_WORKERS_STATS_H_
#define SWERVE_ROLLOUT_WORKERS_STATS_H_

#include <deque>
#include <map>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "swerve/v1/episode.pb.h"

namespace swerve {

// Thread-safe.
class RolloutStats {
 public:
  explicit RolloutStats(absl::Time now) : last_report_(now), counted_({{now, 0}}) {}

  void Generated(uint64_t tokens, absl::Duration busy) ABSL_LOCKS_EXCLUDED(mu_);
  // `seconds` of generating, scoring and diagnosing this group.
  struct Seconds {
    double generate = 0, score = 0, diagnose = 0;
  };
  void Stored(const v1::Episode& episode, const Seconds& seconds) ABSL_LOCKS_EXCLUDED(mu_);
  void Duplicate() ABSL_LOCKS_EXCLUDED(mu_);
  void Dropped(const std::string& reason) ABSL_LOCKS_EXCLUDED(mu_);
  void RefinementFailed(const std::string& reason) ABSL_LOCKS_EXCLUDED(mu_);
  void WeightVersion(int64_t version) ABSL_LOCKS_EXCLUDED(mu_);
  // Why a group was just lost. Told until one is stored.
  void Trouble(std::string why) ABSL_LOCKS_EXCLUDED(mu_);
  std::string trouble() const ABSL_LOCKS_EXCLUDED(mu_);

  // The values above; starts the next interval.
  std::map<std::string, double> Report(absl::Time now, int held) ABSL_LOCKS_EXCLUDED(mu_);

  uint64_t stored() const ABSL_LOCKS_EXCLUDED(mu_);
  std::map<std::string, uint64_t> drops() const ABSL_LOCKS_EXCLUDED(mu_);

 private:
  // One stored group, summed over its scored originals.
  struct Group {
    double samples = 0, traj = 0, fmt = 0, goal = 0, total = 0, total2 = 0, tokens = 0, feedback_failed = 0;
    bool total_failure = false, refined = false, rescued = false;
    struct Term {
      double sum = 0, n = 0;
    };
    std::map<std::string, Term> terms;
    Seconds seconds;
  };
  static Group Summarise(const v1::Episode& episode, const Seconds& seconds);

  mutable absl::Mutex mu_;
  absl::Time last_report_ ABSL_GUARDED_BY(mu_);
  uint64_t tokens_ ABSL_GUARDED_BY(mu_) = 0;  // of all time
  std::deque<std::pair<absl::Time, uint64_t>> counted_ ABSL_GUARDED_BY(mu_);  // tokens_ at reports, back to 30 s ago
  absl::Duration busy_ ABSL_GUARDED_BY(mu_);
  uint64_t stored_ ABSL_GUARDED_BY(mu_) = 0;
  uint64_t duplicates_ ABSL_GUARDED_BY(mu_) = 0;
  int64_t version_ ABSL_GUARDED_BY(mu_) = 0;
  std::map<std::string, uint64_t> drops_ ABSL_GUARDED_BY(mu_);
  std::deque<Group> window_ ABSL_GUARDED_BY(mu_);
  std::string trouble_ ABSL_GUARDED_BY(mu_);
};

}  // namespace swerve

#endif  // SWERVE_ROLLOUT_WORKERS_STATS_H_
