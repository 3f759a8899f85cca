#include <CLI/CLI.hpp>

#include "base/exit_code.h"
#include "orchestrator/commands.h"
#include "orchestrator/train.h"

namespace swerve {

void AddTrainCommand(CLI::App& app) {
  CLI::App* command = app.add_subcommand(
      "train",
      "Post-train a driving policy: starts every role on this machine, keeps them alive, shows what is learnt.\n"
      "Ctrl-C finishes the groups under way and leaves a checkpoint; a second Ctrl-C ends it at once.\n"
      "Example: swerve train --config deploy/swerve.yaml --set scenes.train=data/train --set learner.steps=20");
  auto options = std::make_shared<TrainOptions>();
  command->add_option("--config", options->config,
                      "YAML file; deploy/swerve.yaml shows every field with its default (default: all defaults)");
  command->add_option("--set", options->overrides, "Override one field, key=value; may be repeated")
      ->take_all()
      ->allow_extra_args(false);
  command->add_option("--run", options->run_dir, "Run directory (default: run_dir of the configuration)");
  command->add_flag("--resume", options->resume, "Go on in a directory that holds a run, with its configuration");
  command->add_flag("--dry-run", options->dry_run, "Check the configuration, print it resolved, start nothing");
  command->add_flag_callback(
      "--insecure", [options] { options->overrides.push_back("security.insecure=true"); },
      "Listen outside loopback (telemetry.listen) without TLS all the same");
  command->callback([options] {
    const absl::Status status = Train(*options);
    if (!status.ok()) FailWith(status);
  });
}

}  // namespace swerve
