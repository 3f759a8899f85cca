// What every `swerve serve …` process does alike: read <run>/config.yaml, log to stderr, expose metrics, serve gRPC,
// publish its address, run until asked to stop, and end in order. A role supplies only its own part.
#ifndef SWERVE_BASE_ROLE_MAIN_H_
#define SWERVE_BASE_ROLE_MAIN_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/grpc_server.h"
#include "base/role_files.h"
#include "base/status.h"
#include "swerve/v1/config.pb.h"

namespace CLI {
class App;
}

namespace swerve {

struct RoleContext {
  std::string role;  // unique in the run: "reward", "rollout-0"
  RunDir run;
  v1::RunConfig config;  // resolved
  std::string run_id;    // names the run in episodes and buffers
  std::shared_ptr<const TlsIdentity> tls;  // this process's, for its calls and servers; null: plain
};

// One role's own part. Built before the server starts, destroyed after it has shut down; main thread.
class Role {
 public:
  virtual ~Role() = default;
  // gRPC services to serve; owned by the role. None: no gRPC but health and reflection.
  virtual std::vector<GrpcService> services() { return {}; }
  // Port of an HTTP endpoint that the role serves besides, published with its address; 0: none.
  virtual int http_port() const { return 0; }
  // Does the role's work on the main thread until Stop::Requested() (base/stop.h), then drains within
  // config.orchestrator.drain_seconds and returns. May return OK earlier when its work is done; an error ends the
  // process with code 1, and the supervisor starts it again. Default: waits for the stop.
  virtual absl::Status Run();
};
using RoleFactory = std::function<absl::StatusOr<std::unique_ptr<Role>>(const RoleContext&)>;

// Blocks for the life of the role. `name` "" : `kind`. Errors carry a message for people.
absl::Status RunRole(const std::string& kind, const std::string& name, const std::string& run_dir,
                     const RoleFactory& factory);

// The command group "serve", made when first asked for.
CLI::App* ServeGroup(CLI::App& app);

// Adds `swerve serve <kind> --run DIR [--name NAME]`. `factory` must live as long as `app`.
void AddServeCommand(CLI::App& app, const std::string& kind, const std::string& description, RoleFactory factory);

// Sends the process's log to stderr as "time level [name] message". Levels as in TelemetryConfig.log_level.
void StartLogging(const std::string& name, const std::string& level);

}  // namespace swerve

#endif  // SWERVE_BASE_ROLE_MAIN_H_
