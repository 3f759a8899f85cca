// Prompts and responses side by side without padding, as the model runs them. Needs LibTorch.
#ifndef SWERVE_POLICY_PACKED_BATCH_H_
#define SWERVE_POLICY_PACKED_BATCH_H_

#include <torch/torch.h>

#include <array>
#include <memory>
#include <vector>

#include "policy/model_config.h"
#include "policy/torch_attention.h"
#include "policy/torch_decoder.h"
#include "policy/torch_weights.h"

namespace swerve {

// Every token once: prompts first, then what each response feeds back (all its tokens but the last). A value.
struct PackedBatch {
  using Images = std::vector<std::shared_ptr<const ProcessedImage>>;

  std::vector<int64_t> ids;
  std::array<std::vector<int64_t>, 3> positions;  // t, h, w
  std::vector<int64_t> image_slots;               // packed positions of placeholders, in image order
  Images images;
  PackedSequences sequences;
  std::vector<int64_t> next;             // of prompts: the position that follows
  std::vector<int64_t> select, targets;  // packed position that predicts each response token, and the token

  int64_t prompts() const { return static_cast<int64_t>(next.size()); }

  // Throws c10::Error where images and placeholders do not fit. Prompts go before all responses.
  void AddPrompt(const ModelConfig& config, const std::vector<int32_t>& prompt, const Images& shown);
  void AddResponse(const std::vector<int32_t>& response, int64_t prompt);

  // Row-major [3, tokens].
  std::vector<int64_t> FlatPositions() const;
};

torch::Tensor IndexTensor(const std::vector<int64_t>& v, torch::Device device);

// Token embeddings with the pictures' features at their placeholders, [tokens, hidden]: the residual, on a CUDA device float32
// whatever the matrices are. `vision_frozen`: the pictures' part records no graph.
torch::Tensor EmbedBatch(const TorchWeights& weights, const ModelConfig& config, const PackedBatch& batch, bool vision_frozen);

// Attention among the batch's tokens: by the engine's kernels on the CPU in float32; by flash attention on a CUDA device in
// bfloat16 and float16; else padded, by what LibTorch has. Owns what it needs.
Attend BatchAttention(const TorchWeights& weights, const TextConfig& config, const PackedSequences& sequences);

}  // namespace swerve

#endif  // SWERVE_POLICY_PACKED_BATCH_H_
