// `swerve eval`, `swerve report` and `swerve teachers compare`.
#ifndef SWERVE_EVALUATION_COMMANDS_H_
#define SWERVE_EVALUATION_COMMANDS_H_

namespace CLI {
class App;
}

namespace swerve {

void AddReportCommands(CLI::App& app);
void AddEvalCommands(CLI::App& app);  // library swerve_evaluation_cli
void AddCompareCommand(CLI::App& teachers);  // under `swerve teachers`; library swerve_evaluation_cli

}  // namespace swerve

#endif  // SWERVE_EVALUATION_COMMANDS_H_
