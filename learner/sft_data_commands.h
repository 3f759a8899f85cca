// `swerve sft-texts`: what fine-tuning would say and hear, as text.
#ifndef SWERVE_LEARNER_SFT_DATA_COMMANDS_H_
#define SWERVE_LEARNER_SFT_DATA_COMMANDS_H_

namespace CLI {
class App;
}

namespace swerve {

void AddSftDataCommands(CLI::App& app);

}  // namespace swerve

#endif  // SWERVE_LEARNER_SFT_DATA_COMMANDS_H_
