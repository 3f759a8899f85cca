#include "policy/chat_template.h"

#include <nlohmann/json.hpp>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "base/files.h"

namespace swerve {
namespace {

using Json = nlohmann::json;

// The template in a JSON file: a string, or a list of named ones of which "default" counts.
std::string InJson(const std::string& path) {
  const auto text = ReadFile(path);
  const Json json = text.ok() ? Json::parse(*text, nullptr, false) : Json();
  if (!json.is_object() || !json.contains("chat_template")) return "";
  const Json& found = json["chat_template"];
  if (found.is_string()) return found;
  if (!found.is_array()) return "";
  for (const Json& one : found) {
    if (one.is_object() && one.contains("name") && one["name"] == "default" && one.contains("template") && one["template"].is_string()) return one["template"];
  }
  return "";
}

// Whose template it is, by a mark that no other has.
absl::string_view Family(absl::string_view text) {
  for (const auto& [mark, family] : {std::pair{"<|start_header_id|>", "Llama 3's"}, {"[INST]", "Llama 2's or Mistral's"}, {"<start_of_turn>", "Gemma's"},
                                     {"<|START_OF_TURN_TOKEN|>", "Command R's"}, {"<|assistant|>", "Phi's or Zephyr's"}, {"<|Assistant|>", "DeepSeek's"},
                                     {"<｜Assistant｜>", "DeepSeek's"}, {"ASSISTANT:", "Vicuna's"}, {"[gMASK]", "GLM's"}}) {
    if (absl::StrContains(text, mark)) return family;
  }
  return "an unknown one";
}

// The system turn that the template writes by itself: the only one whose text is literal.
std::string StandingSystem(absl::string_view text) {
  constexpr absl::string_view kOpen = "<|im_start|>system", kClose = "<|im_end|>";
  for (size_t at = text.find(kOpen); at != absl::string_view::npos; at = text.find(kOpen, at + 1)) {
    absl::string_view turn = text.substr(at + kOpen.size());
    if (!absl::ConsumePrefix(&turn, "\\n") && !absl::ConsumePrefix(&turn, "\n")) continue;
    turn = turn.substr(0, turn.find(kClose));
    if (!turn.empty() && turn.find_first_of("'\"{}\n") == absl::string_view::npos) return std::string(turn);
  }
  return "";
}

}  // namespace

absl::StatusOr<ChatTemplate> LoadChatTemplate(const std::string& dir, const std::string& model_type) {
  std::string path = dir + "/chat_template.jinja", text = ReadFile(path).value_or("");
  for (const char* name : {"chat_template.json", "tokenizer_config.json"}) {
    if (!text.empty()) break;
    text = InJson(path = absl::StrCat(dir, "/", name));
  }
  if (text.empty()) return ChatTemplate{model_type == "qwen2_5_vl" ? "You are a helpful assistant." : ""};
  if (!absl::StrContains(text, "<|im_start|>") || !absl::StrContains(text, "<|im_end|>")) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": the chat template is ", Family(text), "; supported are InternVL's and Qwen2.5's (<|im_start|>role … <|im_end|>)"));
  }
  // The original InternVL repository places pictures in code.
  const char* picture = model_type == "qwen2_5_vl" ? "<|vision_start|>" : model_type == "internvl" ? "<IMG_CONTEXT>" : "";
  if (!absl::StrContains(text, picture)) return absl::InvalidArgumentError(absl::StrCat(path, ": the chat template of this ", model_type, " has no ", picture, ": it has no place for pictures"));
  return ChatTemplate{StandingSystem(text)};
}

}  // namespace swerve
