// A model directory as named float tensors: one set of names whatever layout the files use. Torch-free.
// Names are those transformers writes for InternVL ("language_model.model.layers.0…", "vision_tower.…",
// "multi_modal_projector.…", "language_model.lm_head.weight" unless tied); read are also the "model."-prefixed ones, the
// original repository's (fused qkv), and plain Qwen2 ("model.layers.0…"), which is saved under its own names.
#ifndef SWERVE_POLICY_CHECKPOINT_H_
#define SWERVE_POLICY_CHECKPOINT_H_

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "policy/model_config.h"
#include "policy/safetensors.h"

namespace swerve {

struct HostTensor {
  std::vector<int64_t> shape;
  std::vector<float> data;
};
using TensorMap = std::map<std::string, HostTensor>;

// Every tensor a model of this configuration has, by name, with its shape.
std::vector<std::pair<std::string, std::vector<int64_t>>> ExpectedTensors(const ModelConfig& config);

// INVALID_ARGUMENT names the tensor that is missing or has another shape. Extra tensors are ignored.
absl::StatusOr<TensorMap> LoadTensors(const std::string& dir, const ModelConfig& config);

// Writes a directory transformers loads: model.safetensors, and from `template_dir` config.json, tokenizer and
// processor files. The directory appears complete or not at all; an existing `dir` is replaced.
absl::Status SaveCheckpoint(const std::string& dir, const std::string& template_dir, const ModelConfig& config,
                            absl::Span<const NamedFloats> tensors);

}  // namespace swerve

#endif  // SWERVE_POLICY_CHECKPOINT_H_
