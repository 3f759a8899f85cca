#include <torch/torch.h>

#include "policy/commands.h"

#include <CLI/CLI.hpp>

#include "base/exit_code.h"
#include "policy/device_bench.h"
#include "policy/generate_bench.h"
#include "policy/logprobs_command.h"

namespace swerve {
namespace {

struct Options {
  LogprobsOptions logprobs;
  GenerateBenchOptions bench;
};

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
    c->add_option("--device", o->logprobs.device, "cpu or cuda:N")->capture_default_str();
    c->add_option("--threads", o->logprobs.threads, "compute threads")->capture_default_str()->check(CLI::Range(1, 256));
  }
  CLI::App* generate = policy->add_subcommand("generate-bench", "Tokens per second of prompts and of decoding, one JSON line");
  generate->add_option("--scenes", o->bench.scenes, "prompts")->capture_default_str()->check(CLI::Range(1, 1 << 16));
  generate->add_option("--prompt", o->bench.prompt, "tokens of a prompt")->capture_default_str()->check(CLI::Range(2, 1 << 16));
  generate->add_option("--dtype", o->bench.dtype, "float32 or bfloat16")->capture_default_str();
  generate->add_option("--device", o->bench.device, "cpu or cuda:N")->capture_default_str();
  run(generate, [o] { return o->bench.device == "cpu" ? GenerateBench(o->bench) : DeviceGenerateBench(o->bench); });
  generate->add_option("--group", o->bench.group, "samples that share a prompt")->capture_default_str()->check(CLI::Range(1, 1 << 12));
  generate->add_option("--new", o->bench.tokens, "response tokens of a row")->capture_default_str()->check(CLI::Range(1, 1 << 16));
  generate->add_option("--model", o->bench.model, "Hugging Face directory")->capture_default_str();
  generate->add_option("--threads", o->bench.threads, "compute threads")->capture_default_str()->check(CLI::Range(1, 256));
}

}  // namespace swerve
