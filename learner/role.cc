// `swerve serve learner`.
#include <CLI/CLI.hpp>

#include <memory>

#include "base/access.h"
#include "base/role_channel.h"
#include "base/role_main.h"
#include "base/stop.h"
#include "buffers/buffers.h"
#include "learner/learner_commands.h"
#include "learner/loop.h"
#include "policy/model_config.h"
#include "scenes/raster.h"
#include "scenes/store.h"
#include "swerve/v1/orchestrator.grpc.pb.h"

namespace swerve {
namespace {

class GrpcLine : public OrchestratorLine {
 public:
  explicit GrpcLine(const RoleContext& context)
      : channel_(context.run, "orchestrator", ChannelOptions(context.config, context.tls)), role_(context.role) {}

  absl::Status Announce(const v1::PolicyManifest& policy) override {
    v1::AnnounceRequest request;
    *request.mutable_policy() = policy;
    return channel_.Call(
        [&](const std::shared_ptr<grpc::Channel>& channel, grpc::ClientContext* context) {
          v1::AnnounceReply reply;
          return v1::Orchestrator::NewStub(channel)->AnnouncePolicy(context, request, &reply);
        },
        absl::Seconds(60), /*stoppable=*/false);
  }

  absl::StatusOr<bool> Report(const std::map<std::string, double>& values, uint64_t step, bool finished, const std::string& trouble) override {
    v1::ReportRequest request;
    request.set_role(role_);
    request.set_step(step);
    request.set_finished(finished);
    request.set_trouble(trouble);
    for (const auto& [name, value] : values) (*request.mutable_values())[name] = value;
    v1::ReportReply reply;
    SWERVE_RETURN_IF_ERROR(channel_.Call(
        [&](const std::shared_ptr<grpc::Channel>& channel, grpc::ClientContext* context) {
          return v1::Orchestrator::NewStub(channel)->Report(context, request, &reply);
        },
        finished ? absl::Seconds(60) : absl::Seconds(5), /*stoppable=*/false));
    return reply.stop();
  }

  absl::StatusOr<v1::PolicyManifest> Newest() override {
    v1::PolicyManifest reply;
    SWERVE_RETURN_IF_ERROR(channel_.Call(
        [&](const std::shared_ptr<grpc::Channel>& channel, grpc::ClientContext* context) {
          return v1::Orchestrator::NewStub(channel)->GetPolicy(context, {}, &reply);
        },
        absl::Seconds(120)));
    return reply;
  }

 private:
  RoleChannel channel_;
  const std::string role_;
};

class LearnerRole : public Role {
 public:
  static absl::StatusOr<std::unique_ptr<Role>> Make(const RoleContext& context) {
    auto role = std::unique_ptr<LearnerRole>(new LearnerRole(context));
    const v1::RunConfig& config = context.config;
    SWERVE_ASSIGN_OR_RETURN(role->buffers_, OpenBuffers(config.buffers(), context.run.root(), context.run_id));
    SWERVE_ASSIGN_OR_RETURN(role->store_, SceneStore::Open({config.scenes().train().begin(), config.scenes().train().end()}));
    SWERVE_ASSIGN_OR_RETURN(const ModelConfig model, LoadModelConfig(config.policy().model()));
    const int size = model.has_vision && config.policy().image_size() > 0 ? config.policy().image_size() : ImageSize(model);
    SWERVE_ASSIGN_OR_RETURN(role->trainer_, CreateTrainer(config));
    LearnerLoop::Options options;
    options.config = config;
    options.run = context.run;
    options.trainer = role->trainer_.get();
    options.episodes = &role->buffers_->episodes();
    options.orchestrator = &role->line_;
    options.images = [store = role->store_.get(), size](const std::string& id) -> absl::StatusOr<std::shared_ptr<const Image>> {
      if (size == 0) return std::shared_ptr<const Image>();
      SWERVE_ASSIGN_OR_RETURN(const std::shared_ptr<const v1::Scene> scene, store->Get(id));
      return std::make_shared<const Image>(Rasterise(*scene, size));
    };
    options.check = ChecksOf(model);
    options.stop_within = [](absl::Duration d) { return Stop::WaitFor(d); };
    role->loop_ = std::make_unique<LearnerLoop>(std::move(options));
    return std::unique_ptr<Role>(std::move(role));
  }

  absl::Status Run() override {
    const absl::Status status = loop_->Run();
    // A call cut short because the process was asked to stop is an orderly end: all that counts is checkpointed.
    return absl::IsCancelled(status) && Stop::Requested() ? absl::OkStatus() : status;
  }

 private:
  explicit LearnerRole(const RoleContext& context) : line_(context) {}

  GrpcLine line_;
  std::unique_ptr<Buffers> buffers_;
  std::unique_ptr<SceneStore> store_;
  std::unique_ptr<Trainer> trainer_;
  std::unique_ptr<LearnerLoop> loop_;
};

}  // namespace

void AddLearnerCommands(CLI::App& app) {
  AddServeCommand(app, "learner", "Trains on finished groups, publishes weights, writes checkpoints", LearnerRole::Make);
}

}  // namespace swerve
