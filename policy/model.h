// The policy as a differentiable LibTorch module: InternViT → pixel shuffle → MLP → Qwen2.5 decoder (spec models.md 2.1,
// 2.2). The learner trains it; the engine (policy/engine.h) samples the same weights with kernels of its own.
// Not thread-safe. Needs LibTorch: include only from rooms that do.
#ifndef SWERVE_POLICY_MODEL_H_
#define SWERVE_POLICY_MODEL_H_

#include <torch/torch.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/image.h"
#include "policy/model_config.h"
#include "policy/tokenizer.h"

namespace swerve {

class Policy : public torch::nn::Module {
 public:
  // One prompt with one response. Ids come from GenerateResult, placeholders expanded; the image is null for text.
  struct Row {
    std::vector<int32_t> prompt_ids, response_ids;
    std::shared_ptr<const Image> image;
  };

  // Reads a Hugging Face directory. NOT_FOUND; INVALID_ARGUMENT names the field or tensor; UNAVAILABLE: device.
  static absl::StatusOr<std::shared_ptr<Policy>> Load(const std::string& dir, torch::Device device = torch::kCPU);
  // Writes a directory that transformers and Load read; complete or not at all.
  absl::Status Save(const std::string& dir) const;

  // OK, or INVALID_ARGUMENT: empty parts, ids out of range, placeholders that do not fit the image, too long.
  absl::Status Check(absl::Span<const Row> rows) const;

  // Log-probabilities of the response tokens at `temperature` (> 0), row after row: float32 [Σ response lengths],
  // differentiable. Rows with the same prompt (ids and image pointer) share its forward pass. Rows must pass Check;
  // others throw c10::Error.
  torch::Tensor Logprobs(absl::Span<const Row> rows, double temperature);
  // Mean cross-entropy of the response tokens (nats per token): the supervised loss. Scalar, differentiable.
  torch::Tensor SftLoss(absl::Span<const Row> rows);
  // Logits of every position of one sequence, float32 [ids, vocabulary]. For parity checks.
  torch::Tensor Logits(const std::vector<int32_t>& ids, const std::shared_ptr<const Image>& image);

  // Frozen: vision tower and projector take no gradient (RL default); their forward pass then records nothing.
  void FreezeVision(bool frozen);

  const ModelConfig& config() const { return config_; }
  const Tokenizer& tokenizer() const { return *tokenizer_; }
  // Directory whose config and tokenizer files Save copies.
  const std::string& directory() const { return directory_; }
  // Parameter of a canonical name (policy/checkpoint.h). nn::Module's own names have '/' for '.'.
  const torch::Tensor& weight(const std::string& name) const { return weights_.at(name); }

 private:
  struct Batch;
  Policy() = default;
  torch::Tensor Linear(const torch::Tensor& x, const std::string& name, bool bias) const;
  torch::Tensor Vision(const torch::Tensor& pixels) const;
  torch::Tensor Features(const std::vector<std::shared_ptr<const Image>>& images) const;
  torch::Tensor Decode(const Batch& batch) const;
  torch::Tensor Head(const torch::Tensor& hidden) const;
  Batch MakeBatch(absl::Span<const Row> rows) const;

  ModelConfig config_;
  std::unique_ptr<const Tokenizer> tokenizer_;
  std::string directory_;
  torch::Device device_{torch::kCPU};
  bool vision_frozen_ = false;
  std::map<std::string, torch::Tensor> weights_;
};

}  // namespace swerve

#endif  // SWERVE_POLICY_MODEL_H_
