// What engines tell Prometheus: the inference servers behind one, and what the local engine holds. Thread-safe.
#ifndef SWERVE_POLICY_ENGINE_METRICS_H_
#define SWERVE_POLICY_ENGINE_METRICS_H_

#include <string>

#include "base/metrics.h"

namespace swerve {

// Of one inference server.
struct ServerMetrics {
  explicit ServerMetrics(const std::string& url)
      : served(Requests(url, "served")), failed(Requests(url, "failed")), stale(Requests(url, "stale")), loads(Loads(url, "ok")), failed_loads(Loads(url, "failed")),
        seconds(metrics::Histogram("swerve_server_request_seconds", "Seconds from taking a place on the server to its answer", metrics::SecondsBuckets(), {{"server", url}})),
        load_seconds(metrics::Histogram("swerve_server_weight_load_seconds", "Seconds in which the server was brought to the weights that are wanted", metrics::SecondsBuckets(), {{"server", url}})),
        in_use(metrics::Gauge("swerve_server_requests_in_flight", "Requests on the server", {{"server", url}})),
        ready(metrics::Gauge("swerve_server_ready", "1: healthy and with the weights that are wanted; 0: gets no requests", {{"server", url}})) {}

  prometheus::Counter &served, &failed, &stale, &loads, &failed_loads;
  prometheus::Histogram &seconds, &load_seconds;
  prometheus::Gauge &in_use, &ready;

 private:
  static prometheus::Counter& Requests(const std::string& url, const std::string& outcome) {
    return metrics::Counter("swerve_server_requests_total", "Requests by outcome: served (or refused for what they are), failed, stale (the server held other weights)",
                            {{"server", url}, {"outcome", outcome}});
  }
  static prometheus::Counter& Loads(const std::string& url, const std::string& outcome) {
    return metrics::Counter("swerve_server_weight_loads_total", "Loads of weights on the server by outcome", {{"server", url}, {"outcome", outcome}});
  }
};

// Of the engines of this process together.
struct EngineMetrics {
  prometheus::Counter& tokens = metrics::Counter("swerve_engine_tokens_total", "Tokens sampled by the local engine");
  prometheus::Counter& prompt_tokens = metrics::Counter("swerve_engine_prompt_tokens_total", "Tokens of prompts run by the local engine, once a group");
  prometheus::Counter& failures = metrics::Counter("swerve_engine_failures_total", "Times that the device of the local engine failed");
  prometheus::Gauge& sequences = metrics::Gauge("swerve_engine_sequences", "Responses being continued by the local engine");
  prometheus::Gauge& cache_bytes = metrics::Gauge("swerve_engine_cache_bytes", "Bytes of keys and values that requests under way may come to hold");

  static EngineMetrics& Get() {
    static EngineMetrics* const metrics = new EngineMetrics;
    return *metrics;
  }
};

}  // namespace swerve

#endif  // SWERVE_POLICY_ENGINE_METRICS_H_
