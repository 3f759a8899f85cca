// Registers `swerve serve orchestrator`, `swerve train`, `swerve curate` and `swerve demo`.
#ifndef SWERVE_ORCHESTRATOR_COMMANDS_H_
#define SWERVE_ORCHESTRATOR_COMMANDS_H_

namespace CLI {
class App;
}

namespace swerve {

void AddOrchestratorCommands(CLI::App& app);
void AddTrainCommand(CLI::App& app);
void AddCurateCommand(CLI::App& app);  // library swerve_curate_cli
void AddDemoCommand(CLI::App& app);    // library swerve_demo; its steps need LibTorch

}  // namespace swerve

#endif  // SWERVE_ORCHESTRATOR_COMMANDS_H_
