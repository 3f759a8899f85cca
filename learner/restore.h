// Weights of a checkpoint into a policy that is already loaded. Needs LibTorch.
#ifndef SWERVE_LEARNER_RESTORE_H_
#define SWERVE_LEARNER_RESTORE_H_

#include <torch/torch.h>

#include <string>

#include "base/status.h"
#include "policy/checkpoint.h"
#include "policy/model.h"

namespace swerve {

// Copies the tensors of the Hugging Face directory `dir`, or of the PEFT directory when `policy` has adapters, over
// `policy`'s. The policy keeps its own directory for
// config and tokenizer, so the checkpoint may be removed later. INVALID_ARGUMENT: another architecture.
inline absl::Status RestoreWeights(const std::string& dir, const Policy& policy) {
  torch::NoGradGuard constant;
  auto copy = [](const std::vector<int64_t>& shape, std::vector<float>& from, torch::Tensor to) {
    to.copy_(torch::from_blob(from.data(), shape, torch::kFloat32));
  };
  if (policy.has_adapters()) {
    SWERVE_ASSIGN_OR_RETURN(LoraAdapter adapter, ReadAdapter(dir, policy.config()));
    for (const auto& [module, l] : policy.weights().adapters) {
      const auto it = adapter.modules.find(module);
      if (it == adapter.modules.end() || it->second.a_shape != l.a.sizes().vec()) return absl::InvalidArgumentError(absl::StrCat(dir, ": adapters of another kind"));
      copy(it->second.a_shape, it->second.a, l.a);
      copy(it->second.b_shape, it->second.b, l.b);
    }
    return absl::OkStatus();
  }
  SWERVE_ASSIGN_OR_RETURN(TensorMap tensors, LoadTensors(dir, policy.config()));
  for (auto& [name, t] : tensors) copy(t.shape, t.data, policy.weight(name));
  return absl::OkStatus();
}

}  // namespace swerve

#endif  // SWERVE_LEARNER_RESTORE_H_
