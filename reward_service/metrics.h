// Every metric of the reward service. Thread-safe; process-wide.
#ifndef SWERVE_REWARD_SERVICE_METRICS_H_
#define SWERVE_REWARD_SERVICE_METRICS_H_

#include "base/metrics.h"

namespace swerve {

struct RewardMetrics {
  prometheus::Histogram& group_seconds =
      metrics::Histogram("swerve_reward_group_seconds", "Time from a group's arrival to its answer", metrics::SecondsBuckets());
  prometheus::Counter& candidates = metrics::Counter("swerve_reward_candidates_total", "Candidates scored");
  prometheus::Gauge& queue = metrics::Gauge("swerve_reward_queue_groups", "Groups waiting for a scoring thread");
  // By gRPC status code in words.
  static prometheus::Counter& Groups(const std::string& code) {
    return metrics::Counter("swerve_reward_groups_total", "Groups answered, by status", {{"code", code}});
  }
  static RewardMetrics& Get() {
    static RewardMetrics metrics;
    return metrics;
  }
};

}  // namespace swerve

#endif  // SWERVE_REWARD_SERVICE_METRICS_H_
