// Gradient checkpointing: a part of the forward pass that keeps its input alone and is computed again when its gradient is
// asked for. Needs LibTorch.
#ifndef SWERVE_POLICY_RECOMPUTE_H_
#define SWERVE_POLICY_RECOMPUTE_H_

#include <torch/torch.h>

#include <functional>

namespace swerve {

// body(x), bit for bit, and the same gradients of x and of every leaf that `body` reads. `body` runs once more for each
// backward pass, so it must be a pure function of x and of leaves that do not change meanwhile, and own what it captures.
// Gradients of leaves are added to their .grad (torch::autograd::grad with a list of inputs does not see them).
// Where no gradient is recorded this is body(x) and nothing else.
torch::Tensor Recompute(std::function<torch::Tensor(const torch::Tensor&)> body, const torch::Tensor& x);

}  // namespace swerve

#endif  // SWERVE_POLICY_RECOMPUTE_H_
