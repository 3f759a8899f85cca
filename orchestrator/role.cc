#include <CLI/CLI.hpp>

#include "base/role_main.h"
#include "base/stop.h"
#include "orchestrator/commands.h"
#include "orchestrator/service.h"

namespace swerve {
namespace {

class OrchestratorRole : public Role {
 public:
  OrchestratorRole(std::unique_ptr<Buffers> buffers, std::unique_ptr<OrchestratorService> service)
      : buffers_(std::move(buffers)), service_(std::move(service)) {}

  std::vector<GrpcService> services() override { return {Serving<v1::Orchestrator>(service_.get())}; }

  absl::Status Run() override {
    while (!Stop::WaitFor(absl::Seconds(1))) SWERVE_RETURN_IF_ERROR(service_->Health());
    return absl::OkStatus();
  }

 private:
  std::unique_ptr<Buffers> buffers_;
  std::unique_ptr<OrchestratorService> service_;
};

absl::StatusOr<std::unique_ptr<Role>> MakeRole(const RoleContext& context) {
  OrchestratorService::Options options;
  options.run = context.run;
  options.run_id = context.run_id;
  options.config = context.config;
  SWERVE_ASSIGN_OR_RETURN(options.scenes, TrainingScenes(context.config.scenes()));
  SWERVE_ASSIGN_OR_RETURN(auto buffers,
                          OpenBuffers(context.config.buffers(), context.run.root(), context.run_id));
  SWERVE_ASSIGN_OR_RETURN(auto service, OrchestratorService::Create(std::move(options), buffers.get()));
  return std::unique_ptr<Role>(new OrchestratorRole(std::move(buffers), std::move(service)));
}

}  // namespace

void AddOrchestratorCommands(CLI::App& app) {
  AddServeCommand(app, "orchestrator",
                  "Leases scenes, admits groups by staleness, announces weight versions, collects what roles report",
                  MakeRole);
}

}  // namespace swerve
