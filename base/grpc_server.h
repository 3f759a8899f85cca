// The shell every gRPC role stands in: TLS, who may call what (base/call_gate.h), limits, health per service and for the
// whole, reflection, any free port, and an orderly end. Thread-safe. Owns the server, not the services, which must outlive it.
#ifndef SWERVE_BASE_GRPC_SERVER_H_
#define SWERVE_BASE_GRPC_SERVER_H_

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "base/health_service.h"
#include "base/status.h"
#include "base/tls_identity.h"

namespace swerve {

// A service and the name health checks know it by. Make it with Serving<v1::RewardService>(&implementation).
struct GrpcService {
  grpc::Service* service = nullptr;  // null: `prepare` registers it
  std::string name;
  // For one with its own completion queue, which gRPC allows one server only: called before a server is built (again
  // when another port is tried), once it serves, when the server is about to shut down (calls without an end must end
  // soon), and once no call arrives any more, with the server still there for those that have not ended: blocks until
  // they have. May be empty.
  std::function<void(grpc::ServerBuilder&)> prepare;
  std::function<void()> started, ending, ended;
};
template <typename Definition>
GrpcService Serving(typename Definition::Service* implementation) {
  return {implementation, Definition::service_full_name(), nullptr, nullptr, nullptr, nullptr};
}

class GrpcServer {
 public:
  struct Options {
    std::string listen = "127.0.0.1";
    int port = 0;            // 0: any free one
    int preferred_port = 0;  // tried first when port is 0 (a restarted role keeps its address); 0: none
    int max_message_bytes = 64 << 20;
    std::shared_ptr<const TlsIdentity> tls;  // null: plain
    std::string admin_token;                 // empty: admin calls need none
    int max_streams = 1024;                  // calls at once per connection; further ones wait at the caller
    double calls_per_second = 0;             // beyond it RESOURCE_EXHAUSTED; 0: no limit
  };

  // Binds and serves; every service is SERVING when it returns. UNAVAILABLE when the address cannot be bound.
  static absl::StatusOr<std::unique_ptr<GrpcServer>> Start(const Options& options,
                                                           const std::vector<GrpcService>& services);
  // Shuts down at once if Shutdown was not called.
  ~GrpcServer();

  int port() const { return port_; }
  // "host:port" as clients on this machine dial it.
  std::string address() const;

  // Sets NOT_SERVING on everything; calls are still answered.
  void SetNotServing();
  // SetNotServing, then refuses new calls and lets running ones finish until `grace` passes, then cancels them.
  // Blocks until done. Idempotent.
  void Shutdown(absl::Duration grace);

 private:
  GrpcServer(std::string listen, std::vector<GrpcService> services)
      : listen_(std::move(listen)), services_(std::move(services)) {}
  // Null where the port cannot be had.
  std::unique_ptr<grpc::Server> Build(const Options& options, int port);

  const std::string listen_;
  const std::vector<GrpcService> services_;
  HealthService health_;  // of the server below
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
  std::atomic<bool> shut_down_{false};
};

}  // namespace swerve

#endif  // SWERVE_BASE_GRPC_SERVER_H_
