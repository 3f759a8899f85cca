#include <CLI/CLI.hpp>
#include <cstdio>

#include "base/exit_code.h"
#include "base/stop.h"
#include "orchestrator/commands.h"
#include "orchestrator/curate.h"
#include "policy/engines.h"

namespace swerve {
namespace {

struct Flags {
  std::vector<std::string> scenes;
  std::string out;
  EngineOptions engine{.threads = 2};
  CurateOptions options;
};

absl::Status Run(const Flags& flags) {
  SWERVE_ASSIGN_OR_RETURN(const auto store, SceneStore::Open(flags.scenes));
  SWERVE_ASSIGN_OR_RETURN(const auto engine, CreateEngine(flags.engine));
  SWERVE_ASSIGN_OR_RETURN(const std::vector<CuratedScene> scenes, Curate(*engine, *store, flags.options));
  std::printf("%s", CurationTable(scenes).c_str());
  return WriteCurated(scenes, flags.options, flags.out);
}

}  // namespace

void AddCurateCommand(CLI::App& app) {
  CLI::App* command = app.add_subcommand(
      "curate",
      "Find the scenes worth training on: samples several answers per scene, drops scenes of high mean and low variance\n"
      "of PDMS, keeps the difficult and the ambiguous. Give the file to `swerve train --set scenes.curated=FILE`.");
  auto flags = std::make_shared<Flags>();
  CurateOptions& options = flags->options;
  command->add_option("--scenes", flags->scenes, "Directory of scene shards; may be repeated")->required();
  command->add_option("--policy", flags->engine.model_dir, "Model directory of the policy to be trained")->required();
  command->add_option("--out", flags->out, "File to write: kept scenes with mean, variance and verdict")->required();
  command->add_option("--codec", flags->engine.codec, "How the policy writes a trajectory (policy.codec)")->capture_default_str();
  command->add_option("--codebook", flags->engine.codebook, "Safetensors file of the codec codebook");
  command->add_option("--samples", options.samples, "Answers per scene")->capture_default_str()->check(CLI::Range(2, 1024));
  command->add_option("--temperature", options.temperature, "Sampling temperature")->capture_default_str();
  command->add_option("--max-new-tokens", options.max_new_tokens, "Tokens per answer")->capture_default_str();
  command->add_option("--high-mean", options.thresholds.high_mean, "From here on a mean PDMS is high")
      ->capture_default_str();
  command->add_option("--low-variance", options.thresholds.low_variance, "Up to here a variance of PDMS is low")
      ->capture_default_str();
  command->add_option("--seed", options.seed, "Of the sampled answers")->capture_default_str();
  command->add_option("--threads", flags->engine.threads, "Compute threads")->capture_default_str();
  command->add_option("--device", flags->engine.device, "cpu or cuda:N")->capture_default_str();
  AddEngineFlags(command, &flags->engine);
  command->callback([flags] {
    Stop::InstallSignalHandlers();
    const absl::Status status = Run(*flags);
    if (!status.ok()) FailWith(status);
  });
}

}  // namespace swerve
