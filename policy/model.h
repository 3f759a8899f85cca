// The policy as a differentiable LibTorch module: InternVL3, Qwen2.5-VL or Qwen2.5 text (spec models.md 2.1–2.3), whole or
// with low-rank adapters. The learner trains it; the engine (policy/engine.h) samples the same weights with kernels of
// its own. Not thread-safe. Needs LibTorch: include only from rooms that do.
#ifndef SWERVE_POLICY_MODEL_H_
#define SWERVE_POLICY_MODEL_H_

#include <torch/torch.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/image.h"
#include "policy/lora.h"
#include "policy/model_config.h"
#include "policy/packed_batch.h"
#include "policy/tokenizer.h"
#include "policy/torch_weights.h"

namespace swerve {

class Policy : public torch::nn::Module {
 public:
  using Images = std::vector<std::shared_ptr<const ProcessedImage>>;

  // One prompt with one response. Ids come from GenerateResult, placeholders expanded; the image is null for text.
  struct Row {
    std::vector<int32_t> prompt_ids, response_ids;
    std::shared_ptr<const Image> image;
  };

  // Reads a Hugging Face directory; weights become `dtype` (kFloat32, kBFloat16), and matrices are multiplied in `compute`, by
  // default the same: float32 weights that are multiplied in bfloat16 are what mixed precision trains. On a CUDA device the
  // residual is float32 whatever the matrices are. NOT_FOUND; INVALID_ARGUMENT names the field or tensor; UNAVAILABLE: device.
  static absl::StatusOr<std::shared_ptr<Policy>> Load(const std::string& dir, torch::Device device = torch::kCPU,
                                                      torch::ScalarType dtype = torch::kFloat32,
                                                      std::optional<torch::ScalarType> compute = std::nullopt);
  // Writes a directory that transformers and Load read, in the layout it was loaded from, adapters merged; complete or
  // not at all.
  absl::Status Save(const std::string& dir) const;

  // Freezes every weight and adds trainable adapters, which change nothing yet. INVALID_ARGUMENT: no such modules.
  absl::Status AddAdapters(const LoraOptions& options);
  // Adds the adapters of a PEFT directory, trainable or merged on the spot. INVALID_ARGUMENT: another base, a kind of
  // adapter that is not supported.
  absl::Status LoadAdapters(const std::string& dir);
  absl::Status SaveAdapters(const std::string& dir) const;
  bool has_adapters() const { return !weights_.adapters.empty(); }
  // Off: the model as it was before adapters, the frozen reference.
  void UseAdapters(bool on) { weights_.adapters_on = on; }

  // OK, or INVALID_ARGUMENT: empty parts, ids out of range, placeholders that do not fit the image, too long.
  absl::Status Check(absl::Span<const Row> rows) const;

  // Log-probabilities of the response tokens at `temperature` (> 0), row after row: float32 [Σ response lengths],
  // differentiable. Rows with the same prompt (ids and image pointer) share its forward pass. Rows must pass Check;
  // others throw c10::Error.
  torch::Tensor Logprobs(absl::Span<const Row> rows, double temperature);
  // Mean cross-entropy of the response tokens (nats per token): the supervised loss. Scalar, differentiable.
  torch::Tensor SftLoss(absl::Span<const Row> rows);

  // For parity checks: logits of every position of one sequence, float32 [ids, vocabulary], and the most likely
  // continuation, at most `count` tokens, an end token included. Images (VisionInput) in order of their placeholders;
  // without any, placeholders are tokens as others. What does not fit throws c10::Error.
  torch::Tensor Logits(const std::vector<int32_t>& ids, const Images& images);
  std::vector<int32_t> Greedy(const std::vector<int32_t>& ids, const Images& images, int count);

  // Frozen: vision tower and projector take no gradient (RL default); their forward pass then records nothing.
  void FreezeVision(bool frozen);

  // On: Logprobs keeps each layer's input alone and computes the layer again for its gradient. The same bits for less
  // memory and a forward pass more (learner.gradient_checkpointing). The policy must outlive the graph.
  void CheckpointGradients(bool on) { checkpoint_gradients_ = on; }

  const ModelConfig& config() const { return config_; }
  // Null: the directory has no tokenizer.json.
  const Tokenizer* tokenizer() const { return tokenizer_.get(); }
  // Directory whose config and tokenizer files Save copies.
  const std::string& directory() const { return directory_; }
  // Parameter of a canonical name (policy/weight_names.h). nn::Module's own names have '/' for '.'.
  const torch::Tensor& weight(const std::string& name) const { return weights_.at(name); }
  const TorchWeights& weights() const { return weights_; }

 private:
  Policy() = default;
  absl::Status Register(std::map<std::string, Adapter> adapters);
  torch::Tensor Decode(const PackedBatch& batch) const;
  PackedBatch MakeBatch(absl::Span<const Row> rows) const;

  ModelConfig config_;
  std::unique_ptr<const Tokenizer> tokenizer_;
  std::string directory_;
  torch::Device device_{torch::kCPU};
  bool vision_frozen_ = false;
  bool checkpoint_gradients_ = false;
  TorchWeights weights_;
  LoraOptions lora_;
};

}  // namespace swerve

#endif  // SWERVE_POLICY_MODEL_H_
