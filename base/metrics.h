// The process's Prometheus metrics: one registry, one exposer. A component declares all its metrics in one file
// (<room>/metrics.h) as a struct of references made with these helpers. Thread-safe. Names: prefix swerve_, base
// units, counters end in _total; no per-scene labels.
#ifndef SWERVE_BASE_METRICS_H_
#define SWERVE_BASE_METRICS_H_

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"

namespace swerve {
class HttpServer;
}  // namespace swerve

namespace swerve::metrics {

using Labels = std::map<std::string, std::string>;

// Lives until the process ends.
const std::shared_ptr<prometheus::Registry>& Registry();

// The metric of that name and those labels, made on first use; the same object ever after.
prometheus::Counter& Counter(const std::string& name, const std::string& help, const Labels& labels = {});
prometheus::Gauge& Gauge(const std::string& name, const std::string& help, const Labels& labels = {});
prometheus::Histogram& Histogram(const std::string& name, const std::string& help,
                                 const std::vector<double>& buckets, const Labels& labels = {});

// Upper bounds in seconds from 1 ms to 2 min, for durations.
const std::vector<double>& SecondsBuckets();

// Serves GET /metrics of Registry() until destroyed.
class Server {
 public:
  struct Options {
    std::string listen = "127.0.0.1";
    int port = 0;  // 0: any free one
    double requests_per_second = 0;  // beyond it 429; 0: no limit
  };
  // UNAVAILABLE when it cannot bind.
  static absl::StatusOr<std::unique_ptr<Server>> Start(const Options& options);
  ~Server();
  int port() const { return port_; }

 private:
  explicit Server(std::unique_ptr<HttpServer> http);
  const std::unique_ptr<HttpServer> http_;
  const int port_;
};

}  // namespace swerve::metrics

#endif  // SWERVE_BASE_METRICS_H_
