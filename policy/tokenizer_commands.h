// `swerve tokenizer encode|decode`. Needs no LibTorch.
#ifndef SWERVE_POLICY_TOKENIZER_COMMANDS_H_
#define SWERVE_POLICY_TOKENIZER_COMMANDS_H_

namespace CLI {
class App;
}

namespace swerve {

void AddTokenizerCommands(CLI::App& app);

}  // namespace swerve

#endif  // SWERVE_POLICY_TOKENIZER_COMMANDS_H_
