// Every Prometheus metric of the orchestrator.
#ifndef SWERVE_ORCHESTRATOR_METRICS_H_
#define SWERVE_ORCHESTRATOR_METRICS_H_

#include "base/metrics.h"

namespace swerve {

struct OrchestratorMetrics {
  prometheus::Gauge& admitted = metrics::Gauge("swerve_groups_admitted", "Groups admitted since the run began");
  prometheus::Gauge& running = metrics::Gauge("swerve_groups_running", "Groups admitted and not accepted yet");
  prometheus::Gauge& accepted = metrics::Gauge("swerve_groups_accepted", "Groups whose episode is in the store");
  prometheus::Gauge& expired = metrics::Gauge("swerve_leases_expired", "Leases that ran out or whose worker died");
  prometheus::Gauge& dropped = metrics::Gauge("swerve_attempts_dropped", "Attempts that workers gave up");
  prometheus::Counter& waits =
      metrics::Counter("swerve_lease_waits_total", "Lease requests answered with nothing because of staleness");
  prometheus::Gauge& version = metrics::Gauge("swerve_weight_version", "Newest weight version announced");
  prometheus::Gauge& step = metrics::Gauge("swerve_learner_step", "Batches the learner has trained on");
  prometheus::Gauge& draining = metrics::Gauge("swerve_draining", "1 while no leases are given out any more");
};

}  // namespace swerve

#endif  // SWERVE_ORCHESTRATOR_METRICS_H_
