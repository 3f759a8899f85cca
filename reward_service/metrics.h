// Every metric of the reward service. Thread-safe; process-wide.
#ifndef SWERVE_REWARD_SERVICE_METRICS_H_
#define SWERVE_REWARD_SERVICE_METRICS_H_

#include "base/metrics.h"

namespace swerve {

struct RewardMetrics {
  // Scoring takes microseconds: the buckets start at 10 us.
  static const std::vector<double>& StageBuckets() {
    static const std::vector<double> buckets = {1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 0.01,
                                                0.02, 0.05, 0.1,  0.2,  0.5,  1,    2,    5,    10,   30};
    return buckets;
  }
  static prometheus::Histogram& Stage(const std::string& stage) {
    return metrics::Histogram("swerve_reward_stage_seconds", "Time of a group in a stage: queue, prepare, score",
                              StageBuckets(), {{"stage", stage}});
  }

  prometheus::Histogram& group_seconds =
      metrics::Histogram("swerve_reward_group_seconds", "Time from a group's arrival to its answer", metrics::SecondsBuckets());
  prometheus::Histogram& queue_seconds = Stage("queue");
  prometheus::Histogram& prepare_seconds = Stage("prepare");
  prometheus::Histogram& score_seconds = Stage("score");
  prometheus::Counter& candidates = metrics::Counter("swerve_reward_candidates_total", "Candidates scored");
  prometheus::Gauge& queue = metrics::Gauge("swerve_reward_queue_groups", "Groups waiting for a scoring thread");
  prometheus::Gauge& queue_bytes = metrics::Gauge("swerve_reward_queue_bytes", "Size of the groups that wait");
  prometheus::Gauge& streams = metrics::Gauge("swerve_reward_streams", "Streams of groups that are open");
  prometheus::Counter& cache_hits = metrics::Counter("swerve_reward_cache_hits_total", "Scenes found prepared");
  prometheus::Counter& cache_misses = metrics::Counter("swerve_reward_cache_misses_total", "Scenes by id that had to be prepared");
  prometheus::Gauge& cache_bytes = metrics::Gauge("swerve_reward_cache_bytes", "Memory of the prepared scenes kept");
  // By gRPC status code in words.
  static prometheus::Counter& Groups(const std::string& code) {
    return metrics::Counter("swerve_reward_groups_total", "Groups answered, by status", {{"code", code}});
  }
  // By HTTP status code.
  static prometheus::Counter& HttpRequests(int code) {
    return metrics::Counter("swerve_reward_http_requests_total", "HTTP requests answered, by status",
                            {{"code", std::to_string(code)}});
  }
  prometheus::Counter& groups_ok = Groups("OK");  // at hand, since most are
  static RewardMetrics& Get() {
    static RewardMetrics metrics;
    return metrics;
  }
};

}  // namespace swerve

#endif  // SWERVE_REWARD_SERVICE_METRICS_H_
