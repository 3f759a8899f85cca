#include "teacher_gateway/commands.h"

#include <CLI/CLI.hpp>
#include <memory>
#include <utility>

#include "base/role_main.h"
#include "scenes/store.h"
#include "teacher_gateway/service.h"

namespace swerve {
namespace {

class TeacherRole final : public Role {
 public:
  TeacherRole(std::unique_ptr<SceneStore> scenes, std::unique_ptr<Teacher> teacher)
      : scenes_(std::move(scenes)),
        service_(std::move(teacher), [this](const std::string& id) { return scenes_->Get(id); }) {}
  std::vector<GrpcService> services() override { return {Serving<v1::TeacherGateway>(&service_)}; }

 private:
  const std::unique_ptr<SceneStore> scenes_;
  TeacherService service_;
};

absl::StatusOr<std::unique_ptr<Role>> MakeTeacherRole(const RoleContext& context) {
  SWERVE_ASSIGN_OR_RETURN(std::unique_ptr<Teacher> teacher, CreateTeacher(context.config.teacher()));
  const auto& dirs = context.config.scenes().train();
  SWERVE_ASSIGN_OR_RETURN(std::unique_ptr<SceneStore> scenes,
                          SceneStore::Open(std::vector<std::string>(dirs.begin(), dirs.end())));
  return std::make_unique<TeacherRole>(std::move(scenes), std::move(teacher));
}

}  // namespace

void AddTeacherCommands(CLI::App& app) {
  AddServeCommand(app, "teacher",
                  "Teacher gateway: explains failed responses over gRPC (teacher.kind: oracle, rule, ground_truth, none)",
                  MakeTeacherRole);
}

}  // namespace swerve
