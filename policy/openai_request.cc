#include "policy/openai_request.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/random.h"
#include "policy/image_file.h"

namespace swerve {
namespace {

using Json = nlohmann::json;

// Thrown and caught in this file alone.
struct Bad {
  std::string param, what;
};

[[noreturn]] void Fail(absl::string_view param, absl::string_view what) { throw Bad{std::string(param), std::string(what)}; }

const Json* Get(const Json& json, const char* key) {
  auto it = json.find(key);
  return it == json.end() || it->is_null() ? nullptr : &*it;
}

double Number(const Json& json, const char* key, double lo, double hi, double fallback) {
  const Json* v = Get(json, key);
  if (v == nullptr) return fallback;
  if (!v->is_number() || !(v->get<double>() >= lo && v->get<double>() <= hi)) Fail(key, absl::StrCat("must be a number between ", lo, " and ", hi));
  return v->get<double>();
}

int64_t Int(const Json& json, const char* key, int64_t lo, int64_t hi, int64_t fallback) {
  const Json* v = Get(json, key);
  if (v == nullptr) return fallback;
  if (!v->is_number_integer() || v->get<int64_t>() < lo || v->get<int64_t>() > hi) Fail(key, absl::StrCat("must be a whole number between ", lo, " and ", hi));
  return v->get<int64_t>();
}

bool Bool(const Json& json, const char* key) {
  const Json* v = Get(json, key);
  if (v == nullptr) return false;
  if (!v->is_boolean()) Fail(key, "must be true or false");
  return v->get<bool>();
}

std::shared_ptr<const Image> ReadDataUrl(const std::string& url, const std::string& param) {
  if (!absl::StartsWith(url, "data:")) Fail(param, "only data: URLs are read; send the picture itself as data:image/jpeg;base64,… or data:image/png;base64,…");
  const size_t comma = url.find(',');
  std::string bytes;
  if (comma == std::string::npos || !absl::EndsWith(url.substr(0, comma), ";base64") || !absl::Base64Unescape(url.substr(comma + 1), &bytes)) {
    Fail(param, "the data: URL is not base64");
  }
  auto image = DecodeImage(bytes, kMaxChatPixels);
  if (!image.ok()) Fail(param, absl::StrCat("the picture cannot be read: ", image.status().message()));
  return std::make_shared<const Image>(*std::move(image));
}

// Text of a message; its picture, if any, to *image.
std::string ReadContent(const Json& message, const std::string& where, std::shared_ptr<const Image>* image) {
  const Json* content = Get(message, "content");
  if (content != nullptr && content->is_string()) return content->get<std::string>();
  if (content == nullptr || !content->is_array()) Fail(where + ".content", "must be a string or a list of parts");
  std::string text;
  bool any = false;
  for (size_t i = 0; i < content->size(); ++i) {
    const Json& part = (*content)[i];
    const std::string at = absl::StrCat(where, ".content[", i, "]");
    const std::string type = part.is_object() && part.contains("type") && part["type"].is_string() ? part["type"].get<std::string>() : "";
    if (type == "text" && part.contains("text") && part["text"].is_string()) {
      text += part["text"].get<std::string>();
      any = true;
    } else if (type == "image_url" && part.contains("image_url") && part["image_url"].is_object() && part["image_url"].contains("url") && part["image_url"]["url"].is_string()) {
      if (image == nullptr) Fail(at, "pictures belong into the last user message");
      if (*image != nullptr) Fail(at, "one picture a request is supported");
      if (any) Fail(at, "the picture must come before the text, where the model's template has it");
      *image = ReadDataUrl(part["image_url"]["url"].get<std::string>(), at + ".image_url.url");
    } else {
      Fail(at, "must be {\"type\": \"text\", \"text\": …} or {\"type\": \"image_url\", \"image_url\": {\"url\": …}}");
    }
  }
  return text;
}

void ReadMessages(const Json& json, Prompt* prompt) {
  const Json* messages = Get(json, "messages");
  if (messages == nullptr || !messages->is_array() || messages->empty()) Fail("messages", "must be a list that is not empty");
  for (size_t i = 0; i < messages->size(); ++i) {
    const Json& message = (*messages)[i];
    const std::string where = absl::StrCat("messages[", i, "]");
    if (!message.is_object() || !message.contains("role") || !message["role"].is_string()) Fail(where, "must be an object with a role");
    std::string role = message["role"];
    if (role == "developer") role = "system";
    if (role != "system" && role != "user" && role != "assistant") Fail(where + ".role", absl::StrCat("'", role, "' is not supported (system, user, assistant)"));
    const bool last = i + 1 == messages->size();
    if (last && role != "user") Fail(where + ".role", "the last message must be the user's");
    std::string text = ReadContent(message, where, last ? &prompt->image : nullptr);
    if (last) {
      prompt->text = std::move(text);
    } else {
      prompt->before.push_back({role, std::move(text)});
    }
  }
}

void Refuse(const Json& json) {
  for (const char* key : {"tools", "functions", "logit_bias", "audio", "prediction", "prompt_logprobs"}) {
    if (const Json* v = Get(json, key); v != nullptr && !v->empty() && *v != false) Fail(key, "is not supported");
  }
  for (const char* key : {"frequency_penalty", "presence_penalty"}) {
    if (Number(json, key, -2, 2, 0) != 0) Fail(key, "is supported as 0 alone");
  }
  const Json* format = Get(json, "response_format");
  if (format != nullptr && *format != Json{{"type", "text"}}) Fail("response_format", "is supported as {\"type\": \"text\"} alone");
}

void ReadStop(const Json& json, std::vector<std::string>* stop) {
  const Json* v = Get(json, "stop");
  if (v == nullptr) return;
  const Json list = v->is_string() ? Json::array({*v}) : *v;
  if (!list.is_array() || list.size() > 4) Fail("stop", "must be a string or a list of at most 4");
  for (const Json& s : list) {
    if (!s.is_string() || s.get<std::string>().empty() || s.get<std::string>().size() > 256) Fail("stop", "must hold strings of 1 to 256 bytes");
    stop->push_back(s);
  }
}

void Read(const std::string& body, int default_max_tokens, uint64_t fresh_seed, ChatRequest* out) {
  const Json json = Json::parse(body, nullptr, false);
  if (!json.is_object()) Fail("", "the body is not a JSON object");
  Refuse(json);
  const Json* model = Get(json, "model");
  if (model == nullptr || !model->is_string()) Fail("model", "must be a string");
  out->model = *model;
  GenerateRequest& g = out->generate;
  ReadMessages(json, &g.prompt);
  ReadStop(json, &g.stop);
  g.temperature = Number(json, "temperature", 0, 2, 1);
  g.top_p = Number(json, "top_p", 0, 1, 1);
  if (!(g.top_p > 0)) Fail("top_p", "must be above 0");
  g.max_new_tokens = static_cast<int>(Int(json, "max_completion_tokens", 1, 1 << 20, Int(json, "max_tokens", 1, 1 << 20, default_max_tokens)));
  out->logprobs = Bool(json, "logprobs");
  g.top_logprobs = static_cast<int>(Int(json, "top_logprobs", 0, 20, 0));
  if (g.top_logprobs > 0 && !out->logprobs) Fail("top_logprobs", "needs logprobs to be true");
  out->stream = Bool(json, "stream");
  if (const Json* o = Get(json, "stream_options"); o != nullptr) {
    if (!o->is_object()) Fail("stream_options", "must be an object");
    out->include_usage = Bool(*o, "include_usage");
  }
  const int64_t n = Int(json, "n", 1, 128, 1);
  const uint64_t seed = Get(json, "seed") == nullptr ? fresh_seed : static_cast<uint64_t>(Int(json, "seed", INT64_MIN, INT64_MAX, 0));
  for (int64_t i = 0; i < n; ++i) g.seeds.push_back(StreamSeed(seed, HashName("openai"), i));
}

}  // namespace

std::optional<ChatProblem> ParseChatRequest(const std::string& body, int default_max_tokens, uint64_t fresh_seed, ChatRequest* out) {
  try {
    Read(body, default_max_tokens, fresh_seed, out);
    return std::nullopt;
  } catch (const Bad& bad) {
    return ChatProblem{absl::InvalidArgumentError(bad.param.empty() ? bad.what : absl::StrCat(bad.param, ": ", bad.what)), bad.param};
  } catch (const Json::exception& e) {
    return ChatProblem{absl::InvalidArgumentError(e.what()), ""};
  }
}

}  // namespace swerve
