// What every engine does with text, wherever its tokens come from: a request to prompt ids, the ids of a response to text,
// parse and poses. Torch-free. Immutable, thread-safe.
#ifndef SWERVE_POLICY_ENGINE_TEXT_H_
#define SWERVE_POLICY_ENGINE_TEXT_H_

#include <memory>
#include <string>
#include <vector>

#include "policy/codec.h"
#include "policy/engine.h"
#include "policy/model_config.h"
#include "policy/tokenizer.h"

namespace swerve {

class EngineText {
 public:
  // Reads config and tokenizer of `model_dir`; an engine that takes fewer positions than the model says how many. NOT_FOUND, INVALID_ARGUMENT (the file and field; the codec; no end-of-turn id).
  static absl::StatusOr<std::unique_ptr<const EngineText>> Load(const std::string& model_dir, const std::string& codec,
                                                                const std::string& codebook,
                                                                int max_positions = INT32_MAX);

  // Ids of the whole conversation, image placeholders expanded. INVALID_ARGUMENT: what no engine can serve (no seeds, sampling
  // parameters out of range, an image for a text model, more tokens than the model has positions).
  absl::StatusOr<std::vector<int32_t>> Prompt(const GenerateRequest& request) const;

  bool EndsTurn(int32_t id) const;
  // After how many of these tokens the response ends: at an end-of-turn mark or as soon as a stop string is there. More than
  // all: nothing of that.
  size_t EndsAfter(absl::Span<const int32_t> ids, const std::vector<std::string>& stop) const;
  // Fills text (cut before a stop string), parse and poses from the token ids.
  void Finish(const std::vector<std::string>& stop, v1::Response* response) const;
  std::vector<int32_t> Tokenize(absl::string_view response_text) const;
  std::string TokenBytes(int32_t id) const { return EndsTurn(id) ? "" : tokenizer_->Bytes(id); }

  const ModelConfig& config() const { return config_; }
  const Tokenizer& tokenizer() const { return *tokenizer_; }
  const Codec& codec() const { return *codec_; }
  int image_size() const { return ImageSize(config_); }

 private:
  EngineText(ModelConfig config, std::unique_ptr<const Tokenizer> tokenizer, std::shared_ptr<const Codec> codec)
      : config_(std::move(config)), tokenizer_(std::move(tokenizer)), codec_(std::move(codec)) {}
  absl::StatusOr<std::vector<int32_t>> TurnIds(const std::vector<Turn>& turns) const;

  const ModelConfig config_;
  const std::unique_ptr<const Tokenizer> tokenizer_;
  const std::shared_ptr<const Codec> codec_;
};

}  // namespace swerve

#endif  // SWERVE_POLICY_ENGINE_TEXT_H_
