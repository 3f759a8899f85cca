// Prometheus metrics of the Redis buffers. Thread-safe.
#ifndef SWERVE_BUFFERS_METRICS_H_
#define SWERVE_BUFFERS_METRICS_H_

#include "base/metrics.h"

namespace swerve {

struct RedisMetrics {
  prometheus::Counter& commands = metrics::Counter("swerve_redis_commands_total", "Commands answered by Redis");
  prometheus::Counter& pipelines =
      metrics::Counter("swerve_redis_pipelines_total", "Round trips to Redis; commands per pipeline is the ratio");
  prometheus::Counter& reconnects = metrics::Counter("swerve_redis_reconnects_total", "Connections after the first");
  prometheus::Counter& full =
      metrics::Counter("swerve_redis_full_total", "Appends refused because Redis or max_waiting_mb was full");

  static RedisMetrics& Get() {
    static RedisMetrics metrics;
    return metrics;
  }
};

}  // namespace swerve

#endif  // SWERVE_BUFFERS_METRICS_H_
