#include "learner/objective_commands.h"

#include <CLI/CLI.hpp>

#include <cstdio>
#include <memory>

#include "base/exit_code.h"
#include "base/files.h"
#include "learner/objective_json.h"

namespace swerve {

void AddObjectiveCommands(CLI::App& app) {
  struct Options {
    std::string in;
    int micro_batch = 0;
  };
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand(
      "objective",
      "Computes loss, gradient, advantages and metrics of objective profiles on given log-probabilities.\n"
      "Reads {\"cases\": [{\"id\", \"profile\", \"config\", \"group\", \"lens\", rewards, \"lp\", \"old_lp\", \"ref_lp\", …}]}\n"
      "and prints {\"cases\": [{\"id\", \"advantages\", \"loss\", \"grad\", \"metrics\", …}]}. A case that cannot be computed\n"
      "is answered by {\"id\", \"error\"} and the exit status is 1.\n"
      "Profiles: elf, luffy, luffy_paper, grpo_verl, dapo_verl, grpo_trl, dapo_trl, dr_grpo_trl.");
  command->add_option("--in", options->in, "JSON file of cases")->required();
  command->add_option("--micro-batch", options->micro_batch,
                      "cut batches into micro-batches of at most this many rows; the numbers are the same")
      ->check(CLI::Range(1, 1 << 30));
  command->callback([options] {
    absl::StatusOr<std::string> text = ReadFile(options->in);
    if (!text.ok()) {
      FailWith(text.status());
      SetExitCode(2);
      return;
    }
    absl::StatusOr<ObjectiveFileAnswer> answer = AnswerObjectiveFile(*text, options->micro_batch);
    if (!answer.ok()) return FailWith(Annotate(answer.status(), options->in));
    std::printf("%s\n", answer->json.c_str());
    if (answer->failed_cases > 0) SetExitCode(1);
  });
}

}  // namespace swerve
