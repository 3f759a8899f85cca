// `swerve scenes generate`.
#ifndef SWERVE_SCENES_GENERATOR_COMMANDS_H_
#define SWERVE_SCENES_GENERATOR_COMMANDS_H_

namespace CLI {
class App;
}

namespace swerve {
// Adds `generate` below `scenes`, which it makes if nobody has.
void AddGeneratorCommands(CLI::App& app);
}  // namespace swerve

#endif  // SWERVE_SCENES_GENERATOR_COMMANDS_H_
