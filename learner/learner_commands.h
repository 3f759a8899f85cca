// `swerve serve learner`.
#ifndef SWERVE_LEARNER_LEARNER_COMMANDS_H_
#define SWERVE_LEARNER_LEARNER_COMMANDS_H_

namespace CLI {
class App;
}

namespace swerve {

void AddLearnerCommands(CLI::App& app);

}  // namespace swerve

#endif  // SWERVE_LEARNER_LEARNER_COMMANDS_H_
