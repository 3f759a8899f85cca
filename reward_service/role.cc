#include "reward_service/role.h"

#include <spdlog/spdlog.h>
#include <unistd.h>

#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "base/access.h"
#include "base/stop.h"
#include "reward_service/heaps.h"
#include "reward_service/http_api.h"

namespace swerve {
namespace {

absl::StatusOr<ScoringOptions> OptionsOf(const v1::RewardConfig& config) {
  ScoringOptions options;
  options.threads = config.threads();
  options.max_queue = config.max_queue();
  options.max_queue_bytes = int64_t{config.max_queue_mb()} << 20;
  options.deadline = absl::Seconds(config.deadline_seconds());
  options.max_candidates = config.max_candidates();
  options.cache_bytes = size_t(config.cache_mb()) << 20;
  if (config.reward_weights_size() == 3) {
    options.default_weights.set_traj(config.reward_weights(0));
    options.default_weights.set_fmt(config.reward_weights(1));
    options.default_weights.set_goal(config.reward_weights(2));
  }
  SWERVE_ASSIGN_OR_RETURN(options.default_functions, RewardFunctions::Make(config.rules()));
  SWERVE_ASSIGN_OR_RETURN(options.pdm_rules, RulesByName(config.pdm_rules()));
  return options;
}

// How often free memory goes back to the system.
constexpr absl::Duration kTrim = absl::Seconds(5);

SceneLookup LookupIn(const SceneStore* scenes) {
  return [scenes](const std::string& id) -> absl::StatusOr<std::shared_ptr<const v1::Scene>> {
    if (scenes != nullptr) return scenes->Get(id);
    return absl::NotFoundError(
        absl::StrCat("no scene '", id, "': this service was started without scenes; send the scene in the request"));
  };
}

}  // namespace

RewardRole::RewardRole(std::unique_ptr<SceneStore> scenes, const ScoringOptions& options)
    : scenes_(std::move(scenes)), pool_(options, LookupIn(scenes_.get())), service_(&pool_), trimmer_(kTrim) {}

absl::StatusOr<std::unique_ptr<RewardRole>> RewardRole::Make(const v1::RunConfig& config) {
  LimitHeaps(config.reward().threads());
  const auto& dirs = config.scenes().train();
  std::unique_ptr<SceneStore> scenes;
  if (!dirs.empty()) {
    // Prepared scenes are what is kept (reward.cache_mb); a scene as read is needed once.
    SWERVE_ASSIGN_OR_RETURN(scenes, SceneStore::Open({dirs.begin(), dirs.end()}, /*cache_bytes=*/0));
  }
  SWERVE_ASSIGN_OR_RETURN(const ScoringOptions options, OptionsOf(config.reward()));
  std::unique_ptr<RewardRole> role(new RewardRole(std::move(scenes), options));
  if (config.reward().has_http_port()) {
    HttpServer::Options http = HttpOptions(config);
    http.port = config.reward().http_port();
    ScoringPool* pool = &role->pool_;
    SWERVE_ASSIGN_OR_RETURN(role->http_, HttpServer::Start(http, [pool](const HttpCall& request) {
                              return AnswerHttp(request, pool);
                            }));
    spdlog::info("serving HTTP on {}:{}", http.listen, role->http_->port());
  }
  return role;
}

absl::Status RewardRole::Run() {
  Stop::Wait();
  http_.reset();  // answers what it is at; gRPC calls are drained by the server's shutdown
  return absl::OkStatus();
}

absl::Status ServeRewardsAlone(v1::RunConfig config, const StandaloneOptions& options) {
  Stop::InstallSignalHandlers();
  StartLogging("reward", config.telemetry().log_level());
  config.mutable_reward()->set_http_port(options.http_port);
  SWERVE_ASSIGN_OR_RETURN(const auto tls, IdentityOf(config, "reward"));
  metrics::Server::Options metrics = MetricsOptions(config);
  metrics.port = options.metrics_port;
  SWERVE_ASSIGN_OR_RETURN(auto metrics_server, metrics::Server::Start(metrics));
  SWERVE_ASSIGN_OR_RETURN(std::unique_ptr<RewardRole> role, RewardRole::Make(config));
  GrpcServer::Options grpc = GrpcOptions(config, tls);
  grpc.port = options.port;
  SWERVE_ASSIGN_OR_RETURN(std::unique_ptr<GrpcServer> server, GrpcServer::Start(grpc, role->services()));

  const std::string host = absl::StrCat("http://", metrics.listen == "0.0.0.0" ? "127.0.0.1" : metrics.listen);
  const nlohmann::json addresses = {{"grpc", server->address()},
                                    {"http", absl::StrCat(host, ":", role->http_port())},
                                    {"metrics", absl::StrCat(host, ":", metrics_server->port(), "/metrics")},
                                    {"scenes", role->scenes()},
                                    {"pid", getpid()}};
  std::printf("%s\n", addresses.dump().c_str());
  std::fflush(stdout);

  const absl::Status result = role->Run();
  server->Shutdown(absl::Seconds(config.orchestrator().drain_seconds()));
  server.reset();  // before the service that it serves
  role.reset();
  return result;
}

}  // namespace swerve
