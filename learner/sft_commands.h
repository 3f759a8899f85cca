// `swerve sft`.
#ifndef SWERVE_LEARNER_SFT_COMMANDS_H_
#define SWERVE_LEARNER_SFT_COMMANDS_H_

namespace CLI {
class App;
}

namespace swerve {

void AddSftCommands(CLI::App& app);

}  // namespace swerve

#endif  // SWERVE_LEARNER_SFT_COMMANDS_H_
