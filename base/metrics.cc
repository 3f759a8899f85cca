#include "base/metrics.h"

#include <prometheus/text_serializer.h>

#include <utility>

#include "base/http_server.h"

namespace swerve::metrics {

const std::shared_ptr<prometheus::Registry>& Registry() {
  // Never destroyed: threads may count until the very end of the process.
  static const auto* registry = new std::shared_ptr<prometheus::Registry>(std::make_shared<prometheus::Registry>());
  return *registry;
}

prometheus::Counter& Counter(const std::string& name, const std::string& help, const Labels& labels) {
  return prometheus::BuildCounter().Name(name).Help(help).Register(*Registry()).Add(labels);
}

prometheus::Gauge& Gauge(const std::string& name, const std::string& help, const Labels& labels) {
  return prometheus::BuildGauge().Name(name).Help(help).Register(*Registry()).Add(labels);
}

prometheus::Histogram& Histogram(const std::string& name, const std::string& help,
                                 const std::vector<double>& buckets, const Labels& labels) {
  return prometheus::BuildHistogram().Name(name).Help(help).Register(*Registry()).Add(labels, buckets);
}

const std::vector<double>& SecondsBuckets() {
  static const std::vector<double> buckets = {0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2,
                                              0.5,   1,     2,     5,    10,   20,   60,  120};
  return buckets;
}

Server::Server(std::unique_ptr<HttpServer> http) : http_(std::move(http)), port_(http_->port()) {}
Server::~Server() = default;

absl::StatusOr<std::unique_ptr<Server>> Server::Start(const Options& options) {
  HttpServer::Options http;
  http.listen = options.listen;
  http.port = options.port;
  http.threads = 2;
  http.max_body_bytes = 1;
  http.requests_per_second = options.requests_per_second;
  auto server = HttpServer::Start(http, [](const HttpCall& request) -> HttpResponse {
    if (request.path != "/metrics") return {404, "there is only /metrics\n", {}, "text/plain"};
    return {200, prometheus::TextSerializer().Serialize(Registry()->Collect()), {}, "text/plain; version=0.0.4; charset=utf-8"};
  });
  if (!server.ok()) return Annotate(server.status(), "cannot serve metrics");
  return std::unique_ptr<Server>(new Server(*std::move(server)));
}

}  // namespace swerve::metrics
