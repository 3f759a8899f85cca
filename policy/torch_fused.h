// What a decoder layer does beside matrix products and attention, each as one operation with its own gradient: on the CPU in
// float32 by the training kernels (policy/kernels.h), on a CUDA device by those of policy/cuda/train_kernels.h, one pass over
// memory where LibTorch's parts take five to ten; elsewhere composed of LibTorch's. Values and gradients depend neither on the number of threads nor on other rows. Needs LibTorch.
#ifndef SWERVE_POLICY_TORCH_FUSED_H_
#define SWERVE_POLICY_TORCH_FUSED_H_

#include <torch/torch.h>

namespace swerve {

// x / rms(x) · weight over the last dimension, as `type`; x [N, d]. Statistics in float32 whatever x is.
torch::Tensor RmsNorm(const torch::Tensor& x, const torch::Tensor& weight, double eps, torch::ScalarType type);

// Rotate-half RoPE on [N, heads, head_dim]; cos and sin [N, 1, head_dim], which take no gradient. Computed in their type.
torch::Tensor Rotate(const torch::Tensor& x, const torch::Tensor& cos, const torch::Tensor& sin);

// silu(gate) · up, elementwise.
torch::Tensor Swiglu(const torch::Tensor& gate, const torch::Tensor& up);

}  // namespace swerve

#endif  // SWERVE_POLICY_TORCH_FUSED_H_
