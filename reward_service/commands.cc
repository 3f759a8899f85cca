#include "reward_service/commands.h"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/config.h"
#include "base/exit_code.h"
#include "base/gzip.h"
#include "base/role_main.h"
#include "reward_service/role.h"
#include "reward_service/score_file.h"

namespace swerve {
namespace {

struct ScoreArguments {
  std::string scenes, submission, out, csv, csv_v2, version = "1.1", traffic = "log";
  ScoreFileOptions options;
};

absl::Status WriteScores(const ScoreArguments& arguments, const ScoreFileResult& result) {
  SWERVE_RETURN_IF_ERROR(WriteMaybeGzip(arguments.out, result.json));
  if (!arguments.csv.empty()) {
    if (result.pdms_csv.empty()) {
      return absl::InvalidArgumentError("--csv: the file holds rows, or scenes with resolved.v2 alone (--csv-v2)");
    }
    SWERVE_RETURN_IF_ERROR(WriteMaybeGzip(arguments.csv, result.pdms_csv));
  }
  if (arguments.csv_v2.empty()) return absl::OkStatus();
  if (result.epdms_csv.empty()) return absl::InvalidArgumentError("--csv-v2: no scene of the file has resolved.v2");
  return WriteMaybeGzip(arguments.csv_v2, result.epdms_csv);
}

absl::StatusOr<Submission> ReadSubmission(const std::string& file) {
  SWERVE_ASSIGN_OR_RETURN(const std::string text, ReadMaybeGzip(file));
  return ParseSubmission(text);
}

// A data set, or a JSON file.
absl::StatusOr<ScoreFileResult> ScoreScenesAt(const std::string& path, const ScoreFileOptions& options) {
  if (std::filesystem::is_directory(path)) {
    SWERVE_ASSIGN_OR_RETURN(const auto store, SceneStore::Open({path}, /*cache_bytes=*/0));
    return ScoreSceneStore(*store, options);
  }
  SWERVE_ASSIGN_OR_RETURN(const std::string text, ReadMaybeGzip(path));
  return ScoreSceneFile(text, options);
}

void RunScore(const ScoreArguments& arguments) {
  ScoreFileOptions options = arguments.options;
  options.v1_0 = arguments.version == "1.0";
  options.reactive = arguments.traffic == "reactive";
  Submission submission;
  if (!arguments.submission.empty()) {
    auto read = ReadSubmission(arguments.submission);
    if (!read.ok()) return FailWith(Annotate(read.status(), arguments.submission));
    submission = *std::move(read);
    options.submission = &submission;
  }
  auto result = ScoreScenesAt(arguments.scenes, options);
  if (!result.ok()) return FailWith(Annotate(result.status(), arguments.scenes));
  absl::Status written = WriteScores(arguments, *result);
  if (!written.ok()) return FailWith(written);
  if (result->rows > 0) std::printf("%d rows aggregated to %s\n", result->rows, arguments.out.c_str());
  for (const std::string& line : result->broken) std::fprintf(stderr, "swerve: %s\n", line.c_str());
  if (result->unanswered > 0) std::printf("%d scenes are not in the submission and were left out\n", result->unanswered);
  if (result->rows == 0) std::printf("%d candidates of %d scenes scored to %s: %d invalid, %zu problems with scenes\n", result->candidates,
              result->scenes, arguments.out.c_str(), result->invalid, result->broken.size());
  if (!result->broken.empty()) SetExitCode(1);
}

struct ServeArguments {
  std::string config;
  std::vector<std::string> set, scenes;
  bool insecure = false;
  StandaloneOptions options;
};

void RunAlone(const ServeArguments& arguments) {
  std::vector<std::string> set = arguments.set;
  if (arguments.insecure) set.push_back("security.insecure=true");
  auto config = LoadRunConfig(arguments.config, set);
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
  command->add_option("--config", arguments->config, "YAML as deploy/swerve.yaml; its sections reward, security, limits and telemetry.listen count");
  command->add_option("--set", arguments->set, "key=value, for example reward.threads=0 (one per core)");
  command->add_flag("--insecure", arguments->insecure, "Listen outside loopback (telemetry.listen) without TLS all the same");
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
      "cannot be scored is named, gets \"error\" or \"valid\": false, and costs nothing else. A file with a \"mapping\"\n"
      "also gets EPDMS over two stages.\n"
      "Exit code: 0 all scenes scored, 1 some could not be, 2 the file is unusable.");
  score->add_option("--scenes", arguments->scenes, "Scenes with candidates: JSON (.gz), or the directory of a data set")->required();
  score->add_option("--submission", arguments->submission,
                    "Score these predictions by token instead of the scenes' candidates: what tools/navsim_export.py makes of\n"
                    "a NAVSIM submission pickle (.gz); scenes without a prediction are left out");
  score->add_option("--out", arguments->out, "Where the scores go, JSON (.gz)")->required();
  score->add_flag("--resolve", arguments->options.resolve,
                  "Build resolved.v1 and v2 (route, centreline, reference plan, 10 Hz agents, lights) from the raw scene");
  score->add_option("--v1", arguments->version, "NAVSIM version whose PDMS is computed: in 1.0 DDC multiplies too")
      ->capture_default_str()
      ->check(CLI::IsMember({"1.0", "1.1"}));
  score->add_option("--traffic", arguments->traffic, "Traffic of EPDMS: the log's, or vehicles that react to the ego")
      ->capture_default_str()
      ->check(CLI::IsMember({"log", "reactive"}));
  score->add_flag("--pair-frames", arguments->options.pair_frames,
                  "EC also across scenes: a scene's previous frame is the one of its recording less than 0.55 s earlier");
  score->add_option("--csv", arguments->csv, "Write PDMS as CSV with NAVSIM's columns too (.gz)");
  score->add_option("--csv-v2", arguments->csv_v2, "Write EPDMS as CSV with NAVSIM's columns too (.gz)");
  score->add_flag("--diag", arguments->options.diag, "Add diagnostics: progress, times of first events, areas, comfort");
  score->callback([arguments] { RunScore(*arguments); });
  AddServeCommand(app, "reward", "Reward service: scores groups of responses over gRPC (section reward of the config)",
                  MakeRewardRole);
  AddAloneCommand(app);
}

}  // namespace swerve
