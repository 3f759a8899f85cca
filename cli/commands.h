// Registration of sub-commands. A room adds its commands with a function `void AddXCommands(CLI::App&)` declared
// in its own commands.h and listed in commands.cc. A command's callback does the work and calls SetExitCode when it
// fails: 0 done, 1 failed, 2 unusable arguments or input.
#ifndef SWERVE_CLI_COMMANDS_H_
#define SWERVE_CLI_COMMANDS_H_

namespace CLI {
class App;
}

namespace swerve {

void AddAllCommands(CLI::App& app);

}  // namespace swerve

#include "base/exit_code.h"

#endif  // SWERVE_CLI_COMMANDS_H_
