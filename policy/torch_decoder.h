// The Qwen2.5 decoder, the same for every architecture (spec models.md 2.1; M-RoPE 2.3). Differentiable; who attends to
// whom is the caller's. Stateless. Needs LibTorch.
#ifndef SWERVE_POLICY_TORCH_DECODER_H_
#define SWERVE_POLICY_TORCH_DECODER_H_

#include <torch/torch.h>

#include <functional>
#include <vector>

#include "policy/model_config.h"
#include "policy/torch_weights.h"

namespace swerve {

struct Rotary {
  torch::Tensor cos, sin;  // [N, 1, head_dim]
};
// `positions`: row-major [3, N] (policy/prompt_input.h). Angles in float32, then as `like` is.
Rotary RotaryOf(const TextConfig& config, const std::vector<int64_t>& positions, const torch::Tensor& like);

// Attention of one layer: q [N, heads, d], k and v [N, kv_heads, d], rotated → [N, heads · d].
using Attend = std::function<torch::Tensor(int layer, const torch::Tensor& q, const torch::Tensor& k, const torch::Tensor& v)>;

// Hidden states [N, hidden] through all layers; no final norm. With `checkpoint` a layer keeps its input alone and is
// computed again for its gradient (policy/recompute.h): `weights` and `config` must then outlive the graph, and `attend`
// own what it captures.
torch::Tensor RunDecoder(const TorchWeights& weights, const TextConfig& config, torch::Tensor x, const Rotary& rotary, const Attend& attend,
                         bool checkpoint = false);

// What the head sees of hidden states; the head; both: logits [N, vocabulary] in the weights' type.
torch::Tensor FinalNorm(const TorchWeights& weights, const TextConfig& config, const torch::Tensor& hidden);
const torch::Tensor& HeadWeight(const TorchWeights& weights);
torch::Tensor DecoderLogits(const TorchWeights& weights, const TextConfig& config, const torch::Tensor& hidden);

// Queries [B, n, heads, d] over keys and values [B, m, kv_heads, d] → [B · n, heads · d]. `mask`: true where a query sees
// a key, [g·n, m] or [B, 1, g·n, m], its n rows repeated for the g = heads / kv_heads queries that share a key;
// undefined: everything. Keys themselves are not repeated.
torch::Tensor GroupedAttention(const torch::Tensor& q, const torch::Tensor& k, const torch::Tensor& v, const torch::Tensor& mask);

}  // namespace swerve

#endif  // SWERVE_POLICY_TORCH_DECODER_H_
