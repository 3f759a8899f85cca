#include <torch/torch.h>

#include "learner/train_bench.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <iostream>
#include <nlohmann/json.hpp>
#include <set>

#include "base/exit_code.h"
#include "base/status.h"
#include "learner/optimiser.h"
#include "policy/bench_input.h"
#include "policy/cuda_library.h"
#include "policy/device_bench.h"
#include "policy/machine_bounds.h"
#include "policy/model.h"
#include "policy/torch_memory.h"

namespace swerve {
namespace {

double Seconds() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

std::vector<Policy::Row> MakeRows(const ModelConfig& config, const TrainBenchOptions& o) {
  std::vector<Policy::Row> rows;
  std::shared_ptr<const Image> image;
  const int prompt = std::max(2, o.length - o.tokens), response = std::max(1, o.length - prompt);
  for (int i = 0; i < o.sequences; ++i) {
    Policy::Row row;
    row.prompt_ids = BenchIds(config, prompt, i / o.group);
    row.response_ids = BenchIds(config, response, 1000 + i);
    std::replace(row.response_ids.begin(), row.response_ids.end(), config.image_token_id, 0);
    const bool sees = config.has_vision && std::count(row.prompt_ids.begin(), row.prompt_ids.end(), config.image_token_id) > 0;
    if (i % o.group == 0) image = sees ? BenchPicture(config) : nullptr;
    row.image = image;
    rows.push_back(std::move(row));
  }
  return rows;
}

// Floating-point operations of a step's decoder and head: 2 a weight and token forward and 4 backward, each prompt once, and
// of attention what is causal. The vision tower, the optimiser and element-wise work count as nothing, nor does what is
// computed a second time.
double Operations(const Policy& policy, const std::vector<Policy::Row>& rows) {
  const TextConfig& c = policy.config().text;
  const double attention = static_cast<double>(c.heads) * c.head_dim, kv = static_cast<double>(c.kv_heads) * c.head_dim;
  const double layer = c.hidden * (2 * attention + 2 * kv + 3.0 * c.mlp);
  double tokens = 0, predicted = 0, pairs = 0;
  std::set<std::vector<int32_t>> prompts;
  for (const Policy::Row& row : rows) {
    const double p = row.prompt_ids.size(), r = row.response_ids.size();
    if (prompts.insert(row.prompt_ids).second) {
      tokens += p;
      pairs += p * p / 2;
    }
    tokens += r - 1;
    predicted += r;
    pairs += (r - 1) * (p + r / 2);
  }
  return 6 * (tokens * c.layers * layer + predicted * static_cast<double>(c.vocab) * c.hidden + pairs * c.layers * 2 * attention);
}

void Step(Policy& policy, const std::vector<Policy::Row>& rows, int micro_batch, Optimiser& optimiser) {
  optimiser.ZeroGrad();
  for (size_t begin = 0; begin < rows.size(); begin += micro_batch) {
    const size_t count = std::min<size_t>(micro_batch, rows.size() - begin);
    const torch::Tensor lp = policy.Logprobs({rows.data() + begin, count}, 1.0);
    lp.backward(torch::full_like(lp, -1.0 / (lp.numel() * static_cast<double>(rows.size()) / count)));
  }
  optimiser.Step(1e-5);
}

}  // namespace

absl::Status TrainBench(const TrainBenchOptions& o) {
  try {
    at::set_num_threads(o.threads);
    SWERVE_ASSIGN_OR_RETURN(const torch::Device device, OpenDevice(o.device));
    if (device.is_cpu()) KeepTorchMemory();
    const torch::ScalarType type = o.dtype == "bfloat16" ? torch::kBFloat16 : torch::kFloat32;
    SWERVE_ASSIGN_OR_RETURN(const std::shared_ptr<Policy> policy, Policy::Load(o.model, device, torch::kFloat32, type));
    policy->FreezeVision(true);
    policy->CheckpointGradients(o.gradient_checkpointing);
    const std::vector<Policy::Row> rows = MakeRows(policy->config(), o);
    SWERVE_RETURN_IF_ERROR(policy->Check(rows));
    Optimiser optimiser(*policy, {});
    double best = 1e30;
    for (int s = 0; s < o.steps; ++s) {
      const double start = Seconds();
      Step(*policy, rows, o.micro_batch, optimiser);
      if (device.is_cuda()) torch::cuda::synchronize(device.index());
      // The first step also makes the moments and fills the allocator.
      if (s > 0 || o.steps == 1) best = std::min(best, Seconds() - start);
    }
    const int64_t peak = PeakMemoryBytes();
    const double tokens = static_cast<double>(rows.size()) * (rows[0].prompt_ids.size() + rows[0].response_ids.size());
    const double flops = device.is_cuda() ? DeviceFlopsPerSecond(device, type) : FlopsPerSecond(o.threads, type == torch::kBFloat16);
    const double operations = Operations(*policy, rows), bound = operations / flops;
    std::cout << nlohmann::json{{"tokens_per_second", tokens / best},
                                {"rows_per_second", rows.size() / best},
                                {"step_seconds", best},
                                {"prompt_tokens", rows[0].prompt_ids.size()},
                                {"response_tokens", rows[0].response_ids.size()},
                                {"flops_per_second", operations / best},
                                {"share_of_arithmetic_bound", bound / best},
                                {"arithmetic_bound_tokens_per_second", tokens / bound},
                                {"gradient_checkpointing", o.gradient_checkpointing},
                                {"device", o.device},
                                {"dtype", o.dtype},
                                {"threads", o.threads},
                                {"peak_memory_bytes", peak}}
                     .dump()
              << "\n";
    return absl::OkStatus();
  } catch (const std::exception& e) {
    return absl::InternalError(absl::StrCat("LibTorch: ", e.what()));
  }
}

void AddTrainBenchCommand(CLI::App& policy) {
  auto o = std::make_shared<TrainBenchOptions>();
  CLI::App* train = policy.add_subcommand("train-bench", "Tokens per second of forward, backward and AdamW, one JSON line");
  train->add_option("--model", o->model, "Hugging Face directory")->capture_default_str();
  train->add_option("--sequences", o->sequences, "rows of a step")->capture_default_str()->check(CLI::Range(1, 1 << 16));
  train->add_option("--length", o->length, "tokens of a row, prompt and response")->capture_default_str()->check(CLI::Range(4, 1 << 16));
  train->add_option("--group", o->group, "rows that share a prompt")->capture_default_str()->check(CLI::Range(1, 1 << 12));
  train->add_option("--new", o->tokens, "response tokens of a row")->capture_default_str()->check(CLI::Range(1, 1 << 16));
  train->add_option("--micro-batch", o->micro_batch, "rows of a forward pass")->capture_default_str()->check(CLI::Range(1, 1 << 16));
  train->add_option("--steps", o->steps, "steps; the fastest counts, the first apart")->capture_default_str()->check(CLI::Range(1, 1 << 16));
  train->add_option("--threads", o->threads, "compute threads")->capture_default_str()->check(CLI::Range(1, 256));
  train->add_option("--device", o->device, "cpu or cuda:N")->capture_default_str();
  train->add_option("--dtype", o->dtype, "that matrices are multiplied in; weights stay float32")->capture_default_str()->check(CLI::IsMember({"float32", "bfloat16"}));
  train->add_flag("--gradient-checkpointing", o->gradient_checkpointing, "layers are computed again for their gradient");
  train->callback([o] {
    if (absl::Status s = TrainBench(*o); !s.ok()) FailWith(s);
  });
}

}  // namespace swerve
