#include <torch/torch.h>

#include "policy/device_bench.h"

#include <algorithm>
#include <chrono>
#include <iostream>
#include <nlohmann/json.hpp>

#include "base/status.h"
#include "policy/bench_input.h"
#include "policy/device_backend.h"
#include "policy/device_weights.h"
#include "policy/prompt_input.h"

namespace swerve {
namespace {

double Seconds() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

struct Phases {
  double prefill = 0, decode = 0;
};

// All prompts, then `tokens` steps of all rows.
absl::StatusOr<Phases> RunOnce(DecodeBackend& backend, const DecodeWeights& weights, const ModelConfig& config, const GenerateBenchOptions& o,
                              const DecodeBackend::Images& picture, std::map<std::string, double>* parts) {
  std::vector<std::vector<int32_t>> ids;
  std::vector<DecodeBackend::PromptWork> prompts;
  for (int i = 0; i < o.scenes; ++i) ids.push_back(BenchIds(config, o.prompt, i));
  const DecodeBackend::Images none;
  for (const auto& prompt : ids) {
    const bool image = config.has_vision && std::count(prompt.begin(), prompt.end(), config.image_token_id) > 0;
    prompts.push_back({&prompt, image ? &picture : &none});
  }
  Phases times;
  double t = Seconds();
  SWERVE_RETURN_IF_ERROR(backend.Prefill(weights, absl::MakeSpan(prompts)));
  times.prefill = Seconds() - t;
  GenerateRequest request;
  request.temperature = 0;
  std::vector<std::unique_ptr<DecodeBackend::Row>> rows;
  std::vector<DecodeBackend::RowWork> work;
  for (int i = 0; i < o.scenes; ++i) {
    for (int g = 0; g < o.group; ++g) {
      rows.push_back(backend.Begin(*prompts[i].prompt, o.tokens));
      work.push_back({rows.back().get(), ids[i].back(), {&request, 0}});
    }
  }
  t = Seconds();
  for (int s = 0; s < o.tokens; ++s) {
    SWERVE_RETURN_IF_ERROR(backend.Step(weights, absl::MakeSpan(work)));
    for (DecodeBackend::RowWork& row : work) row.token = row.draw.drawn.token.id;
  }
  times.decode = Seconds() - t;
  if (parts != nullptr) *parts = backend.TimeParts(weights);
  for (auto& row : rows) backend.End(std::move(row));
  return times;
}

// Bytes of weights, keys and values that a step must read at least, in the middle of the run: a group's prompt once.
double StepBytes(const DeviceWeights& weights, const GenerateBenchOptions& o) {
  const TextConfig& c = weights.config().text;
  const double token = 2.0 * c.layers * c.kv_heads * c.head_dim * (weights.shape().half ? 2 : 4);
  return static_cast<double>(weights.step_bytes()) + token * o.scenes * (o.prompt + o.group * o.tokens / 2.0);
}

// Operations of the decoder on all prompts, causal attention among them, and of the head after each.
double PrefillOperations(const TextConfig& c, const GenerateBenchOptions& o) {
  const double attention = static_cast<double>(c.heads) * c.head_dim, kv = static_cast<double>(c.kv_heads) * c.head_dim;
  const double layer = c.hidden * (2 * attention + 2 * kv + 3.0 * c.mlp), p = o.prompt;
  return 2.0 * o.scenes * (c.layers * (p * layer + p * p * attention) + static_cast<double>(c.vocab) * c.hidden);
}

}  // namespace

double DeviceBytesPerSecond(torch::Device device) {
  torch::NoGradGuard constant;
  const auto options = torch::TensorOptions(torch::kUInt8).device(device);
  const int64_t bytes = int64_t{1} << 30;
  const torch::Tensor from = torch::ones({bytes}, options);
  torch::Tensor to = torch::empty({bytes}, options);
  double least = 1e30;
  for (int i = 0; i < 4; ++i) {
    torch::cuda::synchronize(device.index());
    const double t = Seconds();
    for (int r = 0; r < 10; ++r) to.copy_(from);
    torch::cuda::synchronize(device.index());
    least = std::min(least, Seconds() - t);
  }
  return 2.0 * 10 * static_cast<double>(bytes) / least;
}

double DeviceFlopsPerSecond(torch::Device device, torch::ScalarType type) {
  torch::NoGradGuard constant;
  const int64_t n = 8192;
  const auto options = torch::TensorOptions(torch::kFloat32).device(device);
  const torch::Tensor a = torch::randn({n, n}, options).to(type), b = torch::randn({n, n}, options).to(type);
  torch::Tensor c = torch::empty({n, n}, a.options());
  double least = 1e30;
  for (int i = 0; i < 4; ++i) {
    torch::cuda::synchronize(device.index());
    const double t = Seconds();
    for (int r = 0; r < 10; ++r) torch::mm_out(c, a, b);
    torch::cuda::synchronize(device.index());
    least = std::min(least, Seconds() - t);
  }
  return 10 * 2.0 * static_cast<double>(n) * n * n / least;
}

absl::Status DeviceGenerateBench(const GenerateBenchOptions& o) try {
  SWERVE_ASSIGN_OR_RETURN(const ModelConfig config, LoadModelConfig(o.model));
  EngineOptions options{.model_dir = o.model, .device = o.device, .dtype = o.dtype, .max_batch = o.scenes * o.group};
  SWERVE_ASSIGN_OR_RETURN(const std::unique_ptr<EnginePlatform> platform, CreateCudaPlatform(options));
  SWERVE_RETURN_IF_ERROR(platform->Check(config));
  const int64_t bytes = o.scenes * (platform->CacheBytes(config, o.prompt) + o.group * platform->CacheBytes(config, o.tokens));
  options.cache_mb = std::max<int64_t>(64, (bytes >> 20) + 64);
  SWERVE_ASSIGN_OR_RETURN(const std::unique_ptr<EnginePlatform> sized, CreateCudaPlatform(options));
  SWERVE_ASSIGN_OR_RETURN(const std::shared_ptr<const DecodeWeights> weights, sized->Load(o.model, config));
  SWERVE_ASSIGN_OR_RETURN(const EnginePlatform::Layout layout, sized->Start(config, *weights));
  DecodeBackend::Images picture;
  if (config.has_vision) {
    SWERVE_ASSIGN_OR_RETURN(ProcessedImage processed, VisionInput(config, *BenchPicture(config)));
    picture.push_back(std::make_shared<const ProcessedImage>(std::move(processed)));
  }
  Phases t;
  std::map<std::string, double> parts;
  for (int round = 0; round < 3; ++round) {  // the first chooses algorithms and fills the allocator
    SWERVE_ASSIGN_OR_RETURN(const Phases once, RunOnce(*layout.loops[0], *weights, config, o, picture, round == 2 ? &parts : nullptr));
    if (round == 1) t = once;
    if (round == 2) t = {std::min(t.prefill, once.prefill), std::min(t.decode, once.decode)};
  }
  const auto& w = static_cast<const DeviceWeights&>(*weights);
  const torch::Device device = w.head().device();
  const double bandwidth = DeviceBytesPerSecond(device), flops = DeviceFlopsPerSecond(device, w.tensors().compute);
  const double tokens = 1.0 * o.scenes * o.group * o.tokens, decode_bound = o.tokens * StepBytes(w, o) / bandwidth;
  const double prefill_bound = PrefillOperations(config.text, o) / flops;
  std::cout << nlohmann::json{{"prefill_tokens_per_second", o.scenes * o.prompt / t.prefill},
                              {"decode_tokens_per_second", tokens / t.decode},
                              {"decode_step_seconds", t.decode / o.tokens},
                              {"end_to_end_tokens_per_second", tokens / (t.prefill + t.decode)},
                              {"decode_part_seconds", parts},
                              {"dtype", o.dtype},
                              {"device", o.device},
                              {"device_bytes_per_second", bandwidth},
                              {"device_flops_per_second", flops},
                              {"decode_bandwidth_bound_tokens_per_second", tokens / decode_bound},
                              {"decode_share_of_bandwidth_bound", decode_bound / t.decode},
                              {"prefill_share_of_arithmetic_bound", prefill_bound / t.prefill}}
                   .dump()
            << "\n";
  return absl::OkStatus();
} catch (const std::exception& e) {
  return absl::UnavailableError(absl::StrCat("the CUDA device: ", e.what()));
}

}  // namespace swerve
