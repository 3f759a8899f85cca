#include "base/permissions.h"

#include "absl/strings/match.h"
#include "absl/strings/str_split.h"

namespace swerve {
namespace {

constexpr Permission kPermissions[] = {
    {"/swerve.v1.Orchestrator/LeaseScenes", "rollout"},
    {"/swerve.v1.Orchestrator/CompleteLease", "rollout"},
    {"/swerve.v1.Orchestrator/AnnouncePolicy", "learner"},
    {"/swerve.v1.Orchestrator/GetPolicy", "learner"},
    {"/swerve.v1.Orchestrator/Report", "rollout learner"},
    {"/swerve.v1.Orchestrator/GetStatus", "admin"},
    {"/swerve.v1.Orchestrator/Drain", "admin", /*admin_token=*/true},
    {"/swerve.v1.RewardService/ScoreGroup", "rollout client"},
    {"/swerve.v1.RewardBatchService/ScoreGroups", "rollout client"},
    {"/swerve.v1.RewardBatchService/ScoreStream", "rollout client"},
    {"/swerve.v1.TeacherGateway/Diagnose", "rollout"},
    {"/swerve.v1.TeacherAdmin/*", "admin", /*admin_token=*/true},
    {"/grpc.health.v1.Health/*", "*"},
    {"/grpc.reflection.v1alpha.ServerReflection/*", "admin client"},
};

}  // namespace

absl::Span<const Permission> Permissions() { return kPermissions; }

const Permission* PermissionOf(absl::string_view path) {
  for (const Permission& row : kPermissions) {
    if (row.path == path) return &row;
    const bool whole_service = absl::EndsWith(row.path, "/*");
    if (whole_service && absl::StartsWith(path, row.path.substr(0, row.path.size() - 1))) return &row;
  }
  return nullptr;
}

bool Allows(const Permission& permission, absl::string_view role) {
  if (role.empty()) return false;
  if (permission.roles == "*") return true;
  for (absl::string_view allowed : absl::StrSplit(permission.roles, ' ')) {
    if (allowed == role) return true;
  }
  return false;
}

}  // namespace swerve
