#include "orchestrator/demo.h"

#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "base/files.h"
#include "base/stop.h"
#include "demo_yaml.h"  // kDemoYaml, made from deploy/demo.yaml
#include "orchestrator/process.h"
#include "orchestrator/train.h"

namespace swerve {
namespace {

namespace fs = std::filesystem;

// Says "this directory is a demo's", so that the next demo may replace it.
constexpr char kMarker[] = "/demo.yaml";

absl::Status PrepareOut(const std::string& out) {
  std::error_code ec;
  if (fs::exists(out, ec) && !fs::is_empty(out, ec)) {
    if (!fs::exists(out + kMarker, ec)) {
      return absl::InvalidArgumentError(absl::StrCat(out, " exists and is no demo's directory; choose another --out"));
    }
    for (const char* old : {"train", "held_out", "run"}) fs::remove_all(absl::StrCat(out, "/", old), ec);
    for (const char* old : {"before.json", "after.json", "before.jsonl", "after.jsonl", "curated.tsv", "results.json",
                            "report.html"}) {
      fs::remove(absl::StrCat(out, "/", old), ec);
    }
  }
  return MakeDirectories(out);
}

// One step: a line that says what it does and its command, then the command with its own progress.
absl::Status Step(int number, int of, const std::string& what, const std::vector<std::string>& arguments) {
  std::fprintf(stderr, "\n[%d/%d] %s\n", number, of, what.c_str());
  std::string command = "      swerve";
  for (const std::string& argument : arguments) absl::StrAppend(&command, " ", argument);
  std::fprintf(stderr, "%s\n", command.c_str());
  return RunSelf(arguments, /*log=*/"");
}

std::vector<std::string> EvalArguments(const std::string& policy, const std::string& out, const std::string& name,
                                       uint64_t seed) {
  return {"eval",   "--policy", policy,         "--scenes", out + "/held_out", "--json", out + "/" + name + ".json",
          "--responses", out + "/" + name + ".jsonl", "--seed", absl::StrCat(seed), "--threads", "2"};
}

// Directory of the policy that the run ended with.
absl::StatusOr<std::string> TrainedPolicy(const std::string& run) {
  SWERVE_ASSIGN_OR_RETURN(const std::string text, ReadFile(run + "/result.json"));
  const nlohmann::json json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object() || !json.contains("policy") || !json["policy"].contains("directory")) {
    return absl::DataLossError(absl::StrCat(run, "/result.json does not name the trained policy"));
  }
  return json["policy"]["directory"].get<std::string>();
}

absl::Status WriteResults(const DemoOptions& options, const std::string& out, double wall_s,
                          const std::string& before, const std::string& after) {
  const nlohmann::json json = {{"seed", options.seed},
                               {"wall_s", wall_s},
                               {"before", nlohmann::json::parse(before, nullptr, false)},
                               {"after", nlohmann::json::parse(after, nullptr, false)}};
  return WriteFileAtomically(out + "/results.json", json.dump(2) + "\n");
}

}  // namespace

uint64_t DemoTrainSeed(uint64_t seed) { return 2 * seed + 1000; }
uint64_t DemoHeldOutSeed(uint64_t seed) { return 2 * seed + 1001; }

absl::StatusOr<std::string> DemoTable(const std::string& before_json, const std::string& after_json) {
  struct Row {
    const char* label;
    const char* key;
    bool percent;
  };
  constexpr Row kRows[] = {{"PDMS", "pdms", false},
                           {"total-failure ratio", "total_failure_ratio", true},
                           {"no collision (NC)", "nc", false},
                           {"on the road (DAC)", "dac", false},
                           {"time to collision (TTC)", "ttc", false},
                           {"comfort", "comfort", false},
                           {"ego progress (EP)", "ep", false},
                           {"format", "format_ok", true},
                           {"planning accuracy", "planning_accuracy", true}};
  std::string text = absl::StrFormat("%-26s %10s %10s\n", "held-out scenes", "before", "after");
  try {
    const nlohmann::json before = nlohmann::json::parse(before_json).at("overall");
    const nlohmann::json after = nlohmann::json::parse(after_json).at("overall");
    for (const Row& row : kRows) {
      const double b = before.at(row.key).get<double>();
      const double a = after.at(row.key).get<double>();
      if (row.percent) {
        absl::StrAppendFormat(&text, "%-26s %8.1f %% %8.1f %%\n", row.label, b * 100, a * 100);
      } else {
        absl::StrAppendFormat(&text, "%-26s %10.3f %10.3f\n", row.label, b, a);
      }
    }
  } catch (const nlohmann::json::exception& e) {
    return absl::InvalidArgumentError(absl::StrCat("not the JSON of `swerve eval`: ", e.what()));
  }
  return text;
}

absl::Status Demo(const DemoOptions& given) {
  const absl::Time start = absl::Now();
  DemoOptions options = given;
  options.policy = FindModel(options.policy);
  Stop::InstallSignalHandlers();
  const std::string out = options.out.empty() ? absl::StrCat("runs/demo-", options.seed) : options.out;
  if (!fs::exists(options.policy + "/config.json")) {
    return absl::InvalidArgumentError(absl::StrCat("there is no policy in ", options.policy,
                                                   "; run it at the repository's root or name one with --policy"));
  }
  SWERVE_RETURN_IF_ERROR(PrepareOut(out));
  std::string yaml = kDemoYaml;
  if (!options.config.empty()) {
    SWERVE_ASSIGN_OR_RETURN(yaml, ReadFile(options.config));
  }
  SWERVE_RETURN_IF_ERROR(WriteFileAtomically(out + kMarker, yaml));

  const auto generate = [&](const char* name, int count, uint64_t seed) -> std::vector<std::string> {
    return {"scenes", "generate", "--family", "mix", "--mix", "rl", "--count", absl::StrCat(count),
            "--seed", absl::StrCat(seed), "--out", absl::StrCat(out, "/", name), "--replace"};
  };
  constexpr int kSteps = 7;
  SWERVE_RETURN_IF_ERROR(Step(1, kSteps, "scenes to learn from",
                              generate("train", options.train_scenes, DemoTrainSeed(options.seed))));
  SWERVE_RETURN_IF_ERROR(Step(2, kSteps, "held-out scenes of another seed",
                              generate("held_out", options.held_out_scenes, DemoHeldOutSeed(options.seed))));
  SWERVE_RETURN_IF_ERROR(Step(3, kSteps, "the policy before training",
                              EvalArguments(options.policy, out, "before", options.seed)));
  SWERVE_RETURN_IF_ERROR(Step(4, kSteps, "which scenes are worth training on",
                              {"curate", "--scenes", out + "/train", "--policy", options.policy, "--out",
                               out + "/curated.tsv", "--seed", absl::StrCat(options.seed), "--threads", "2"}));
  std::vector<std::string> train = {"train", "--config", out + kMarker, "--run", out + "/run"};
  std::vector<std::string> sets = {absl::StrCat("seed=", options.seed),
                                   absl::StrCat("policy.model=", options.policy),
                                   absl::StrCat("scenes.train=[", out, "/train]"),
                                   absl::StrCat("scenes.curated=", out, "/curated.tsv"),
                                   absl::StrCat("teacher.kind=", options.teacher),
                                   absl::StrCat("learner.max_seconds=", options.minutes * 60)};
  sets.insert(sets.end(), options.overrides.begin(), options.overrides.end());
  for (const std::string& set : sets) train.insert(train.end(), {"--set", set});
  SWERVE_RETURN_IF_ERROR(
      Step(5, kSteps, absl::StrFormat("training with feedback for %g minutes", options.minutes), train));
  SWERVE_ASSIGN_OR_RETURN(const std::string trained, TrainedPolicy(out + "/run"));
  SWERVE_RETURN_IF_ERROR(Step(6, kSteps, "the policy after training",
                              EvalArguments(trained, out, "after", options.seed)));
  SWERVE_RETURN_IF_ERROR(
      Step(7, kSteps, "the report",
           {"report", out + "/run", "--before", out + "/before.json", "--after", out + "/after.json",
            "--responses-before", out + "/before.jsonl", "--responses-after", out + "/after.jsonl", "--scenes",
            out + "/held_out", "--out", out + "/report.html"}));

  SWERVE_ASSIGN_OR_RETURN(const std::string before, ReadFile(out + "/before.json"));
  SWERVE_ASSIGN_OR_RETURN(const std::string after, ReadFile(out + "/after.json"));
  const double wall_s = absl::ToDoubleSeconds(absl::Now() - start);
  SWERVE_RETURN_IF_ERROR(WriteResults(options, out, wall_s, before, after));
  SWERVE_ASSIGN_OR_RETURN(const std::string table, DemoTable(before, after));
  std::printf("\n%s\nreport   %s/report.html\nresults  %s/results.json\npolicy   %s\ntook %.0f s\n", table.c_str(),
              out.c_str(), out.c_str(), trained.c_str(), wall_s);
  return absl::OkStatus();
}

}  // namespace swerve
