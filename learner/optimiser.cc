#include <torch/torch.h>

#include "learner/optimiser.h"

#include <cmath>
#include <map>

#include "policy/safetensors.h"

namespace swerve {

using torch::Tensor;

namespace {

// float64 []; on a device without a copy of the squares, whose sum is float32 there.
Tensor SumOfSquares(const Tensor& t) {
  if (!t.is_cuda()) return t.square().sum(torch::kFloat64);
  const Tensor norm = torch::linalg_vector_norm(t).to(torch::kFloat64);
  return norm * norm;
}

}  // namespace

Optimiser::Optimiser(const torch::nn::Module& module, const OptimiserOptions& options) : options_(options) {
  std::map<std::string, Tensor> sorted;
  for (const auto& item : module.named_parameters()) {
    if (item.value().requires_grad()) sorted[item.key()] = item.value();
  }
  for (const auto& [name, tensor] : sorted) slots_.push_back({name, tensor, {}, {}, {}});
}

void Optimiser::ZeroGrad() {
  for (Slot& slot : slots_) slot.parameter.mutable_grad().reset();
}

double Optimiser::Step(double learning_rate) {
  torch::NoGradGuard constant;
  std::vector<Slot*> decayed, plain;
  std::vector<Tensor> squares;  // one wait for a device, not one a tensor
  for (Slot& slot : slots_) {
    if (!slot.parameter.grad().defined()) continue;
    squares.push_back(SumOfSquares(slot.parameter.grad()));
    (slot.parameter.dim() >= 2 ? decayed : plain).push_back(&slot);
  }
  const double norm = squares.empty() ? 0 : std::sqrt(torch::stack(squares).sum().item<double>());
  if (!std::isfinite(norm)) return norm;
  if (options_.max_grad_norm > 0 && norm > options_.max_grad_norm) {
    for (auto* slots : {&decayed, &plain}) {
      for (Slot* slot : *slots) slot->parameter.mutable_grad().mul_(options_.max_grad_norm / (norm + 1e-6));
    }
  }
  Update(decayed, learning_rate, options_.weight_decay);
  Update(plain, learning_rate, 0.0);
  return norm;
}

// LibTorch's C++ optimiser takes some ten passes over memory, the fused operation one.
void Optimiser::Update(const std::vector<Slot*>& slots, double learning_rate, double decay) {
  if (slots.empty()) return;
  std::vector<Tensor> parameters, gradients, averages, squares, steps;
  for (Slot* slot : slots) {
    if (!slot->average.defined()) {
      slot->average = torch::zeros_like(slot->parameter);
      slot->squares = torch::zeros_like(slot->parameter);
      slot->step = torch::zeros({}, slot->parameter.options().dtype(torch::kFloat32));
    }
    slot->step.add_(1);
    parameters.push_back(slot->parameter);
    gradients.push_back(slot->parameter.grad());
    averages.push_back(slot->average);
    squares.push_back(slot->squares);
    steps.push_back(slot->step);
  }
  at::_fused_adamw_(parameters, gradients, averages, squares, {}, steps, learning_rate, options_.beta1, options_.beta2, decay,
                    options_.eps, /*amsgrad=*/false, /*maximize=*/false);
}

absl::Status Optimiser::Save(const std::string& path) const {
  std::vector<Tensor> held;
  std::vector<NamedTensor> named;
  auto add = [&](const std::string& name, const Tensor& t) {
    held.push_back(t.detach().to(torch::kCPU, torch::kFloat32).contiguous());
    named.push_back({name, held.back().sizes().vec(), held.back().data_ptr<float>()});
  };
  for (const Slot& slot : slots_) {
    if (!slot.average.defined()) continue;  // never had a gradient
    add(slot.name + ".exp_avg", slot.average);
    add(slot.name + ".exp_avg_sq", slot.squares);
    add(slot.name + ".step", slot.step);
  }
  return WriteSafetensors(path, named);
}

absl::Status Optimiser::Load(const std::string& path) {
  SWERVE_ASSIGN_OR_RETURN(const std::unique_ptr<SafetensorsFile> file, SafetensorsFile::Open(path));
  size_t used = 0;
  for (Slot& slot : slots_) {
    const std::string& name = slot.name;
    const Tensor& tensor = slot.parameter;
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
    SWERVE_ASSIGN_OR_RETURN(slot.squares, read(".exp_avg_sq", false));
    SWERVE_ASSIGN_OR_RETURN(const Tensor step, read(".step", true));
    slot.average = *average;
    slot.step = step;
    used += 3;
  }
  if (used != file->tensors().size()) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": belongs to another set of trained parameters (is "
                                                   "learner.freeze_vision as it was?)"));
  }
  return absl::OkStatus();
}

}  // namespace swerve
