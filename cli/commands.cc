#include "cli/commands.h"

#include <CLI/CLI.hpp>

#include "learner/objective_commands.h"
#include "learner/sft_data_commands.h"

// Each room's registration, in the order of `swerve --help`. Rooms that need LibTorch are behind SWERVE_WITH_TORCH.

namespace swerve {

void AddAllCommands(CLI::App& app) {
  AddObjectiveCommands(app);
  AddSftDataCommands(app);
}

}  // namespace swerve
