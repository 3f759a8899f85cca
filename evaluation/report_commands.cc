#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "base/exit_code.h"
#include "base/files.h"
#include "evaluation/commands.h"
#include "evaluation/eval_json.h"
#include "evaluation/report.h"

namespace swerve {
namespace {

struct Options {
  std::string run, before, after, answers_before, answers_after, out, title;
  std::vector<std::string> scenes, training;
  size_t max_scenes = 12;
};

absl::Status ReadEvalInto(const std::string& path, std::optional<EvalResult>* out) {
  if (path.empty()) return absl::OkStatus();
  SWERVE_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  auto result = EvalFromJson(text);
  if (!result.ok()) return Annotate(result.status(), path);
  *out = *std::move(result);
  return absl::OkStatus();
}

absl::Status ReadAnswersInto(const std::string& path, std::vector<EvalAnswer>* out) {
  if (path.empty()) return absl::OkStatus();
  SWERVE_ASSIGN_OR_RETURN(*out, ReadAnswers(path));
  return absl::OkStatus();
}

absl::Status WriteReport(const Options& o) {
  SWERVE_ASSIGN_OR_RETURN(ReportInput input, ReadRun(o.run));
  SWERVE_RETURN_IF_ERROR(ReadEvalInto(o.before, &input.before));
  SWERVE_RETURN_IF_ERROR(ReadEvalInto(o.after, &input.after));
  SWERVE_RETURN_IF_ERROR(ReadAnswersInto(o.answers_before, &input.answers_before));
  SWERVE_RETURN_IF_ERROR(ReadAnswersInto(o.answers_after, &input.answers_after));
  if (!o.scenes.empty()) {
    SWERVE_ASSIGN_OR_RETURN(input.held_out, SceneStore::Open(o.scenes));
  }
  std::vector<std::string> training = o.training;
  if (training.empty() && input.config) {
    training.assign(input.config->scenes().train().begin(), input.config->scenes().train().end());
  }
  if (!training.empty()) {
    auto store = SceneStore::Open(training);
    if (store.ok()) {
      input.training = *std::move(store);
    } else {
      std::fprintf(stderr, "swerve: training scenes are not drawn: %s\n", std::string(store.status().message()).c_str());
    }
  }
  if (!o.title.empty()) input.title = o.title;
  input.max_scenes = o.max_scenes;
  const std::string out = o.out.empty() ? o.run + "/report.html" : o.out;
  SWERVE_RETURN_IF_ERROR(WriteFileAtomically(out, ReportHtml(input)));
  std::printf("%s\n", out.c_str());
  return absl::OkStatus();
}

}  // namespace

void AddReportCommands(CLI::App& app) {
  auto o = std::make_shared<Options>();
  CLI::App* c = app.add_subcommand(
      "report",
      "Write one self-contained HTML page on a run: training curves, the held-out evaluation before and after, and the\n"
      "scenes that were total failures and are not any more, drawn with what the policy thought and the teacher said.\n"
      "Evaluations come from `swerve eval --json FILE --responses FILE.jsonl`; without the options below the page looks for\n"
      "before.json, after.json, responses_before.jsonl and responses_after.jsonl in the run directory.");
  c->add_option("run", o->run, "The run's directory")->required();
  c->add_option("--before", o->before, "Evaluation of the starting policy (eval --json)");
  c->add_option("--after", o->after, "Evaluation of the trained policy (eval --json)");
  c->add_option("--responses-before", o->answers_before, "Answers of the starting policy (eval --responses)");
  c->add_option("--responses-after", o->answers_after, "Answers of the trained policy (eval --responses)");
  c->add_option("--scenes", o->scenes, "Directories of the evaluated scenes, to draw them");
  c->add_option("--train-scenes", o->training, "Directories of the training scenes; default: scenes.train of the run");
  c->add_option("--max-scenes", o->max_scenes, "Scenes drawn per section")->capture_default_str();
  c->add_option("--title", o->title, "Heading of the page; default: the run's name");
  c->add_option("--out", o->out, "File to write; default: RUN/report.html");
  c->callback([o] {
    if (const absl::Status status = WriteReport(*o); !status.ok()) FailWith(status);
  });
}

}  // namespace swerve
