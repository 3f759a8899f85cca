// Command of the rollout workers: `swerve serve rollout`. Runs the local engine.
#ifndef SWERVE_ROLLOUT_WORKERS_COMMANDS_H_
#define SWERVE_ROLLOUT_WORKERS_COMMANDS_H_

namespace CLI {
class App;
}

namespace swerve {

void AddRolloutCommands(CLI::App& app);

}  // namespace swerve

#endif  // SWERVE_ROLLOUT_WORKERS_COMMANDS_H_
