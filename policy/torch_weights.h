// A model's tensors as LibTorch sees them, and the low-rank adapters that may lie over its linear layers (LoRA).
// Not thread-safe. Needs LibTorch.
#ifndef SWERVE_POLICY_TORCH_WEIGHTS_H_
#define SWERVE_POLICY_TORCH_WEIGHTS_H_

#include <torch/torch.h>

#include <map>
#include <string>

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

  const torch::Tensor& at(const std::string& name) const { return tensors.at(name); }
  bool has(const std::string& name) const { return tensors.count(name) > 0; }

  // x · Wᵀ + bias (where the module has one) + scale · x · Aᵀ · Bᵀ (where it has an adapter that is on). The adapter's
  // part is computed in float32, as PEFT does.
  torch::Tensor Linear(const torch::Tensor& x, const std::string& module) const {
    const auto bias = tensors.find(module + ".bias");
    const torch::Tensor& w = tensors.at(module + ".weight");
    torch::Tensor y = bias == tensors.end() ? torch::linear(x, w) : torch::linear(x, w, bias->second);
    const auto adapter = adapters_on ? adapters.find(module) : adapters.end();
    if (adapter == adapters.end()) return y;
    const Adapter& l = adapter->second;
    const torch::Tensor part = torch::linear(torch::linear(x.to(l.a.scalar_type()), l.a), l.b) * l.scale;
    return (y + part).to(y.scalar_type());
  }
};

// x / rms(x) · weight; statistics in float32 whatever x is.
inline torch::Tensor RmsNorm(const torch::Tensor& x, const torch::Tensor& weight, double eps) {
  const torch::Tensor f = x.to(torch::kFloat32);
  return (f * torch::rsqrt(f.square().mean(-1, true) + eps)).to(x.scalar_type()) * weight;
}

// Rotate-half RoPE on [N, heads, head_dim]; cos and sin [N, 1, head_dim].
inline torch::Tensor Rotate(const torch::Tensor& x, const torch::Tensor& cos, const torch::Tensor& sin) {
  const int64_t half = x.size(-1) / 2;
  return x * cos + torch::cat({-x.narrow(-1, half, half), x.narrow(-1, 0, half)}, -1) * sin;
}

}  // namespace swerve

#endif  // SWERVE_POLICY_TORCH_WEIGHTS_H_
