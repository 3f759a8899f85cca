// Vision towers with their projectors, differentiable (spec models.md 2.2, 2.3). Stateless. Needs LibTorch.
#ifndef SWERVE_POLICY_TORCH_VISION_H_
#define SWERVE_POLICY_TORCH_VISION_H_

#include <torch/torch.h>

#include <memory>
#include <vector>

#include "policy/model_config.h"
#include "policy/torch_weights.h"

namespace swerve {

// What stands at the image placeholders, pictures one after the other: [placeholders, text hidden], in the weights' type.
// Throws c10::Error on pictures of another kind than the tower takes.
torch::Tensor VisionFeatures(const TorchWeights& weights, const ModelConfig& config,
                             const std::vector<std::shared_ptr<const ProcessedImage>>& images);

}  // namespace swerve

#endif  // SWERVE_POLICY_TORCH_VISION_H_
