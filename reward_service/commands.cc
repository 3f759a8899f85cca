#include "reward_service/commands.h"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>

#include "base/exit_code.h"
#include "base/role_main.h"
#include "reward_service/gzip.h"
#include "reward_service/score_file.h"
#include "reward_service/service.h"
#include "scenes/store.h"

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

class RewardRole final : public Role {
 public:
  RewardRole(std::unique_ptr<SceneStore> scenes, const RewardServiceOptions& options)
      : scenes_(std::move(scenes)),
        service_(options, [this](const std::string& id) { return scenes_->Get(id); }) {}
  std::vector<GrpcService> services() override { return {service_.registration()}; }

 private:
  const std::unique_ptr<SceneStore> scenes_;
  RewardService service_;
};

absl::StatusOr<std::unique_ptr<Role>> MakeRewardRole(const RoleContext& context) {
  const v1::RewardConfig& config = context.config.reward();
  RewardServiceOptions options;
  options.threads = config.threads();
  options.max_queue = config.max_queue();
  options.deadline = absl::Seconds(config.deadline_seconds());
  if (config.reward_weights_size() == 3) {
    options.default_weights.set_traj(config.reward_weights(0));
    options.default_weights.set_fmt(config.reward_weights(1));
    options.default_weights.set_goal(config.reward_weights(2));
  }
  const auto& dirs = context.config.scenes().train();
  SWERVE_ASSIGN_OR_RETURN(std::unique_ptr<SceneStore> scenes,
                          SceneStore::Open(std::vector<std::string>(dirs.begin(), dirs.end())));
  return std::make_unique<RewardRole>(std::move(scenes), options);
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
}

}  // namespace swerve
