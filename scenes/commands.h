// `swerve scenes ls|show|stats|validate|render|export|split|import`.
#ifndef SWERVE_SCENES_COMMANDS_H_
#define SWERVE_SCENES_COMMANDS_H_

namespace CLI {
class App;
}

namespace swerve {
void AddScenesCommands(CLI::App& app);
}

#endif  // SWERVE_SCENES_COMMANDS_H_
