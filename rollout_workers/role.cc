#include "rollout_workers/role.h"

#include <unistd.h>

#include <algorithm>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/time/clock.h"
#include "base/access.h"
#include "base/random.h"
#include "base/stop.h"
#include "buffers/buffers.h"
#include "rollout_workers/grpc_clients.h"
#include "rollout_workers/worker.h"
#include "scenes/store.h"

namespace swerve {
namespace {

class RolloutRole final : public Role {
 public:
  RolloutRole(const RoleContext& context, std::unique_ptr<Engine> engine, std::unique_ptr<SceneStore> scenes,
              std::unique_ptr<Buffers> buffers, std::unique_ptr<BusyLog> busy)
      : config_(context.config), engine_(std::move(engine)), scenes_(std::move(scenes)), buffers_(std::move(buffers)),
        busy_(std::move(busy)) {
    const RoleChannel::Options channel = ChannelOptions(config_, context.tls);
    reward_ = MakeRewardClient(context.run, absl::Seconds(config_.reward().deadline_seconds()), channel);
    teacher_ = MakeTeacherClient(context.run, absl::Seconds(config_.teacher().deadline_seconds()), channel);
    orchestrator_ = MakeOrchestratorClient(context.run, channel);
    options_.name = context.role;
    options_.incarnation = StreamSeed(static_cast<uint64_t>(absl::ToUnixNanos(absl::Now())), getpid());
  }

  absl::Status Run() override {
    WorkerParts parts{engine_.get(),       reward_.get(),  teacher_.get(),
                      orchestrator_.get(), buffers_.get(), [this](const std::string& id) { return scenes_->Get(id); },
                      busy_.get()};
    Worker worker(config_, std::move(parts), options_);
    SWERVE_RETURN_IF_ERROR(worker.Run([] { return Stop::Requested(); }));
    Stop::Wait();  // the run is over; the supervisor ends its roles together
    return absl::OkStatus();
  }

 private:
  const v1::RunConfig config_;
  const std::unique_ptr<Engine> engine_;
  const std::unique_ptr<SceneStore> scenes_;
  const std::unique_ptr<Buffers> buffers_;
  const std::unique_ptr<BusyLog> busy_;
  std::unique_ptr<RewardClient> reward_;
  std::unique_ptr<TeacherClient> teacher_;
  std::unique_ptr<OrchestratorClient> orchestrator_;
  WorkerOptions options_;
};

}  // namespace

ServerOptions ServersOf(const v1::RunConfig& config, const std::string& role, const std::string& run_id) {
  const v1::ServersConfig& c = config.rollout().servers();
  ServerOptions o;
  int number = 0;
  if (!absl::SimpleAtoi(role.substr(std::min(role.size(), role.rfind('-') + 1)), &number) || number < 0) number = 0;
  for (int i = 0; i < c.urls_size(); ++i) {
    if (i % config.rollout().workers() == number % config.rollout().workers()) o.urls.push_back(c.urls(i));
  }
  o.model = c.model();
  o.api_key_env = c.api_key_env();
  o.api_key_file = c.api_key_file();
  o.ca_file = c.ca_file();
  o.run = run_id;
  o.deadline = absl::Seconds(c.deadline_seconds());
  o.refresh = absl::Seconds(c.refresh_seconds());
  o.probe = absl::Seconds(c.probe_seconds());
  o.max_attempts = c.max_attempts();
  o.concurrency = c.concurrency();
  o.max_reply_mb = c.max_reply_mb();
  o.path_here = c.path_here();
  o.path_there = c.path_there();
  return o;
}

absl::StatusOr<std::unique_ptr<Role>> MakeRolloutRole(const RoleContext& context, const EngineFactory& make_engine) {
  const v1::RunConfig& config = context.config;
  const auto& dirs = config.scenes().train();
  SWERVE_ASSIGN_OR_RETURN(std::unique_ptr<SceneStore> scenes,
                          SceneStore::Open(std::vector<std::string>(dirs.begin(), dirs.end())));
  SWERVE_ASSIGN_OR_RETURN(std::unique_ptr<Buffers> buffers,
                          OpenBuffers(config.buffers(), context.run.root(), context.run_id));
  SWERVE_ASSIGN_OR_RETURN(std::unique_ptr<BusyLog> busy, BusyLog::Open(context.run, context.role));
  EngineOptions options;
  options.engine = config.rollout().engine();
  options.servers = ServersOf(config, context.role, context.run_id);
  options.model_dir = config.policy().model();
  options.device = config.policy().device();
  options.codec = config.policy().codec();
  options.codebook = config.policy().codebook();
  options.threads = config.rollout().threads();
  options.dtype = config.rollout().dtype();
  options.cache_mb = config.rollout().cache_mb();
  options.stream_weights = config.rollout().stream_weights() && !config.deterministic();
  options.max_batch = std::max(1, config.rollout().groups_in_flight() * config.rollout().num_generations());
  SWERVE_ASSIGN_OR_RETURN(std::unique_ptr<Engine> engine, make_engine(options));
  return std::make_unique<RolloutRole>(context, std::move(engine), std::move(scenes), std::move(buffers),
                                       std::move(busy));
}

}  // namespace swerve
