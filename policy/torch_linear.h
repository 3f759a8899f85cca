// Products of float32 matrices on the CPU by the engine's kernels (policy/kernels.h): MKL, which LibTorch multiplies with,
// keeps to half of the vector width of an AMD core. Bits depend neither on the number of threads nor, of a
// row, on other rows. What the kernels do not take (other types and devices, fewer than 16 rows, widths that are not multiples
// of 16) goes to LibTorch, which promises no bits. Needs LibTorch.
#ifndef SWERVE_POLICY_TORCH_LINEAR_H_
#define SWERVE_POLICY_TORCH_LINEAR_H_

#include <torch/torch.h>

namespace swerve {

// x · wᵀ + bias: x [m, k], w [n, k], bias [n] or undefined → [m, n]. Differentiable.
torch::Tensor Linear(const torch::Tensor& x, const torch::Tensor& w, const torch::Tensor& bias = {});

// The same products without a graph: a · wᵀ ([m, k], [n, k]), a · w ([m, n], [n, k]), and out = aᵀ · b, or +=
// ([m, n], [m, k] → out [n, k], contiguous).
torch::Tensor TimesTransposed(const torch::Tensor& a, const torch::Tensor& w, const torch::Tensor& bias = {});
torch::Tensor Times(const torch::Tensor& a, const torch::Tensor& w);
void TransposedTimes(const torch::Tensor& a, const torch::Tensor& b, bool add, torch::Tensor& out);

// a · b in float32, whatever the two are: on a CUDA device what is multiplied stays as it is and the sums are not rounded.
torch::Tensor WideProduct(const torch::Tensor& a, const torch::Tensor& b);

}  // namespace swerve

#endif  // SWERVE_POLICY_TORCH_LINEAR_H_
