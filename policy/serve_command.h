// `swerve serve policy`. Needs no LibTorch.
#ifndef SWERVE_POLICY_SERVE_COMMAND_H_
#define SWERVE_POLICY_SERVE_COMMAND_H_

namespace CLI {
class App;
}

namespace swerve {

void AddServePolicyCommand(CLI::App& app);

}  // namespace swerve

#endif  // SWERVE_POLICY_SERVE_COMMAND_H_
