#include "policy/engine_text.h"

#include <algorithm>
#include <cmath>

#include "base/status.h"
#include "policy/prompt_input.h"

namespace swerve {

absl::StatusOr<std::unique_ptr<const EngineText>> EngineText::Load(const std::string& model_dir, const std::string& codec,
                                                                   const std::string& codebook,
                                                                   int max_positions) {
  SWERVE_ASSIGN_OR_RETURN(std::shared_ptr<const Codec> made, CreateCodec(codec, codebook));
  SWERVE_ASSIGN_OR_RETURN(ModelConfig config, LoadModelConfig(model_dir));
  config.text.max_positions = std::min(config.text.max_positions, max_positions);
  SWERVE_ASSIGN_OR_RETURN(std::unique_ptr<const Tokenizer> tokenizer, Tokenizer::Load(model_dir));
  if (config.eos.empty()) {
    if (int32_t id = tokenizer->Id("<|im_end|>"); id >= 0) config.eos.push_back(id);
  }
  if (config.eos.empty()) return absl::InvalidArgumentError(model_dir + ": no eos_token_id in generation_config.json or config.json");
  return std::unique_ptr<const EngineText>(new EngineText(std::move(config), std::move(tokenizer), std::move(made)));
}

absl::StatusOr<std::vector<int32_t>> EngineText::TurnIds(const std::vector<Turn>& turns) const {
  std::vector<int32_t> ids;
  if (const std::string& standing = config_.chat.standing_system; !standing.empty() && turns[0].role != "system") {
    ids = tokenizer_->Encode(absl::StrCat("<|im_start|>system\n", standing, "<|im_end|>\n"));
  }
  for (const Turn& turn : turns) {
    for (int32_t id : tokenizer_->Encode(absl::StrCat("<|im_start|>", turn.role, "\n", turn.text, "<|im_end|>\n"))) {
      if (config_.has_vision && id == config_.image_token_id) return absl::InvalidArgumentError("an earlier turn's text holds an image placeholder token");
      ids.push_back(id);
    }
  }
  return ids;
}

absl::StatusOr<std::vector<int32_t>> EngineText::Prompt(const GenerateRequest& request) const {
  if (request.seeds.empty()) return absl::InvalidArgumentError("no seeds");
  if (request.max_new_tokens < 1) return absl::InvalidArgumentError("max_new_tokens is below 1");
  if (!(request.temperature >= 0) || !std::isfinite(request.temperature)) return absl::InvalidArgumentError("temperature is negative or not finite");
  if (!(request.top_p > 0) || request.top_p > 1) return absl::InvalidArgumentError("top_p is not in (0, 1]");
  SWERVE_ASSIGN_OR_RETURN(std::vector<int32_t> ids, PromptIds(*tokenizer_, config_, request.prompt.text, request.prompt.image.get(), request.prompt.before.empty()));
  if (!request.prompt.before.empty()) {
    SWERVE_ASSIGN_OR_RETURN(std::vector<int32_t> before, TurnIds(request.prompt.before));
    ids.insert(ids.begin(), before.begin(), before.end());
  }
  if (static_cast<int64_t>(ids.size()) + request.max_new_tokens > config_.text.max_positions) {
    return absl::InvalidArgumentError(absl::StrCat(ids.size(), " prompt tokens and max_new_tokens ", request.max_new_tokens, " exceed the model's ", config_.text.max_positions, " positions"));
  }
  for (int32_t id : ids) {
    if (id >= config_.text.vocab) return absl::InvalidArgumentError(absl::StrCat("token id ", id, " is outside the model's vocabulary"));
  }
  return ids;
}

bool EngineText::EndsTurn(int32_t id) const { return std::find(config_.eos.begin(), config_.eos.end(), id) != config_.eos.end(); }

size_t EngineText::EndsAfter(absl::Span<const int32_t> ids, const std::vector<std::string>& stop) const {
  std::string text;
  for (size_t i = 0; i < ids.size(); ++i) {
    if (EndsTurn(ids[i])) return i + 1;
    if (stop.empty()) continue;
    const std::string bytes = tokenizer_->Bytes(ids[i]);
    text += bytes;
    for (const std::string& s : stop) {
      if (text.find(s, text.size() - std::min(text.size(), bytes.size() + s.size())) != std::string::npos) return i + 1;
    }
  }
  return ids.size() + 1;
}

void EngineText::Finish(const std::vector<std::string>& stop, v1::Response* response) const {
  std::vector<int32_t> ids(response->token_ids().begin(), response->token_ids().end());
  if (!ids.empty() && EndsTurn(ids.back())) ids.pop_back();
  std::string text = tokenizer_->Decode(ids);
  size_t cut = text.size();
  for (const std::string& s : stop) cut = std::min(cut, text.find(s));
  response->set_text(text.substr(0, cut));
  Decode(*codec_, response);
}

std::vector<int32_t> EngineText::Tokenize(absl::string_view response_text) const { return ResponseIds(*tokenizer_, config_, response_text); }

}  // namespace swerve
