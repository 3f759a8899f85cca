// Health of a server and its services (grpc.health.v1). gRPC's own serves it by callbacks, whose two threads compete for
// every byte that arrives with those that do the work: one core scored a quarter fewer groups with it (bench_reward_service).
// This one is asked through the synchronous API, whose thread reflection has already.
#ifndef SWERVE_BASE_HEALTH_SERVICE_H_
#define SWERVE_BASE_HEALTH_SERVICE_H_

#include <map>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "grpc/health/v1/health.grpc.pb.h"

namespace swerve {

// Thread-safe. Must outlive the server that it is registered with.
class HealthService final : public grpc::health::v1::Health::Service {
 public:
  // Watches at once; each holds a thread. Further ones get RESOURCE_EXHAUSTED and may use Check.
  static constexpr int kMostWatches = 16;

  // "" is the server as a whole. Watches hear of it.
  void Set(const std::string& service, bool serving) ABSL_LOCKS_EXCLUDED(mu_);
  void SetAll(bool serving) ABSL_LOCKS_EXCLUDED(mu_);
  // Ends the watches with UNAVAILABLE, so that the server can shut down.
  void End() ABSL_LOCKS_EXCLUDED(mu_);

  grpc::Status Check(grpc::ServerContext* context, const grpc::health::v1::HealthCheckRequest* request,
                     grpc::health::v1::HealthCheckResponse* response) override ABSL_LOCKS_EXCLUDED(mu_);
  grpc::Status Watch(grpc::ServerContext* context, const grpc::health::v1::HealthCheckRequest* request,
                     grpc::ServerWriter<grpc::health::v1::HealthCheckResponse>* writer) override
      ABSL_LOCKS_EXCLUDED(mu_);

 private:
  using Status = grpc::health::v1::HealthCheckResponse::ServingStatus;
  Status Of(const std::string& service) const ABSL_SHARED_LOCKS_REQUIRED(mu_);

  absl::Mutex mu_;
  std::map<std::string, bool> serving_ ABSL_GUARDED_BY(mu_);
  int watches_ ABSL_GUARDED_BY(mu_) = 0;
  bool ended_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace swerve

#endif  // SWERVE_BASE_HEALTH_SERVICE_H_
