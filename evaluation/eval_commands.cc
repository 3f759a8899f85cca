#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/exit_code.h"
#include "base/files.h"
#include "evaluation/commands.h"
#include "evaluation/eval.h"
#include "evaluation/eval_json.h"
#include "evaluation/neuro_ncap.h"
#include "evaluation/open_loop.h"
#include "evaluation/open_loop_json.h"
#include "policy/engines.h"

namespace swerve {
namespace {

struct Options {
  EngineOptions engine;
  EvalOptions eval;
  std::vector<std::string> scenes;
  std::vector<std::string> metrics;
  std::string json, responses, closed_loop;
};

// What was measured; empty where it was not asked for.
struct Measured {
  std::optional<EvalResult> eval;
  OpenLoopMetrics metrics;
  std::optional<OpenLoopResult> open_loop;
  std::optional<NeuroNcapResult> neuro_ncap;
};

absl::Status MeasurePolicy(const Options& o, Measured* measured) {
  SWERVE_ASSIGN_OR_RETURN(const std::unique_ptr<SceneStore> store, SceneStore::Open(o.scenes));
  SWERVE_ASSIGN_OR_RETURN(const std::unique_ptr<Engine> engine, CreateEngine(o.engine));
  std::string lines;
  std::vector<OpenLoopScene> scenes;
  const AnswerSink open_loop = MeasureGreedyAnswers(*store, &scenes);
  const AnswerSink sink = [&](const EvalAnswer& answer) {
    if (!o.responses.empty()) lines += AnswerToJson(answer) + "\n";
    return measured->metrics.any() ? open_loop(answer) : absl::OkStatus();
  };
  SWERVE_ASSIGN_OR_RETURN(measured->eval, Evaluate(*engine, *store, o.eval, sink));
  if (measured->metrics.any()) measured->open_loop = SummariseOpenLoopByFamily(scenes);
  return o.responses.empty() ? absl::OkStatus() : WriteFileAtomically(o.responses, lines);
}

absl::Status RunEval(const Options& o) {
  Measured m;
  SWERVE_ASSIGN_OR_RETURN(m.metrics, OpenLoopMetricsOf(o.metrics));
  if (!o.closed_loop.empty()) {
    SWERVE_ASSIGN_OR_RETURN(const std::vector<ClosedLoopRun> runs, ReadClosedLoopRuns(o.closed_loop));
    m.neuro_ncap = SummariseNeuroNcap(runs);
  }
  // Records of runs need no policy.
  const bool records_only = m.neuro_ncap && o.engine.model_dir.empty() && o.scenes.empty() && o.metrics.empty();
  if (!records_only) {
    if (o.engine.model_dir.empty()) return absl::InvalidArgumentError("--policy is required");
    if (o.scenes.empty()) return absl::InvalidArgumentError("--scenes is required");
    SWERVE_RETURN_IF_ERROR(MeasurePolicy(o, &m));
  }
  if (!o.json.empty()) {
    SWERVE_ASSIGN_OR_RETURN(const std::string json,
                            AddMetricsToJson(m.eval ? EvalToJson(*m.eval) : "", m.metrics,
                                             m.open_loop ? &*m.open_loop : nullptr,
                                             m.neuro_ncap ? &*m.neuro_ncap : nullptr));
    SWERVE_RETURN_IF_ERROR(WriteFileAtomically(o.json, json + "\n"));
  }
  std::string table;
  if (m.eval) table += EvalTable(*m.eval);
  if (m.open_loop) table += OpenLoopTable(m.open_loop->overall, m.metrics);
  if (m.neuro_ncap) table += NeuroNcapTable(*m.neuro_ncap);
  std::fputs(table.c_str(), stdout);
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
      "95 % confidence intervals. The same policy, scenes and seed give the same numbers. --metrics adds open-loop\n"
      "numbers of the greedy answer, --closed-loop the NeuroNCAP score of recorded runs (alone: no policy or scenes).");
  c->add_option("--policy", o->engine.model_dir, "Hugging Face directory of the policy");
  c->add_option("--scenes", o->scenes, "Directories of scenes");
  c->add_option("--codec", o->engine.codec, "How the policy writes a trajectory: pose3_text, xy_text, xy_parenthesised,\njson_traj, codebook, speed_curvature")->capture_default_str();
  c->add_option("--codebook", o->engine.codebook, "Safetensors file of the codec codebook");
  c->add_option("--metrics", o->metrics,
                "Open-loop metrics to add, by commas: l2 (with ADE, FDE, miss rate), collision, planning; every number\n"
                "under its protocol's name, UniAD's and ST-P3's among them")
      ->delimiter(',');
  c->add_option("--closed-loop", o->closed_loop, "Outcomes of closed-loop runs, one JSON object a line: adds NeuroNCAP");
  c->add_option("--json", o->json,
                "Write {\"overall\": {...}, \"families\": {...}} to this file; if asked for, also \"open_loop\", \"neuroncap\"");
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
  AddEngineFlags(c, &o->engine);
  c->callback([o] {
    if (const absl::Status status = RunEval(*o); !status.ok()) FailWith(status);
  });
}

}  // namespace swerve
