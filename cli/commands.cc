#include "cli/commands.h"

#include <CLI/CLI.hpp>

// Each room's registration, in the order of `swerve --help`. Rooms that need LibTorch are behind SWERVE_WITH_TORCH.

namespace swerve {

void AddAllCommands(CLI::App& app) {
  (void)app;
}

}  // namespace swerve
