#include <torch/torch.h>

#include "learner/optimiser.h"

#include <cmath>
#include <map>

#include "policy/safetensors.h"

namespace swerve {
namespace {

using torch::Tensor;
using torch::optim::AdamWOptions;
using torch::optim::AdamWParamState;

}  // namespace

Optimiser::Optimiser(const torch::nn::Module& module, const OptimiserOptions& options) : options_(options) {
  std::map<std::string, Tensor> sorted;
  for (const auto& item : module.named_parameters()) {
    if (item.value().requires_grad()) sorted[item.key()] = item.value();
  }
  std::vector<Tensor> decayed, plain;
  for (const auto& [name, tensor] : sorted) {
    parameters_.emplace_back(name, tensor);
    (tensor.dim() >= 2 ? decayed : plain).push_back(tensor);
  }
  auto group = [&](std::vector<Tensor> tensors, double decay) {
    auto o = std::make_unique<AdamWOptions>(0.0);
    o->betas(std::make_tuple(options.beta1, options.beta2)).eps(options.eps).weight_decay(decay);
    return torch::optim::OptimizerParamGroup(std::move(tensors), std::move(o));
  };
  adam_ = std::make_unique<torch::optim::AdamW>(std::vector<torch::optim::OptimizerParamGroup>{
      group(decayed, options.weight_decay), group(plain, 0.0)});
}

double Optimiser::Step(double learning_rate) {
  std::vector<Tensor> tensors;
  for (const auto& [name, tensor] : parameters_) tensors.push_back(tensor);
  const double bound = options_.max_grad_norm > 0 ? options_.max_grad_norm : INFINITY;
  double squares = 0;
  for (const Tensor& t : tensors) {
    if (t.grad().defined()) squares += t.grad().square().sum(torch::kFloat64).item<double>();
  }
  const double norm = std::sqrt(squares);
  if (!std::isfinite(norm)) return norm;
  if (norm > bound) {
    for (const Tensor& t : tensors) {
      if (t.grad().defined()) t.grad().mul_(bound / (norm + 1e-6));
    }
  }
  for (auto& group : adam_->param_groups()) group.options().set_lr(learning_rate);
  adam_->step();
  return norm;
}

absl::Status Optimiser::Save(const std::string& path) const {
  std::vector<Tensor> held;
  std::vector<NamedTensor> named;
  auto add = [&](const std::string& name, const Tensor& t) {
    held.push_back(t.detach().to(torch::kCPU, torch::kFloat32).contiguous());
    named.push_back({name, held.back().sizes().vec(), held.back().data_ptr<float>()});
  };
  for (const auto& [name, tensor] : parameters_) {
    auto it = adam_->state().find(tensor.unsafeGetTensorImpl());
    if (it == adam_->state().end()) continue;  // never had a gradient
    const auto& state = static_cast<const AdamWParamState&>(*it->second);
    add(name + ".exp_avg", state.exp_avg());
    add(name + ".exp_avg_sq", state.exp_avg_sq());
    add(name + ".step", torch::tensor({static_cast<float>(state.step())}));
  }
  return WriteSafetensors(path, named);
}

absl::Status Optimiser::Load(const std::string& path) {
  SWERVE_ASSIGN_OR_RETURN(const std::unique_ptr<SafetensorsFile> file, SafetensorsFile::Open(path));
  size_t used = 0;
  for (const auto& [name, tensor] : parameters_) {
    auto read = [&](const std::string& suffix, bool scalar) -> absl::StatusOr<Tensor> {
      auto it = file->tensors().find(name + suffix);
      if (it == file->tensors().end()) return absl::NotFoundError(name + suffix);
      if (!scalar && it->second.shape != tensor.sizes().vec()) {
        return absl::InvalidArgumentError(absl::StrCat(path, ": ", name, suffix, " has another shape than the model's"));
      }
      std::vector<float> values = it->second.ToFloat();
      return torch::from_blob(values.data(), it->second.shape, torch::kFloat32).clone().to(tensor.device());
    };
    absl::StatusOr<Tensor> average = read(".exp_avg", false);
    if (absl::IsNotFound(average.status())) continue;
    SWERVE_RETURN_IF_ERROR(average.status());
    SWERVE_ASSIGN_OR_RETURN(Tensor squares, read(".exp_avg_sq", false));
    SWERVE_ASSIGN_OR_RETURN(Tensor step, read(".step", true));
    auto state = std::make_unique<AdamWParamState>();
    state->step(static_cast<int64_t>(step.item<float>()));
    state->exp_avg(*average);
    state->exp_avg_sq(squares);
    adam_->state()[tensor.unsafeGetTensorImpl()] = std::move(state);
    used += 3;
  }
  if (used != file->tensors().size()) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": belongs to another set of trained parameters (is "
                                                   "learner.freeze_vision as it was?)"));
  }
  return absl::OkStatus();
}

}  // namespace swerve
