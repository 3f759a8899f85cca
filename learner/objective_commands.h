// `swerve objective`.
#ifndef SWERVE_LEARNER_OBJECTIVE_COMMANDS_H_
#define SWERVE_LEARNER_OBJECTIVE_COMMANDS_H_

namespace CLI {
class App;
}

namespace swerve {

void AddObjectiveCommands(CLI::App& app);

}  // namespace swerve

#endif  // SWERVE_LEARNER_OBJECTIVE_COMMANDS_H_
