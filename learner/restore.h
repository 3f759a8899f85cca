// Weights of a checkpoint into a policy that is already loaded. Needs LibTorch.
#ifndef SWERVE_LEARNER_RESTORE_H_
#define SWERVE_LEARNER_RESTORE_H_

#include <torch/torch.h>

#include <string>

#include "base/status.h"
#include "policy/checkpoint.h"
#include "policy/model.h"

namespace swerve {

// Copies the tensors of the Hugging Face directory `dir` over `policy`'s. The policy keeps its own directory for
// config and tokenizer, so the checkpoint may be removed later. INVALID_ARGUMENT: another architecture.
inline absl::Status RestoreWeights(const std::string& dir, const Policy& policy) {
  SWERVE_ASSIGN_OR_RETURN(TensorMap tensors, LoadTensors(dir, policy.config()));
  torch::NoGradGuard constant;
  for (auto& [name, t] : tensors) {
    torch::Tensor target = policy.weight(name);
    target.copy_(torch::from_blob(t.data.data(), t.shape, torch::kFloat32));
  }
  return absl::OkStatus();
}

}  // namespace swerve

#endif  // SWERVE_LEARNER_RESTORE_H_
