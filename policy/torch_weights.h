// A model's tensors as LibTorch sees them, and the low-rank adapters that may lie over its linear layers (LoRA).
// Not thread-safe. Needs LibTorch.
#ifndef SWERVE_POLICY_TORCH_WEIGHTS_H_
#define SWERVE_POLICY_TORCH_WEIGHTS_H_

#include <torch/torch.h>

#include <map>
#include <string>

#include "policy/safetensors.h"
#include "policy/torch_linear.h"

namespace swerve {

struct Adapter {
  torch::Tensor a, b;  // [r, in], [out, r], float32
  double scale = 1;
};

class TorchWeights {
 public:
  std::map<std::string, torch::Tensor> tensors;  // by canonical name (policy/weight_names.h)
  std::map<std::string, Adapter> adapters;       // by canonical module name
  bool adapters_on = true;
  torch::ScalarType compute = torch::kFloat32;   // what matrices are multiplied in; weights of another type are cast each time

  const torch::Tensor& at(const std::string& name) const { return tensors.at(name); }
  bool has(const std::string& name) const { return tensors.count(name) > 0; }

  // x · Wᵀ + bias (where the module has one) + scale · x · Aᵀ · Bᵀ (where it has an adapter that is on), in `compute`. The
  // adapter's part is computed in float32, as PEFT does.
  torch::Tensor Linear(const torch::Tensor& x, const std::string& module) const {
    const auto bias = tensors.find(module + ".bias");
    const torch::Tensor w = tensors.at(module + ".weight").to(compute);
    torch::Tensor y = swerve::Linear(x.to(compute), w, bias == tensors.end() ? torch::Tensor() : bias->second.to(compute));
    const auto adapter = adapters_on ? adapters.find(module) : adapters.end();
    if (adapter == adapters.end()) return y;
    const Adapter& l = adapter->second;
    const torch::Tensor part = torch::linear(torch::linear(x.to(l.a.scalar_type()), l.a), l.b) * l.scale;
    return (y + part).to(y.scalar_type());
  }
};

// A copy on the device as `type`; the view may be unaligned.
torch::Tensor TensorOf(const TensorView& view, torch::Device device, torch::ScalarType type);

}  // namespace swerve

#endif  // SWERVE_POLICY_TORCH_WEIGHTS_H_
