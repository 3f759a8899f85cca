// The body of POST /v1/chat/completions to what the engine takes. Pure function, thread-safe.
#ifndef SWERVE_POLICY_OPENAI_REQUEST_H_
#define SWERVE_POLICY_OPENAI_REQUEST_H_

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "policy/engine.h"

namespace swerve {

// Of a picture: a 4K frame fits. Every request under way may hold one.
inline constexpr int64_t kMaxChatPixels = 9 << 20;

struct ChatRequest {
  GenerateRequest generate;  // seeds: one per choice
  std::string model;
  bool logprobs = false, stream = false, include_usage = false;
};

// Which field a request is refused for; empty: none in particular.
struct ChatProblem {
  absl::Status status;
  std::string param;
};

// INVALID_ARGUMENT: not JSON, a field that is malformed, out of range or not supported, an image that cannot be read.
// Pictures are data: URLs; one a request, before the text of the last user message, where the models' templates put it.
// `fresh_seed` is used when the request names none.
std::optional<ChatProblem> ParseChatRequest(const std::string& body, int default_max_tokens, uint64_t fresh_seed, ChatRequest* out);

}  // namespace swerve

#endif  // SWERVE_POLICY_OPENAI_REQUEST_H_
