#include "chaos/commands.h"

#include <CLI/CLI.hpp>

#include "base/exit_code.h"
#include "chaos/harness.h"

namespace swerve {

void AddChaosCommand(CLI::App& app) {
  CLI::App* command = app.add_subcommand(
      "chaos",
      "Trains for real while processes are killed and stopped, connections cut, teacher and scorer fail, Redis dies and\n"
      "the disk is full; then proves from logs and stores that nothing was lost or done twice (docs/operations.md).\n"
      "Example: swerve chaos --events 100 --seed 1");
  auto options = std::make_shared<ChaosOptions>();
  command->add_option("--config", options->config, "YAML file of the run (default: deploy/chaos.yaml as built in)");
  command->add_option("--events", options->events, "Faults to inject")->capture_default_str()->check(CLI::PositiveNumber);
  command->add_option("--seed", options->seed, "Of the schedule: which faults, in what order, for how long")
      ->capture_default_str();
  command->add_option("--out", options->out, "Directory for all that is made (default: runs/chaos-SEED)");
  command->add_option("--gap", options->gap_s, "Mean seconds between the beginnings of two faults")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  command->add_option("--disk-mb", options->disk_mb,
                      "Size of the small file system that the run directory gets (needs root); 0: the disk is never full")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  command->add_option("--set", options->overrides, "Override one field of the run, key=value; may be repeated")
      ->take_all()
      ->allow_extra_args(false);
  command->callback([options] {
    const absl::Status status = Chaos(*options);
    if (!status.ok()) FailWith(status);
  });
}

}  // namespace swerve
