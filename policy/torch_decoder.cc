#include <torch/torch.h>

#include "policy/torch_decoder.h"

#include "absl/strings/str_cat.h"
#include "policy/recompute.h"
#include "policy/torch_fused.h"
#include "policy/weight_names.h"

namespace swerve {

using torch::Tensor;

Rotary RotaryOf(const TextConfig& c, const std::vector<int64_t>& positions, const Tensor& like) {
  const int64_t n = static_cast<int64_t>(positions.size() / 3);
  const Tensor at = torch::tensor(positions, torch::kFloat32).view({3, n});
  const Tensor frequency = torch::pow(c.rope_theta, torch::arange(0, c.head_dim, 2, torch::kFloat64) / -c.head_dim).to(torch::kFloat32);
  Tensor angle;
  if (c.mrope.empty()) {
    angle = torch::outer(at[0], frequency);
  } else {
    std::vector<int64_t> axis;
    for (size_t i = 0; i < c.mrope.size(); ++i) axis.insert(axis.end(), c.mrope[i], static_cast<int64_t>(i % 3));
    angle = at.index_select(0, torch::tensor(axis, torch::kInt64)).transpose(0, 1) * frequency;
  }
  angle = torch::cat({angle, angle}, -1).unsqueeze(1).to(like.device());
  return {angle.cos().to(like.scalar_type()), angle.sin().to(like.scalar_type())};
}

Tensor GroupedAttention(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& mask) {
  // Query heads that share a key head become extra query rows of it.
  const int64_t rows = q.size(0), n = q.size(1), kv = k.size(2), g = q.size(2) / kv, d = q.size(3);
  const Tensor queries = q.view({rows, n, kv, g, d}).permute({0, 2, 3, 1, 4}).reshape({rows, kv, g * n, d});
  c10::optional<Tensor> seen;
  if (mask.defined()) seen = mask;
  const Tensor o = torch::scaled_dot_product_attention(queries, k.transpose(1, 2), v.transpose(1, 2), seen);
  return o.view({rows, kv, g, n, d}).permute({0, 3, 1, 2, 4}).reshape({rows * n, kv * g * d});
}

namespace {

Tensor RunLayer(const TorchWeights& w, const TextConfig& c, int layer, Tensor x, const Rotary& rotary, const Attend& attend) {
  const std::string p = absl::StrCat(kTextPrefix, "layers.", layer, ".");
  Tensor n = RmsNorm(x, w.at(p + "input_layernorm.weight"), c.eps, w.compute);
  const Tensor q = Rotate(w.Linear(n, p + "self_attn.q_proj").view({-1, c.heads, c.head_dim}), rotary.cos, rotary.sin);
  const Tensor k = Rotate(w.Linear(n, p + "self_attn.k_proj").view({-1, c.kv_heads, c.head_dim}), rotary.cos, rotary.sin);
  const Tensor v = w.Linear(n, p + "self_attn.v_proj").view({-1, c.kv_heads, c.head_dim});
  x = x + w.Linear(attend(layer, q, k, v), p + "self_attn.o_proj");
  n = RmsNorm(x, w.at(p + "post_attention_layernorm.weight"), c.eps, w.compute);
  return x + w.Linear(Swiglu(w.Linear(n, p + "mlp.gate_proj"), w.Linear(n, p + "mlp.up_proj")), p + "mlp.down_proj");
}

}  // namespace

Tensor RunDecoder(const TorchWeights& w, const TextConfig& c, Tensor x, const Rotary& rotary, const Attend& attend, bool checkpoint) {
  for (int i = 0; i < c.layers; ++i) {
    if (checkpoint) {
      x = Recompute([&w, &c, i, rotary, attend](const Tensor& in) { return RunLayer(w, c, i, in, rotary, attend); }, x);
    } else {
      x = RunLayer(w, c, i, x, rotary, attend);
    }
  }
  return x;
}

Tensor FinalNorm(const TorchWeights& w, const TextConfig& c, const Tensor& hidden) {
  return RmsNorm(hidden, w.at(absl::StrCat(kTextPrefix, "norm.weight")), c.eps, w.compute);
}

const Tensor& HeadWeight(const TorchWeights& w) { return w.at(w.has(kHeadName) ? kHeadName : kEmbeddingName); }

Tensor DecoderLogits(const TorchWeights& w, const TextConfig& c, const Tensor& hidden) {
  return torch::linear(FinalNorm(w, c, hidden), HeadWeight(w).to(w.compute));
}

}  // namespace swerve
