// The one binary: every role and tool is a sub-command, each registered by the room that owns it.
#include <CLI/CLI.hpp>
#include <exception>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "base/exit_code.h"
#include "cli/commands.h"

int main(int argc, char** argv) {
  // Debian's Abseil looks for lock cycles at every lock, a hundredth of a busy scoring core. Tests keep it on.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  CLI::App app{"Swerve teaches driving models from their failures: feedback-augmented GRPO as a service.\n"
               "Start with `swerve demo`; every command explains itself with --help."};
  app.name("swerve");
  app.require_subcommand(1);
  swerve::AddAllCommands(app);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : 2;  // 0: --help
  } catch (const std::exception& e) {
    // Rooms answer with a status; what still gets here must not look like a crash.
    swerve::FailWith(absl::InternalError(absl::StrCat("unexpected error: ", e.what())));
  }
  return swerve::ExitCode();
}
