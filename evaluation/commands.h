// `swerve report`, and, where LibTorch is, `swerve eval`.
#ifndef SWERVE_EVALUATION_COMMANDS_H_
#define SWERVE_EVALUATION_COMMANDS_H_

namespace CLI {
class App;
}

namespace swerve {

void AddReportCommands(CLI::App& app);
void AddEvalCommands(CLI::App& app);  // library swerve_evaluation_cli; needs LibTorch

}  // namespace swerve

#endif  // SWERVE_EVALUATION_COMMANDS_H_
