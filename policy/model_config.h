// What config.json says about a model: InternVL3 ("internvl", the layout transformers writes, and "internvl_chat", the
// original repository's) and plain Qwen2.5 text ("qwen2"). spec models.md 2.1, 2.2. Torch-free values.
#ifndef SWERVE_POLICY_MODEL_CONFIG_H_
#define SWERVE_POLICY_MODEL_CONFIG_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace swerve {

struct TextConfig {
  int vocab = 0, hidden = 0, layers = 0, heads = 0, kv_heads = 0, head_dim = 0, mlp = 0, max_positions = 0;
  float eps = 1e-6f;
  double rope_theta = 1e6;
  bool tied = false;
};

struct VisionConfig {
  int hidden = 0, layers = 0, heads = 0, mlp = 0, image = 0, patch = 0;
  float eps = 1e-6f;
  bool qkv_bias = true;
};

struct ModelConfig {
  std::string model_type;
  TextConfig text;
  bool has_vision = false;
  VisionConfig vision;
  int image_token_id = -1;
  int image_tokens = 0;  // per image: (image / patch / 2)^2
  std::vector<int> eos;  // any of them ends a response
  float image_mean[3] = {0.485f, 0.456f, 0.406f};
  float image_std[3] = {0.229f, 0.224f, 0.225f};
};

// Reads config.json, generation_config.json and preprocessor_config.json (the latter two when present).
// INVALID_ARGUMENT names the field that is missing, out of range or asks for what is not supported; NOT_FOUND.
absl::StatusOr<ModelConfig> LoadModelConfig(const std::string& dir);

}  // namespace swerve

#endif  // SWERVE_POLICY_MODEL_CONFIG_H_
