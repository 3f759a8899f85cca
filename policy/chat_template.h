// What a model directory's chat template says, as far as prompts need it (policy/prompt_input.h writes them). Templates are
// programs; this reads none of them but knows those of InternVL3 and Qwen2.5 by what they hold, and refuses others.
#ifndef SWERVE_POLICY_CHAT_TEMPLATE_H_
#define SWERVE_POLICY_CHAT_TEMPLATE_H_

#include <string>

#include "absl/status/statusor.h"

namespace swerve {

struct ChatTemplate {
  std::string standing_system;  // text of the system turn of a conversation that brings none; empty: there is no such turn
};

// chat_template.jinja, chat_template.json or the member of tokenizer_config.json, as transformers looks for them; without any,
// what the model's family has. INVALID_ARGUMENT names the file and the family of a template that is not ChatML, or one
// without a place for the pictures of a model that sees.
absl::StatusOr<ChatTemplate> LoadChatTemplate(const std::string& dir, const std::string& model_type);

}  // namespace swerve

#endif  // SWERVE_POLICY_CHAT_TEMPLATE_H_
