// Log-probabilities of given tokens without the [tokens, vocabulary] tensor. Stateless. Needs LibTorch.
#ifndef SWERVE_POLICY_TOKEN_LOGPROBS_H_
#define SWERVE_POLICY_TOKEN_LOGPROBS_H_

#include <torch/torch.h>

namespace swerve {

// log softmax(hidden · weightᵀ / temperature)[i, targets[i]]: float32 [N], differentiable in hidden [N, H] and
// weight [V, H], which is multiplied in hidden's type. Beyond `chunk_elements` logits (0: 2²⁶, on a CUDA device 2²⁸) it goes in
// chunks of that many and computes the logits again on the way back, so that no more of them are ever held; few large chunks,
// because each passes over the whole weight. Softmax in float32 whatever the weights are, on a CUDA device of logits that were
// never rounded to less.
torch::Tensor TokenLogprobs(const torch::Tensor& hidden, const torch::Tensor& weight, const torch::Tensor& targets, double temperature,
                            int64_t chunk_elements = 0);

}  // namespace swerve

#endif  // SWERVE_POLICY_TOKEN_LOGPROBS_H_
