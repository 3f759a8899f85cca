// OpenAI's chat completions as JSON (conventions §4.1): what is sent, and what comes back. Pure functions.
#ifndef SWERVE_TEACHER_GATEWAY_CHAT_H_
#define SWERVE_TEACHER_GATEWAY_CHAT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "swerve/v1/teachers.pb.h"

namespace swerve {

struct ChatMessage {
  std::string role;  // system, user, assistant
  std::string text;
  std::string image_url;  // data URL; empty: text alone
};

// The body of POST <url>/chat/completions: model, messages, temperature, max_tokens and, by spec.structured_output, the
// five sections' schema. Bytes that are no UTF-8 are replaced.
std::string ChatBody(const v1::TeacherSpec& spec, const std::vector<ChatMessage>& messages);

// "data:image/png;base64,…".
std::string PngDataUrl(const std::string& png);

struct ChatAnswer {
  std::string content;
  std::string refusal;        // the model's own words; empty: it did not refuse
  std::string finish_reason;  // stop, length, content_filter, …
  int64_t prompt_tokens = -1;  // -1: not told
  int64_t completion_tokens = -1;
};

// INVALID_ARGUMENT, naming what is missing, for a body that is not such a reply.
absl::StatusOr<ChatAnswer> ParseChatReply(const std::string& body);

// error.message of an error's body (OpenAI's and vLLM's shapes), error.code before it; else the body's beginning. One
// line of printable ASCII, at most 200 characters.
std::string ErrorText(const std::string& body);
// error.code or error.type; empty when there is none.
std::string ErrorCode(const std::string& body);

}  // namespace swerve

#endif  // SWERVE_TEACHER_GATEWAY_CHAT_H_
