#include <CLI/CLI.hpp>

#include "base/exit_code.h"
#include "orchestrator/commands.h"
#include "orchestrator/demo.h"

namespace swerve {

void AddDemoCommand(CLI::App& app) {
  CLI::App* command = app.add_subcommand(
      "demo",
      "The main job from nothing, in about a quarter of an hour on two cores: generates scenes, curates them, trains\n"
      "models/tiny with teacher feedback, evaluates before and after on held-out scenes, writes report and results.");
  auto options = std::make_shared<DemoOptions>();
  command->add_option("--seed", options->seed, "Of scenes, sampling and training")->capture_default_str();
  command->add_option("--out", options->out, "Directory for all that is made (default: runs/demo-SEED)");
  command->add_option("--minutes", options->minutes, "Time to train")->capture_default_str()->check(CLI::PositiveNumber);
  command->add_option("--policy", options->policy, "Model directory to start from")->capture_default_str();
  command->add_option("--teacher", options->teacher, "oracle, rule, ground_truth or none")->capture_default_str();
  command->add_option("--train-scenes", options->train_scenes, "Scenes to learn from")->capture_default_str();
  command->add_option("--held-out-scenes", options->held_out_scenes, "Scenes to evaluate on")->capture_default_str();
  command->add_option("--config", options->config, "Configuration instead of deploy/demo.yaml");
  command->add_option("--set", options->overrides, "Override one field of the training, key=value; may be repeated")
      ->take_all()
      ->allow_extra_args(false);
  command->callback([options] {
    const absl::Status status = Demo(*options);
    if (!status.ok()) FailWith(status);
  });
}

}  // namespace swerve
