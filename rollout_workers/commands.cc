#include "rollout_workers/commands.h"

#include <CLI/CLI.hpp>

#include "rollout_workers/role.h"

namespace swerve {

void AddRolloutCommands(CLI::App& app) {
  AddServeCommand(app, "rollout",
                  "Rollout worker: takes leased scenes through sampling, scoring, diagnosis and refinement, and stores "
                  "the episodes. Start several with --name rollout-0, rollout-1, …",
                  [](const RoleContext& context) { return MakeRolloutRole(context, CreateEngine); });
}

}  // namespace swerve
