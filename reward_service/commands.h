// Commands of the reward service: `swerve score`, `swerve serve reward`, `swerve reward`.
#ifndef SWERVE_REWARD_SERVICE_COMMANDS_H_
#define SWERVE_REWARD_SERVICE_COMMANDS_H_

namespace CLI {
class App;
}

namespace swerve {

void AddRewardCommands(CLI::App& app);

}  // namespace swerve

#endif  // SWERVE_REWARD_SERVICE_COMMANDS_H_
