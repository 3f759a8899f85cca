// Registers `swerve chaos`.
#ifndef SWERVE_CHAOS_COMMANDS_H_
#define SWERVE_CHAOS_COMMANDS_H_

namespace CLI {
class App;
}

namespace swerve {

void AddChaosCommand(CLI::App& app);

}  // namespace swerve

#endif  // SWERVE_CHAOS_COMMANDS_H_
