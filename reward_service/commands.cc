#include "reward_service/commands.h"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "base/config.h"
#include "base/exit_code.h"
#include "base/role_main.h"
#include "reward_service/gzip.h"
#include "reward_service/role.h"
#include "reward_service/score_file.h"

namespace swerve {
namespace {

struct ScoreArguments {
  std::string scenes, out;
  ScoreFileOptions options;
};

void RunScore(const ScoreArguments& arguments) {
  auto text = ReadMaybeGzip(arguments.scenes);
  if (!text.ok()) return FailWith(text.status());
  auto result = ScoreSceneFile(*text, arguments.options);
  if (!result.ok()) return FailWith(Annotate(result.status(), arguments.scenes));
  absl::Status written = WriteMaybeGzip(arguments.out, result->json);
  if (!written.ok()) return FailWith(written);
  for (const std::string& line : result->broken) std::fprintf(stderr, "swerve: %s\n", line.c_str());
  std::printf("%d candidates of %d scenes scored to %s: %d invalid, %zu problems with scenes\n", result->candidates,
              result->scenes, arguments.out.c_str(), result->invalid, result->broken.size());
  if (!result->broken.empty()) SetExitCode(1);
}

struct ServeArguments {
  std::string config;
  std::vector<std::string> set, scenes;
  StandaloneOptions options;
};

void RunAlone(const ServeArguments& arguments) {
  auto config = LoadRunConfig(arguments.config, arguments.set);
  if (!config.ok()) return FailWith(config.status());
  if (!arguments.scenes.empty()) config->mutable_scenes()->clear_train();
  for (const std::string& dir : arguments.scenes) config->mutable_scenes()->add_train(dir);
  const absl::Status status = ServeRewardsAlone(*config, arguments.options);
  if (!status.ok()) FailWith(status);
}

absl::StatusOr<std::unique_ptr<Role>> MakeRewardRole(const RoleContext& context) {
  return RewardRole::Make(context.config);
}

void AddAloneCommand(CLI::App& app) {
  auto arguments = std::make_shared<ServeArguments>();
  CLI::App* command = app.add_subcommand(
      "reward",
      "The reward service by itself, for trainers of your own: gRPC (package python/, `pip install ./python`) and HTTP\n"
      "(POST /score, /score_group; docs/reward_service.md). Prints its addresses as one line of JSON, then serves until\n"
      "SIGTERM or Ctrl-C.");
  command->add_option("--scenes", arguments->scenes,
                      "Directories of scene shards; without, callers send the scene with each group");
  command->add_option("--config", arguments->config, "YAML as deploy/swerve.yaml; its section reward and telemetry.listen count");
  command->add_option("--set", arguments->set, "key=value, for example reward.threads=0 (one per core)");
  command->add_option("--port", arguments->options.port, "gRPC port; 0: any free one")->capture_default_str();
  command->add_option("--http-port", arguments->options.http_port, "HTTP port; 0: any free one")->capture_default_str();
  command->add_option("--metrics-port", arguments->options.metrics_port, "Prometheus port; 0: any free one")
      ->capture_default_str();
  command->callback([arguments] { RunAlone(*arguments); });
}

}  // namespace

void AddRewardCommands(CLI::App& app) {
  auto arguments = std::make_shared<ScoreArguments>();
  CLI::App* score = app.add_subcommand(
      "score",
      "Scores candidate trajectories offline: NAVSIM's PDMS (v1), and EPDMS (v2) where the scene has resolved.v2.\n"
      "Reads and writes the JSON that docs/scores.md describes; .gz on either side is fine. A scene or candidate that\n"
      "cannot be scored is named, gets \"error\" or \"valid\": false, and costs nothing else.\n"
      "Exit code: 0 all scenes scored, 1 some could not be, 2 the file is unusable.");
  score->add_option("--scenes", arguments->scenes, "Scenes with candidates, JSON (.gz)")->required();
  score->add_option("--out", arguments->out, "Where the scores go, JSON (.gz)")->required();
  score->add_flag("--resolve", arguments->options.resolve,
                  "Build resolved.v1 (route, centreline, reference plan, 10 Hz agents) from the raw scene");
  score->add_flag("--diag", arguments->options.diag, "Add diagnostics: progress, times of first events, areas, comfort");
  score->callback([arguments] { RunScore(*arguments); });
  AddServeCommand(app, "reward", "Reward service: scores groups of responses over gRPC (section reward of the config)",
                  MakeRewardRole);
  AddAloneCommand(app);
}

}  // namespace swerve
