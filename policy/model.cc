#include <torch/torch.h>

#include "policy/model.h"

#include <algorithm>
#include <deque>

#include "absl/strings/match.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "base/random.h"
#include "base/status.h"
#include "policy/checkpoint.h"
#include "policy/cuda_library.h"
#include "policy/prompt_input.h"

namespace swerve {
namespace {

using torch::Tensor;

std::string ParameterName(absl::string_view name) { return absl::StrReplaceAll(name, {{".", "/"}}); }

// Tensors on the CPU that outlive what refers to them.
class Held {
 public:
  void Add(const std::string& name, const Tensor& t) {
    const bool half = t.scalar_type() == torch::kBFloat16;
    const Tensor& kept = held_.emplace_back(t.detach().to(torch::kCPU, half ? torch::kBFloat16 : torch::kFloat32).contiguous());
    named_.push_back({name, kept.sizes().vec(), kept.data_ptr(), half ? "BF16" : "F32"});
  }
  const std::vector<NamedTensor>& named() const { return named_; }

 private:
  std::deque<Tensor> held_;
  std::vector<NamedTensor> named_;
};

}  // namespace

absl::StatusOr<std::shared_ptr<Policy>> Policy::Load(const std::string& dir, torch::Device device, torch::ScalarType dtype,
                                                     std::optional<torch::ScalarType> compute) {
  if (device.is_cuda()) SWERVE_RETURN_IF_ERROR(LoadCudaBackend());
  std::shared_ptr<Policy> policy(new Policy);
  SWERVE_ASSIGN_OR_RETURN(policy->config_, LoadModelConfig(dir));
  auto tokenizer = Tokenizer::Load(dir);
  if (!tokenizer.ok() && !absl::IsNotFound(tokenizer.status())) return tokenizer.status();
  if (tokenizer.ok()) policy->tokenizer_ = *std::move(tokenizer);
  SWERVE_ASSIGN_OR_RETURN(const MappedTensors mapped, MapTensors(dir, policy->config_));
  policy->directory_ = dir;
  policy->device_ = device;
  policy->weights_.compute = compute.value_or(dtype);
  policy->config_.text.tied = mapped.tensors.count(kHeadName) == 0;
  try {
    for (const auto& [name, view] : mapped.tensors) {
      policy->weights_.tensors[name] = policy->register_parameter(ParameterName(name), TensorOf(view, device, dtype));
    }
  } catch (const c10::Error& e) {
    return absl::UnavailableError(absl::StrCat("LibTorch: ", e.what_without_backtrace()));
  }
  return policy;
}

absl::Status Policy::Save(const std::string& dir) const {
  torch::NoGradGuard constant;
  Held held;
  for (const auto& [name, shape] : ExpectedTensors(config_)) {
    Tensor w = weights_.at(name);
    absl::string_view module = name;
    if (absl::ConsumeSuffix(&module, ".weight")) {
      if (const auto it = weights_.adapters.find(std::string(module)); it != weights_.adapters.end()) {
        const Adapter& l = it->second;
        w = (w.to(torch::kFloat32) + torch::matmul(l.b, l.a) * l.scale).to(w.scalar_type());
      }
    }
    held.Add(name, w);
  }
  return SaveCheckpoint(dir, directory_, config_, held.named());
}

absl::Status Policy::Register(std::map<std::string, Adapter> adapters) {
  if (has_adapters()) return absl::FailedPreconditionError("the policy has adapters already");
  for (auto& [name, tensor] : weights_.tensors) tensor.requires_grad_(false);
  for (auto& [module, l] : adapters) {
    l.a = register_parameter(ParameterName(module + ".lora_A"), l.a.to(device_));
    l.b = register_parameter(ParameterName(module + ".lora_B"), l.b.to(device_));
  }
  weights_.adapters = std::move(adapters);
  vision_frozen_ = true;
  return absl::OkStatus();
}

absl::Status Policy::AddAdapters(const LoraOptions& options) {
  SWERVE_ASSIGN_OR_RETURN(const std::vector<std::string> modules, LoraModules(options, config_));
  std::map<std::string, Adapter> adapters;
  for (const std::string& module : modules) {
    const Tensor& w = weights_.at(module + ".weight");
    const double bound = 1.0 / std::sqrt(static_cast<double>(w.size(1)));  // Kaiming uniform with a = √5, as PEFT starts
    Tensor a = torch::empty({options.rank, w.size(1)});
    Random random(StreamSeed(options.seed, HashName(module)));
    for (int64_t i = 0; i < a.numel(); ++i) a.data_ptr<float>()[i] = static_cast<float>(bound * (2 * random.Uniform() - 1));
    adapters[module] = {a, torch::zeros({w.size(0), options.rank}), options.alpha / options.rank};
  }
  lora_ = options;
  return Register(std::move(adapters));
}

absl::Status Policy::LoadAdapters(const std::string& dir) {
  SWERVE_ASSIGN_OR_RETURN(LoraAdapter read, ReadAdapter(dir, config_));
  std::map<std::string, Adapter> adapters;
  for (auto& [module, m] : read.modules) {
    adapters[module] = {torch::from_blob(m.a.data(), m.a_shape).clone(), torch::from_blob(m.b.data(), m.b_shape).clone(), m.scale};
  }
  lora_ = read.options;
  return Register(std::move(adapters));
}

absl::Status Policy::SaveAdapters(const std::string& dir) const {
  Held held;
  for (const auto& [module, l] : weights_.adapters) {
    // The file states one scale, lora_alpha / r; what differs from it goes into B.
    held.Add(module + ".lora_A", l.a);
    held.Add(module + ".lora_B", l.b.detach() * (l.scale / (lora_.alpha / static_cast<double>(l.a.size(0)))));
  }
  return WriteAdapter(dir, directory_, lora_, config_, held.named());
}

absl::Status Policy::Check(absl::Span<const Row> rows) const {
  for (size_t i = 0; i < rows.size(); ++i) {
    const Row& row = rows[i];
    auto bad = [&](absl::string_view what) { return absl::InvalidArgumentError(absl::StrCat("row ", i, ": ", what)); };
    if (row.prompt_ids.empty() || row.response_ids.empty()) return bad("the prompt or the response has no tokens");
    if (row.prompt_ids.size() + row.response_ids.size() > static_cast<size_t>(config_.text.max_positions)) return bad("longer than the model's positions");
    for (const auto* ids : {&row.prompt_ids, &row.response_ids}) {
      for (int32_t id : *ids) {
        if (id < 0 || id >= config_.text.vocab) return bad(absl::StrCat("token id ", id, " is outside the vocabulary"));
      }
    }
    const int64_t slots = config_.has_vision ? std::count(row.prompt_ids.begin(), row.prompt_ids.end(), config_.image_token_id) : 0;
    int wanted = 0;
    if (row.image && !config_.has_vision) return bad("an image for a model that takes none");
    if (row.image) {
      auto tokens = ImageTokens(config_.processor, row.image->height, row.image->width);
      if (!tokens.ok()) return bad(tokens.status().message());
      wanted = *tokens;
    }
    if (slots != wanted) return bad(absl::StrCat(slots, " image placeholders do not fit the image"));
  }
  return absl::OkStatus();
}

Tensor Policy::SftLoss(absl::Span<const Row> rows) { return -Logprobs(rows, 1.0).mean(); }

void Policy::FreezeVision(bool frozen) {
  if (has_adapters()) return;  // everything is frozen but them
  vision_frozen_ = frozen;
  for (auto& [name, tensor] : weights_.tensors) {
    if (!absl::StartsWith(name, "language_model.")) tensor.requires_grad_(!frozen);
  }
}

}  // namespace swerve
