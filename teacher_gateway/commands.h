// Commands of the teacher gateway: `swerve serve teacher` and `swerve teachers`.
#ifndef SWERVE_TEACHER_GATEWAY_COMMANDS_H_
#define SWERVE_TEACHER_GATEWAY_COMMANDS_H_

namespace CLI {
class App;
}

namespace swerve {

void AddTeacherCommands(CLI::App& app);   // both
void AddTeachersCommand(CLI::App& app);   // swerve teachers list|add|remove|weight|drain|reload

}  // namespace swerve

#endif  // SWERVE_TEACHER_GATEWAY_COMMANDS_H_
