#include "teacher_gateway/chat.h"

#include <nlohmann/json.hpp>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "teacher_gateway/report.h"

namespace swerve {
namespace {

using nlohmann::json;

constexpr size_t kErrorText = 200;

json Content(const ChatMessage& message) {
  if (message.image_url.empty()) return message.text;
  return json::array({{{"type", "text"}, {"text", message.text}},
                      {{"type", "image_url"}, {"image_url", {{"url", message.image_url}}}}});
}

std::string TextAt(const json& object, const char* name) {
  if (!object.is_object()) return "";
  const auto at = object.find(name);
  return at != object.end() && at->is_string() ? at->get<std::string>() : "";
}

int64_t TokensAt(const json& usage, const char* name) {
  if (!usage.is_object()) return -1;
  const auto at = usage.find(name);
  if (at == usage.end() || !at->is_number_integer()) return -1;
  const int64_t tokens = at->get<int64_t>();
  return tokens >= 0 && tokens < (1 << 30) ? tokens : -1;  // what no answer can have is not believed
}

// Some servers answer in parts, as messages are sent.
std::string JoinedContent(const json& content) {
  if (content.is_string()) return content.get<std::string>();
  std::string text;
  if (content.is_array()) {
    for (const json& part : content) text += TextAt(part, "text");
  }
  return text;
}

json ErrorOf(const std::string& body) {
  const json parsed = json::parse(body, nullptr, /*allow_exceptions=*/false);
  if (!parsed.is_object()) return json();
  const auto error = parsed.find("error");
  return error != parsed.end() && error->is_object() ? *error : parsed;  // vLLM's older shape has no "error"
}

}  // namespace

std::string PngDataUrl(const std::string& png) { return absl::StrCat("data:image/png;base64,", absl::Base64Escape(png)); }

std::string ChatBody(const v1::TeacherSpec& spec, const std::vector<ChatMessage>& messages) {
  json body = {{"model", spec.model()},
               {"temperature", spec.temperature()},
               {"max_tokens", spec.max_tokens()},
               {"messages", json::array()}};
  for (const ChatMessage& message : messages) {
    body["messages"].push_back({{"role", message.role}, {"content", Content(message)}});
  }
  if (spec.structured_output() == "json_schema") {
    body["response_format"] = {
        {"type", "json_schema"},
        {"json_schema", {{"name", "driving_feedback"}, {"strict", true}, {"schema", json::parse(ReportSchema())}}}};
  } else if (spec.structured_output() == "json_object") {
    body["response_format"] = {{"type", "json_object"}};
  }
  return body.dump(-1, ' ', false, json::error_handler_t::replace);
}

absl::StatusOr<ChatAnswer> ParseChatReply(const std::string& body) {
  const json parsed = json::parse(body, nullptr, /*allow_exceptions=*/false);
  if (parsed.is_discarded()) return absl::InvalidArgumentError("the reply is not JSON");
  if (!parsed.is_object() || !parsed.contains("choices") || !parsed["choices"].is_array() || parsed["choices"].empty()) {
    return absl::InvalidArgumentError("the reply has no choices");
  }
  const json& choice = parsed["choices"][0];
  if (!choice.is_object() || !choice.contains("message") || !choice["message"].is_object()) {
    return absl::InvalidArgumentError("the reply's choice has no message");
  }
  const json& message = choice["message"];
  ChatAnswer answer;
  if (message.contains("content")) answer.content = JoinedContent(message["content"]);
  answer.refusal = TextAt(message, "refusal");
  answer.finish_reason = TextAt(choice, "finish_reason");
  if (const auto usage = parsed.find("usage"); usage != parsed.end()) {
    answer.prompt_tokens = TokensAt(*usage, "prompt_tokens");
    answer.completion_tokens = TokensAt(*usage, "completion_tokens");
  }
  return answer;
}

std::string ErrorCode(const std::string& body) {
  const json error = ErrorOf(body);
  const std::string code = TextAt(error, "code");
  return code.empty() ? TextAt(error, "type") : code;
}

std::string ErrorText(const std::string& body) {
  std::string text = TextAt(ErrorOf(body), "message");
  if (text.empty()) text = body.substr(0, kErrorText);
  if (const std::string code = ErrorCode(body); !code.empty()) text = absl::StrCat(code, ": ", text);
  for (char& c : text) {
    if (c < ' ' || c > '~') c = ' ';
  }
  text.resize(std::min(text.size(), kErrorText));
  return std::string(absl::StripAsciiWhitespace(text));
}

}  // namespace swerve
