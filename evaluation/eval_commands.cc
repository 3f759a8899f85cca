#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/exit_code.h"
#include "base/files.h"
#include "evaluation/commands.h"
#include "evaluation/eval.h"
#include "evaluation/eval_json.h"
#include "policy/engine.h"

namespace swerve {
namespace {

struct Options {
  EngineOptions engine;
  EvalOptions eval;
  std::vector<std::string> scenes;
  std::string json, responses;
};

absl::Status RunEval(const Options& o) {
  SWERVE_ASSIGN_OR_RETURN(const std::unique_ptr<SceneStore> store, SceneStore::Open(o.scenes));
  SWERVE_ASSIGN_OR_RETURN(const std::unique_ptr<Engine> engine, CreateLocalEngine(o.engine));
  std::string lines;
  AnswerSink sink;
  if (!o.responses.empty()) {
    sink = [&lines](const EvalAnswer& answer) {
      lines += AnswerToJson(answer) + "\n";
      return absl::OkStatus();
    };
  }
  SWERVE_ASSIGN_OR_RETURN(const EvalResult result, Evaluate(*engine, *store, o.eval, sink));
  if (!o.responses.empty()) SWERVE_RETURN_IF_ERROR(WriteFileAtomically(o.responses, lines));
  if (!o.json.empty()) SWERVE_RETURN_IF_ERROR(WriteFileAtomically(o.json, EvalToJson(result) + "\n"));
  std::fputs(EvalTable(result).c_str(), stdout);
  return absl::OkStatus();
}

}  // namespace

void AddEvalCommands(CLI::App& app) {
  auto o = std::make_shared<Options>();
  o->engine.threads = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  o->engine.max_batch = 128;
  CLI::App* c = app.add_subcommand(
      "eval",
      "Measure a policy on scenes: PDMS with its parts (NC, DAC, TTC, C, EP) of the greedy answer, the share of scenes in\n"
      "which all sampled answers score 0 (total failures), format and high-level planning accuracy; by scene family, with\n"
      "95 % confidence intervals. The same policy, scenes and seed give the same numbers.");
  c->add_option("--policy", o->engine.model_dir, "Hugging Face directory of the policy")->required();
  c->add_option("--scenes", o->scenes, "Directories of scenes")->required();
  c->add_option("--json", o->json, "Write {\"overall\": {...}, \"families\": {...}} to this file");
  c->add_option("--responses", o->responses, "Write every answer to this file, one JSON object a line");
  c->add_option("--samples", o->eval.samples, "Sampled answers per scene for the total-failure ratio; 0: greedy only")
      ->capture_default_str();
  c->add_option("--temperature", o->eval.temperature, "Temperature of the sampled answers")->capture_default_str();
  c->add_option("--seed", o->eval.seed, "Seed of the samples")->capture_default_str();
  c->add_option("--max-scenes", o->eval.max_scenes, "Evaluate on that many scenes, drawn by seed; 0: all")
      ->capture_default_str();
  c->add_option("--max-new-tokens", o->eval.max_new_tokens, "Tokens per answer")->capture_default_str();
  c->add_option("--threads", o->engine.threads, "Compute threads")->capture_default_str();
  c->add_option("--device", o->engine.device, "cpu or cuda:N")->capture_default_str();
  c->callback([o] {
    if (const absl::Status status = RunEval(*o); !status.ok()) FailWith(status);
  });
}

}  // namespace swerve
