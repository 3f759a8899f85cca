#include "base/health_service.h"

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"

namespace swerve {
namespace {

using grpc::health::v1::HealthCheckRequest;
using grpc::health::v1::HealthCheckResponse;

// How soon a watch whose caller has gone gives its thread back.
constexpr absl::Duration kLookForCaller = absl::Milliseconds(500);

}  // namespace

void HealthService::Set(const std::string& service, bool serving) {
  absl::MutexLock lock(&mu_);
  serving_[service] = serving;
}

void HealthService::SetAll(bool serving) {
  absl::MutexLock lock(&mu_);
  for (auto& [service, value] : serving_) value = serving;
}

void HealthService::End() {
  absl::MutexLock lock(&mu_);
  ended_ = true;
}

HealthService::Status HealthService::Of(const std::string& service) const {
  const auto at = serving_.find(service);
  if (at == serving_.end()) return HealthCheckResponse::SERVICE_UNKNOWN;
  return at->second ? HealthCheckResponse::SERVING : HealthCheckResponse::NOT_SERVING;
}

grpc::Status HealthService::Check(grpc::ServerContext*, const HealthCheckRequest* request,
                                  HealthCheckResponse* response) {
  absl::MutexLock lock(&mu_);
  const Status status = Of(request->service());
  if (status == HealthCheckResponse::SERVICE_UNKNOWN) {
    return {grpc::NOT_FOUND, absl::StrCat("no service '", request->service(), "' here")};
  }
  response->set_status(status);
  return grpc::Status::OK;
}

grpc::Status HealthService::Watch(grpc::ServerContext* context, const HealthCheckRequest* request,
                                  grpc::ServerWriter<HealthCheckResponse>* writer) {
  struct News {
    const HealthService* health;
    const std::string& service;
    Status told;
  } news{this, request->service(), HealthCheckResponse::UNKNOWN};
  const auto any = +[](News* n) ABSL_NO_THREAD_SAFETY_ANALYSIS {
    return n->health->ended_ || n->health->Of(n->service) != n->told;
  };
  {
    absl::MutexLock lock(&mu_);
    if (watches_ >= kMostWatches) {
      return {grpc::RESOURCE_EXHAUSTED, absl::StrCat(kMostWatches, " watch already; use Check")};
    }
    ++watches_;
  }
  bool ended = false;
  while (!ended && !context->IsCancelled()) {
    HealthCheckResponse response;
    {
      absl::MutexLock lock(&mu_);
      if (!mu_.AwaitWithTimeout(absl::Condition(any, &news), kLookForCaller)) continue;
      ended = ended_;
      if (Of(news.service) == news.told) continue;
      response.set_status(news.told = Of(news.service));
    }
    if (!writer->Write(response)) break;
  }
  absl::MutexLock lock(&mu_);
  --watches_;
  return ended ? grpc::Status(grpc::UNAVAILABLE, "shutting down") : grpc::Status::CANCELLED;
}

}  // namespace swerve
