// What config.json says about a model: InternVL3 ("internvl", the layout transformers writes, and "internvl_chat", the
// original repository's), Qwen2.5-VL ("qwen2_5_vl", text fields at the top or under text_config) and plain Qwen2.5 text
// ("qwen2"). spec models.md 2.1–2.3. What a file leaves out has the default of transformers' class. Torch-free values.
#ifndef SWERVE_POLICY_MODEL_CONFIG_H_
#define SWERVE_POLICY_MODEL_CONFIG_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "policy/chat_template.h"
#include "policy/image_processor.h"

namespace swerve {

// The Qwen2.5 decoder.
struct TextConfig {
  int vocab = 0, hidden = 0, layers = 0, heads = 0, kv_heads = 0, head_dim = 0, mlp = 0, max_positions = 0;
  float eps = 1e-6f;
  double rope_theta = 1e6;
  bool tied = false;           // the head is the embedding; what the weights hold decides (OpenCheckpoint)
  std::vector<int> mrope;      // rotary frequencies that follow t, h, w, in turn; empty: one position a token
};

struct VisionConfig {
  enum class Kind {
    kInternVit,  // LayerNorm, class token, learned positions, pixel shuffle and MLP
    kQwen,       // RMSNorm, windows, rotary positions, merger
  };
  Kind kind = Kind::kInternVit;
  int hidden = 0, layers = 0, heads = 0, mlp = 0, patch = 0;
  int merge = 2;  // patches per side of what becomes one token

  // kInternVit
  int image = 0;  // side of the square that position embeddings are for, pixels
  float eps = 1e-6f;
  bool qkv_bias = true;
  bool positions = true;    // has position embeddings
  bool final_norm = false;  // LayerNorm after the last block

  // kQwen
  int temporal_patch = 2, window = 112;  // frames; pixels
  std::vector<int> full_blocks;          // blocks that attend to the whole frame, not to windows
  double rope_theta = 1e4;
};

struct ModelConfig {
  std::string model_type;
  TextConfig text;
  bool has_vision = false;
  VisionConfig vision;
  ImageProcessorConfig processor;  // with vision
  int image_token_id = -1;
  std::vector<int> eos;  // any of them ends a response
  ChatTemplate chat;
};

// Reads config.json, generation_config.json, the preprocessor's files and the chat template (all but the first when
// present).
// INVALID_ARGUMENT names the field that is missing, out of range or asks for what is not supported; NOT_FOUND.
absl::StatusOr<ModelConfig> LoadModelConfig(const std::string& dir);

// Side in pixels of the square picture that suits the model; 0: it takes none.
int ImageSize(const ModelConfig& config);

}  // namespace swerve

#endif  // SWERVE_POLICY_MODEL_CONFIG_H_
