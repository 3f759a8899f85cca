#include "teacher_gateway/commands.h"

#include <CLI/CLI.hpp>
#include <memory>
#include <utility>

#include "base/role_main.h"
#include "base/stop.h"
#include "scenes/store.h"
#include "teacher_gateway/admin.h"
#include "teacher_gateway/gateway.h"
#include "teacher_gateway/service.h"

namespace swerve {
namespace {

class TeacherRole final : public Role {
 public:
  TeacherRole(std::unique_ptr<SceneStore> scenes, std::shared_ptr<Gateway> gateway, const v1::TeacherConfig& config)
      : reload_(absl::Seconds(config.reload_seconds())),
        scenes_(std::move(scenes)),
        gateway_(std::move(gateway)),
        service_(gateway_, [this](const std::string& id) { return scenes_->Get(id); },
                 absl::Seconds(config.deadline_seconds())),
        admin_(gateway_) {}
  std::vector<GrpcService> services() override {
    return {Serving<v1::TeacherGateway>(&service_), Serving<v1::TeacherAdmin>(&admin_)};
  }
  absl::Status Run() override {
    // A refused file is logged by the gateway; it ends nothing.
    while (!Stop::WaitFor(reload_)) gateway_->ReloadIfChanged().IgnoreError();
    return absl::OkStatus();
  }

 private:
  const absl::Duration reload_;
  const std::unique_ptr<SceneStore> scenes_;
  const std::shared_ptr<Gateway> gateway_;
  TeacherService service_;
  TeacherAdminService admin_;
};

absl::StatusOr<std::unique_ptr<Role>> MakeTeacherRole(const RoleContext& context) {
  Gateway::Options options;
  options.config = context.config.teacher();
  options.run_root = context.run.root();
  SWERVE_ASSIGN_OR_RETURN(std::unique_ptr<Gateway> gateway, Gateway::Open(std::move(options)));
  const auto& dirs = context.config.scenes().train();
  SWERVE_ASSIGN_OR_RETURN(std::unique_ptr<SceneStore> scenes,
                          SceneStore::Open(std::vector<std::string>(dirs.begin(), dirs.end())));
  return std::make_unique<TeacherRole>(std::move(scenes), std::move(gateway), context.config.teacher());
}

}  // namespace

void AddTeacherCommands(CLI::App& app) {
  AddServeCommand(app, "teacher",
                  "Teacher gateway: explains failed responses over gRPC (teacher.kind, or the teachers file)",
                  MakeTeacherRole);
  AddTeachersCommand(app);
}

}  // namespace swerve
