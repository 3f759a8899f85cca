// The one binary: every role and tool is a sub-command, each registered by the room that owns it.
#include <CLI/CLI.hpp>

#include "cli/commands.h"

int main(int argc, char** argv) {
  CLI::App app{"Swerve teaches driving models from their failures: feedback-augmented GRPO as a service.\n"
               "Start with `swerve demo`; every command explains itself with --help."};
  app.name("swerve");
  app.require_subcommand(1);
  swerve::AddAllCommands(app);
  CLI11_PARSE(app, argc, argv);
  return swerve::ExitCode();
}
