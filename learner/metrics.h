// The learner's Prometheus metrics. One gauge per number of a step, named after its TensorBoard tag:
// "train/grad_norm" becomes swerve_learner_train_grad_norm. Thread-safe.
#ifndef SWERVE_LEARNER_METRICS_H_
#define SWERVE_LEARNER_METRICS_H_

#include <map>
#include <string>

#include "base/metrics.h"

namespace swerve {

inline void ExportMetrics(const std::map<std::string, double>& values) {
  for (const auto& [tag, value] : values) {
    std::string name = "swerve_learner_";
    for (char c : tag) name.push_back(std::isalnum(static_cast<unsigned char>(c)) ? c : '_');
    metrics::Gauge(name, "Of the newest step: " + tag).Set(value);
  }
  metrics::Counter("swerve_learner_steps_total", "Batches this process trained on").Increment();
  metrics::Gauge("swerve_learner_last_step_timestamp_seconds", "When the newest step ended").SetToCurrentTime();
}

}  // namespace swerve

#endif  // SWERVE_LEARNER_METRICS_H_
