// Command of the teacher gateway: `swerve serve teacher`.
#ifndef SWERVE_TEACHER_GATEWAY_COMMANDS_H_
#define SWERVE_TEACHER_GATEWAY_COMMANDS_H_

namespace CLI {
class App;
}

namespace swerve {

void AddTeacherCommands(CLI::App& app);

}  // namespace swerve

#endif  // SWERVE_TEACHER_GATEWAY_COMMANDS_H_
