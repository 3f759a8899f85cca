// Attention of packed sequences for training on the CPU: answers that share a prompt see its keys where they lie, nothing is
// padded, gathered or masked. By the engine's kernels, float32. Needs LibTorch.
#ifndef SWERVE_POLICY_TORCH_ATTENTION_H_
#define SWERVE_POLICY_TORCH_ATTENTION_H_

#include <torch/torch.h>

#include <cstdint>
#include <memory>
#include <vector>

namespace swerve {

// Who sees whom among N packed tokens: a prompt's tokens those of it before them and themselves; an answer's tokens its whole
// prompt, and likewise of the answer. Every token belongs to one stretch.
struct PackedSequences {
  struct Stretch {
    int64_t first = 0, length = 0;
  };
  struct Group {
    Stretch prompt;
    std::vector<Stretch> answers;
  };
  std::vector<Group> groups;
};

// The kernels take float32 on the CPU, heads of a multiple of 16.
bool FitsPackedAttention(const torch::Tensor& q);

// q [N, heads, d], k and v [N, kv_heads, d] → [N, heads · d], differentiable. Bits depend neither on threads nor on other
// groups. A thread's memory grows with the longest sequence, not with its square.
torch::Tensor PackedAttention(const torch::Tensor& q, const torch::Tensor& k, const torch::Tensor& v, std::shared_ptr<const PackedSequences> sequences);

}  // namespace swerve

#endif  // SWERVE_POLICY_TORCH_ATTENTION_H_
