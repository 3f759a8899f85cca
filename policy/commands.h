// `swerve policy` and `swerve tokenizer`: what the model computes, and how fast.
#ifndef SWERVE_POLICY_COMMANDS_H_
#define SWERVE_POLICY_COMMANDS_H_

namespace CLI {
class App;
}

namespace swerve {

void AddPolicyCommands(CLI::App& app);

}  // namespace swerve

#endif  // SWERVE_POLICY_COMMANDS_H_
