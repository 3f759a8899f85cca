#include "base/role_main.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <exception>

#include "base/access.h"
#include "base/admin_token.h"
#include "base/config.h"
#include "base/exit_code.h"
#include "base/metrics.h"
#include "base/stop.h"

namespace swerve {

absl::Status Role::Run() {
  Stop::Wait();
  return absl::OkStatus();
}

void StartLogging(const std::string& name, const std::string& level) {
  auto logger = std::make_shared<spdlog::logger>(name, std::make_shared<spdlog::sinks::stderr_sink_mt>());
  logger->set_pattern("%Y-%m-%d %H:%M:%S.%e %l [%n] %v");
  logger->set_level(spdlog::level::from_str(level));
  logger->flush_on(spdlog::level::trace);
  spdlog::set_default_logger(std::move(logger));
}

absl::Status RunRole(const std::string& kind, const std::string& name, const std::string& run_dir,
                     const RoleFactory& factory) {
  Stop::InstallSignalHandlers();
  RoleContext context{name.empty() ? kind : name, RunDir(run_dir), {}, {}, {}};
  SWERVE_ASSIGN_OR_RETURN(context.config, LoadRunConfig(context.run.config()));
  SWERVE_ASSIGN_OR_RETURN(context.run_id, ReadRunId(context.run));
  const v1::TelemetryConfig& telemetry = context.config.telemetry();
  StartLogging(context.role, telemetry.log_level());
  SWERVE_ASSIGN_OR_RETURN(context.tls, IdentityOf(context.config, kind));

  RoleAddress previous;
  if (const auto read = ReadRole(context.run, context.role); read.ok()) previous = *read;
  metrics::Server::Options metrics_options = MetricsOptions(context.config);
  metrics_options.port = previous.metrics;
  auto metrics_server = metrics::Server::Start(metrics_options);
  metrics_options.port = 0;
  if (!metrics_server.ok()) metrics_server = metrics::Server::Start(metrics_options);
  SWERVE_RETURN_IF_ERROR(metrics_server.status());
  metrics::Gauge("swerve_role_info", "Constant 1; says which role this process is", {{"role", context.role}}).Set(1);

  SWERVE_ASSIGN_OR_RETURN(std::unique_ptr<Role> role, factory(context));
  if (Stop::Requested()) return absl::OkStatus();
  GrpcServer::Options options = GrpcOptions(context.config, context.tls);
  options.preferred_port = previous.grpc;
  SWERVE_ASSIGN_OR_RETURN(options.admin_token, ReadOrMakeAdminToken(AdminTokenFile(context.config, context.run)));
  SWERVE_ASSIGN_OR_RETURN(std::unique_ptr<GrpcServer> server, GrpcServer::Start(options, role->services()));

  RoleAddress address;
  address.host = telemetry.listen() == "0.0.0.0" ? "127.0.0.1" : telemetry.listen();
  address.grpc = server->port();
  address.metrics = (*metrics_server)->port();
  address.http = role->http_port();
  address.pid = getpid();
  SWERVE_RETURN_IF_ERROR(PublishRole(context.run, context.role, address));
  spdlog::info("serving gRPC{} on {}, metrics on {}:{}", context.tls == nullptr ? "" : " with TLS", server->address(),
               metrics_options.listen, address.metrics);

  const absl::Status result = role->Run();
  // Not serving → no new calls → running calls finish → the role's own part closes its stores → metrics last.
  server->Shutdown(absl::Seconds(context.config.orchestrator().drain_seconds()));
  server.reset();  // before the services that it serves
  role.reset();
  if (result.ok()) {
    spdlog::info("ended in order");
  } else {
    spdlog::error("{}", std::string(result.message()));
  }
  return result;
}

CLI::App* ServeGroup(CLI::App& app) {
  const auto existing = app.get_subcommands([](CLI::App* command) { return command->get_name() == "serve"; });
  if (!existing.empty()) return existing.front();
  CLI::App* serve = app.add_subcommand("serve", "Run one role of a run, by hand or on another machine (`swerve train` starts them all), or\n"
                                                "serve a policy to other programs.");
  serve->require_subcommand(1);
  return serve;
}

void AddServeCommand(CLI::App& app, const std::string& kind, const std::string& description, RoleFactory factory) {
  CLI::App* command = ServeGroup(app)->add_subcommand(kind, description);
  struct Flags {
    std::string run, name;
  };
  auto flags = std::make_shared<Flags>();
  command->add_option("--run", flags->run, "Run directory with config.yaml, made by `swerve train`")->required();
  command->add_option("--name", flags->name, "Name of this process in the run, for example rollout-1 (default: " +
                                                 kind + ")");
  command->callback([flags, kind, factory = std::move(factory)] {
    absl::Status status;
    try {
      status = RunRole(kind, flags->name, flags->run, factory);
    } catch (const std::exception& e) {
      status = absl::InternalError(absl::StrCat("role ", kind, " met an unexpected error: ", e.what()));
    }
    if (!status.ok()) FailWith(status);
  });
}

}  // namespace swerve
