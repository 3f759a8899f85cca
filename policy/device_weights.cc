#include <torch/torch.h>

#include "policy/device_weights.h"

#include <atomic>

#include "absl/strings/match.h"
#include "base/status.h"
#include "policy/checkpoint.h"
#include "policy/weight_names.h"

namespace swerve {

using torch::Tensor;

absl::StatusOr<std::shared_ptr<const DeviceWeights>> DeviceWeights::Load(const std::string& dir, const ModelConfig& config, torch::Device device,
                                                                         torch::ScalarType type) {
  static std::atomic<uint64_t> count{0};
  SWERVE_ASSIGN_OR_RETURN(const MappedTensors mapped, MapTensors(dir, config));
  std::shared_ptr<DeviceWeights> out(new DeviceWeights);
  out->id_ = ++count;
  out->config_ = config;
  out->config_.text.tied = mapped.tensors.count(kHeadName) == 0;
  out->tensors_.compute = type;
  try {
    torch::NoGradGuard constant;
    for (const auto& [name, view] : mapped.tensors) {
      // The decoder's norms are applied to a float32 residual.
      const bool norm = absl::StartsWith(name, "language_model.") && absl::StrContains(name, "norm");
      out->tensors_.tensors[name] = TensorOf(view, device, norm ? torch::kFloat32 : type);
    }
    out->Arrange();
  } catch (const std::exception& e) {
    return absl::UnavailableError(absl::StrCat("weights do not get onto ", device.str(), ": ", e.what()));
  }
  return out;
}

// One matrix of several, which become views of it.
Tensor DeviceWeights::Stack(const std::vector<std::string>& names) {
  std::vector<Tensor> parts;
  for (const std::string& name : names) {
    if (!tensors_.has(name)) return {};
    parts.push_back(tensors_.at(name));
  }
  const Tensor all = torch::cat(parts);
  int64_t at = 0;
  for (const std::string& name : names) {
    Tensor& part = tensors_.tensors[name];
    const int64_t rows = part.size(0);
    part = all.narrow(0, at, rows);
    at += rows;
  }
  return all;
}

void DeviceWeights::Arrange() {
  for (int i = 0; i < config_.text.layers; ++i) {
    const std::string p = absl::StrCat(kTextPrefix, "layers.", i, "."), a = p + "self_attn.";
    Layer l;
    l.norm1 = tensors_.at(p + "input_layernorm.weight");
    l.norm2 = tensors_.at(p + "post_attention_layernorm.weight");
    l.qkv = Stack({a + "q_proj.weight", a + "k_proj.weight", a + "v_proj.weight"});
    l.qkv_bias = Stack({a + "q_proj.bias", a + "k_proj.bias", a + "v_proj.bias"});
    l.o = tensors_.at(a + "o_proj.weight");
    l.gate_up = Stack({p + "mlp.gate_proj.weight", p + "mlp.up_proj.weight"});
    l.down = tensors_.at(p + "mlp.down_proj.weight");
    layers_.push_back(std::move(l));
  }
  norm_ = tensors_.at(absl::StrCat(kTextPrefix, "norm.weight"));
  embedding_ = tensors_.at(kEmbeddingName);
  head_ = tensors_.at(config_.text.tied ? kEmbeddingName : kHeadName);
}

device::Shape DeviceWeights::shape() const {
  const TextConfig& t = config_.text;
  return {tensors_.compute == torch::kBFloat16, t.hidden, t.heads, t.kv_heads, t.head_dim, t.mlp, t.vocab, t.eps};
}

int64_t DeviceWeights::step_bytes() const {
  int64_t bytes = head_.nbytes();
  for (const Layer& l : layers_) bytes += l.qkv.nbytes() + l.o.nbytes() + l.gate_up.nbytes() + l.down.nbytes();
  return bytes;
}

}  // namespace swerve
