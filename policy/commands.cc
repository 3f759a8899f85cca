#include <torch/torch.h>

#include "policy/commands.h"

#include <sys/resource.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <iostream>
#include <nlohmann/json.hpp>

#include "base/exit_code.h"
#include "base/random.h"
#include "policy/checkpoint.h"
#include "policy/engine.h"
#include "policy/fused_model.h"
#include "policy/logprobs_command.h"
#include "policy/model.h"
#include "policy/prompt_input.h"

namespace swerve {
namespace {

using Json = nlohmann::json;

double Seconds() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

int64_t PeakBytes() {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss * 1024;
}

struct Options {
  std::string model = "models/tiny";
  LogprobsOptions logprobs;
  int scenes = 16, group = 8, prompt = 220, tokens = 140, threads = 1, sequences = 32, length = 200, steps = 4;
};

std::shared_ptr<const Image> BenchPicture(const ModelConfig& config) {
  const int side = ImageSize(config);
  return std::make_shared<Image>(Image{side, side, std::vector<uint8_t>(static_cast<size_t>(3) * side * side, 99)});
}

std::vector<int32_t> BenchIds(const ModelConfig& config, int length, uint64_t seed) {
  std::vector<int32_t> ids;
  Random random(seed);
  while (static_cast<int>(ids.size()) < length) {
    const int32_t id = static_cast<int32_t>(random.Below(config.text.vocab));
    if (id != config.image_token_id) ids.push_back(id);
  }
  const int slots = config.has_vision ? ImageTokens(config.processor, ImageSize(config), ImageSize(config)).value_or(length) : length;
  if (length > slots + 2) std::fill_n(ids.begin() + 1, slots, config.image_token_id);
  return ids;
}

// Exactly --new tokens a row: the kernels run below the engine's sampling, which may stop early.
absl::Status GenerateBench(const Options& o) {
  SWERVE_ASSIGN_OR_RETURN(ModelConfig config, LoadModelConfig(o.model));
  SWERVE_ASSIGN_OR_RETURN(const MappedTensors tensors, MapTensors(o.model, config));
  SWERVE_ASSIGN_OR_RETURN(std::shared_ptr<const FusedModel> model, FusedModel::Create(config, tensors));
  FusedModel::Images picture;
  if (config.has_vision) {
    SWERVE_ASSIGN_OR_RETURN(ProcessedImage processed, VisionInput(config, *BenchPicture(config)));
    picture.push_back(std::make_shared<const ProcessedImage>(std::move(processed)));
  }
  std::vector<double> prefill(o.threads), decode(o.threads);
  auto work = [&](int thread) {
    FusedModel::Scratch scratch;
    std::vector<FusedModel::Cache> prompts(o.scenes);
    std::vector<std::unique_ptr<FusedModel::Row>> rows;
    std::vector<FusedModel::Row*> active;
    std::vector<int32_t> next;
    std::vector<float> logits(model->logit_stride());
    double t = Seconds();
    for (int i = thread; i < o.scenes; i += o.threads) {
      const auto ids = BenchIds(config, o.prompt, i);
      const bool image = config.has_vision && ids[std::min<size_t>(1, ids.size() - 1)] == config.image_token_id;
      if (!model->Prefill(ids, image ? picture : FusedModel::Images(), &prompts[i], logits.data(), &scratch).ok()) std::abort();  // BenchIds fit
      for (int g = 0; g < o.group; ++g) {
        rows.push_back(std::make_unique<FusedModel::Row>());
        rows.back()->prompt = &prompts[i];
        rows.back()->own.Reset(*model, o.tokens);
        active.push_back(rows.back().get());
        next.push_back(ids.back());
      }
    }
    prefill[thread] = Seconds() - t;
    t = Seconds();
    logits.resize(std::max<size_t>(1, active.size()) * model->logit_stride());
    for (int s = 0; s < o.tokens && !active.empty(); ++s) {
      model->Step(active, next, logits.data(), &scratch);
      for (size_t i = 0; i < next.size(); ++i) {
        const float* row = logits.data() + i * model->logit_stride();
        next[i] = static_cast<int32_t>(std::max_element(row, row + config.text.vocab) - row);
      }
    }
    decode[thread] = Seconds() - t;
  };
  std::vector<std::thread> threads;
  for (int i = 1; i < o.threads; ++i) threads.emplace_back(work, i);
  work(0);
  for (auto& t : threads) t.join();
  const double p = *std::max_element(prefill.begin(), prefill.end()), d = *std::max_element(decode.begin(), decode.end());
  const TextConfig& c = config.text;
  const double macs = static_cast<double>(c.layers) * c.hidden * (2.0 * c.heads * c.head_dim + 2.0 * c.kv_heads * c.head_dim + 3.0 * c.mlp) + 1.0 * c.vocab * c.hidden;
  const double tokens = 1.0 * o.scenes * o.group * o.tokens;
  std::cout << Json{{"prefill_tokens_per_second", o.scenes * o.prompt / p}, {"decode_tokens_per_second", tokens / d},
                    {"end_to_end_tokens_per_second", tokens / (p + d)}, {"threads", o.threads}, {"kernels", kernels::Best().name},
                    {"decode_gflops", 2e-9 * macs * tokens / d}, {"peak_memory_bytes", PeakBytes()}}.dump() << "\n";
  return absl::OkStatus();
}

absl::Status TrainBench(const Options& o) {
  at::set_num_threads(o.threads);
  SWERVE_ASSIGN_OR_RETURN(std::shared_ptr<Policy> policy, Policy::Load(o.model));
  policy->FreezeVision(true);
  std::vector<Policy::Row> rows;
  std::shared_ptr<const Image> image;
  for (int i = 0; i < o.sequences; ++i) {
    const int prompt = std::max(2, o.length - o.tokens);
    Policy::Row row;
    row.prompt_ids = BenchIds(policy->config(), prompt, i / o.group);
    row.response_ids = BenchIds(policy->config(), std::max(1, std::min(o.tokens, o.length - prompt)), 1000 + i);
    std::replace(row.response_ids.begin(), row.response_ids.end(), policy->config().image_token_id, 0);
    if (i % o.group == 0 && std::count(row.prompt_ids.begin(), row.prompt_ids.end(), policy->config().image_token_id) > 0) {
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
                    {"threads", o.threads}, {"peak_memory_bytes", PeakBytes()}}.dump() << "\n";
  return absl::OkStatus();
}

}  // namespace

void AddPolicyCommands(CLI::App& app) {
  auto o = std::make_shared<Options>();
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
  generate->add_option("--scenes", o->scenes, "prompts")->capture_default_str()->check(CLI::Range(1, 1 << 16));
  generate->add_option("--prompt", o->prompt, "tokens of a prompt")->capture_default_str()->check(CLI::Range(2, 1 << 16));
  run(generate, [o] { return GenerateBench(*o); });
  CLI::App* train = policy->add_subcommand("train-bench", "Tokens per second of forward, backward and AdamW, one JSON line");
  train->add_option("--sequences", o->sequences, "rows of a step")->capture_default_str()->check(CLI::Range(1, 1 << 16));
  train->add_option("--length", o->length, "tokens of a row, prompt and response")->capture_default_str()->check(CLI::Range(4, 1 << 16));
  train->add_option("--steps", o->steps, "steps; the fastest counts")->capture_default_str();
  run(train, [o] { return TrainBench(*o); });
  for (CLI::App* c : {generate, train}) {
    c->add_option("--group", o->group, "samples that share a prompt")->capture_default_str()->check(CLI::Range(1, 1 << 12));
    c->add_option("--new", o->tokens, "response tokens of a row")->capture_default_str()->check(CLI::Range(1, 1 << 16));
  }
  for (CLI::App* c : {generate, train}) {
    c->add_option("--model", o->model, "Hugging Face directory")->capture_default_str();
    c->add_option("--threads", o->threads, "compute threads")->capture_default_str()->check(CLI::Range(1, 256));
  }
}

}  // namespace swerve
