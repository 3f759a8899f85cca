#include <torch/torch.h>

#include "policy/commands.h"

#include <CLI/CLI.hpp>
#include <chrono>
#include <iostream>
#include <nlohmann/json.hpp>

#include "base/exit_code.h"
#include "policy/bench_input.h"
#include "policy/generate_bench.h"
#include "policy/logprobs_command.h"
#include "policy/model.h"

namespace swerve {
namespace {

using Json = nlohmann::json;

double Seconds() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

struct Options {
  LogprobsOptions logprobs;
  GenerateBenchOptions bench;  // what both benchmarks take is here
  int sequences = 32, length = 200, steps = 4;
};

absl::Status TrainBench(const Options& o) {
  at::set_num_threads(o.bench.threads);
  SWERVE_ASSIGN_OR_RETURN(std::shared_ptr<Policy> policy, Policy::Load(o.bench.model));
  policy->FreezeVision(true);
  std::vector<Policy::Row> rows;
  std::shared_ptr<const Image> image;
  for (int i = 0; i < o.sequences; ++i) {
    const int prompt = std::max(2, o.length - o.bench.tokens);
    Policy::Row row;
    row.prompt_ids = BenchIds(policy->config(), prompt, i / o.bench.group);
    row.response_ids = BenchIds(policy->config(), std::max(1, std::min(o.bench.tokens, o.length - prompt)), 1000 + i);
    std::replace(row.response_ids.begin(), row.response_ids.end(), policy->config().image_token_id, 0);
    if (i % o.bench.group == 0 && std::count(row.prompt_ids.begin(), row.prompt_ids.end(), policy->config().image_token_id) > 0) {
      image = BenchPicture(policy->config());
    }
    row.image = image;
    rows.push_back(std::move(row));
  }
  SWERVE_RETURN_IF_ERROR(policy->Check(rows));
  torch::optim::AdamW optimizer(policy->parameters(), torch::optim::AdamWOptions(1e-4));
  double best = 1e30;
  for (int s = 0; s < o.steps; ++s) {
    const double t = Seconds();
    optimizer.zero_grad();
    policy->SftLoss(rows).backward();
    optimizer.step();
    best = std::min(best, Seconds() - t);
  }
  std::cout << Json{{"tokens_per_second", o.sequences * o.length / best}, {"rows_per_second", o.sequences / best},
                    {"threads", o.bench.threads}, {"peak_memory_bytes", PeakMemoryBytes()}}.dump() << "\n";
  return absl::OkStatus();
}

}  // namespace

void AddPolicyCommands(CLI::App& app) {
  auto o = std::make_shared<Options>();
  o->bench.model = "models/tiny";
  auto run = [](CLI::App* command, std::function<absl::Status()> body) {
    command->callback([body] {
      if (absl::Status s = body(); !s.ok()) FailWith(s);
    });
  };
  CLI::App* policy = app.add_subcommand("policy", "What a model computes, and how fast");
  policy->require_subcommand(1);
  CLI::App* logprobs = policy->add_subcommand("logprobs", "Log-probabilities of given token ids, and greedy continuations.\n"
      "Input: {\"requests\": [{\"ids\": [...], \"images\": [\"file.png\", ...], \"greedy\": 64}]}, image placeholders expanded in ids.\n"
      "Output: {\"responses\": [{\"logprobs\": [log p(ids[t] | ids[<t]) for t >= 1], \"greedy\": [ids]}]}");
  logprobs->add_option("--in", o->logprobs.in, "JSON file")->required();
  logprobs->add_option("--gradients", o->logprobs.gradients, "safetensors file to write: gradients of the summed negative log-probabilities");
  logprobs->add_flag("--kernels", o->logprobs.kernels, "greedy continuations on the generation engine's kernels");
  run(logprobs, [o] { return PrintLogprobs(o->logprobs); });
  CLI::App* save = policy->add_subcommand("save", "Writes a model directory anew in its own layout, an adapter merged into it");
  save->add_option("--out", o->logprobs.out, "directory to write; appears complete or not at all");
  save->add_option("--adapter-out", o->logprobs.adapter_out, "PEFT directory to write: the adapter by itself");
  run(save, [o] { return SavePolicy(o->logprobs); });
  for (CLI::App* c : {logprobs, save}) {
    c->add_option("--model", o->logprobs.model, "Hugging Face directory")->required();
    c->add_option("--adapter", o->logprobs.adapter, "PEFT directory of a LoRA adapter over it");
    c->add_option("--dtype", o->logprobs.dtype, "float32 or bfloat16")->capture_default_str();
    c->add_option("--threads", o->logprobs.threads, "compute threads")->capture_default_str()->check(CLI::Range(1, 256));
  }
  CLI::App* generate = policy->add_subcommand("generate-bench", "Tokens per second of prompts and of decoding, one JSON line");
  generate->add_option("--scenes", o->bench.scenes, "prompts")->capture_default_str()->check(CLI::Range(1, 1 << 16));
  generate->add_option("--prompt", o->bench.prompt, "tokens of a prompt")->capture_default_str()->check(CLI::Range(2, 1 << 16));
  generate->add_option("--dtype", o->bench.dtype, "float32 or bfloat16")->capture_default_str();
  run(generate, [o] { return GenerateBench(o->bench); });
  CLI::App* train = policy->add_subcommand("train-bench", "Tokens per second of forward, backward and AdamW, one JSON line");
  train->add_option("--sequences", o->sequences, "rows of a step")->capture_default_str()->check(CLI::Range(1, 1 << 16));
  train->add_option("--length", o->length, "tokens of a row, prompt and response")->capture_default_str()->check(CLI::Range(4, 1 << 16));
  train->add_option("--steps", o->steps, "steps; the fastest counts")->capture_default_str();
  run(train, [o] { return TrainBench(*o); });
  for (CLI::App* c : {generate, train}) {
    c->add_option("--group", o->bench.group, "samples that share a prompt")->capture_default_str()->check(CLI::Range(1, 1 << 12));
    c->add_option("--new", o->bench.tokens, "response tokens of a row")->capture_default_str()->check(CLI::Range(1, 1 << 16));
  }
  for (CLI::App* c : {generate, train}) {
    c->add_option("--model", o->bench.model, "Hugging Face directory")->capture_default_str();
    c->add_option("--threads", o->bench.threads, "compute threads")->capture_default_str()->check(CLI::Range(1, 256));
  }
}

}  // namespace swerve
