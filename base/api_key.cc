#include "base/api_key.h"

#include <algorithm>
#include <cstdlib>

#include "absl/strings/ascii.h"
#include "absl/strings/str_replace.h"
#include "base/files.h"

namespace swerve {

absl::StatusOr<ApiKey> ApiKey::Make(absl::string_view text) {
  const absl::string_view key = absl::StripAsciiWhitespace(text);
  if (key.empty()) return absl::InvalidArgumentError("the key is empty");
  if (!std::all_of(key.begin(), key.end(), [](char c) { return c > ' ' && c < 127; })) {
    return absl::InvalidArgumentError("the key holds white space or characters that no HTTP header may hold");
  }
  ApiKey result;
  result.key_ = std::string(key);
  return result;
}

absl::StatusOr<ApiKey> ApiKey::Find(const std::string& env, const std::string& file) {
  if (!env.empty()) {
    const char* value = std::getenv(env.c_str());
    if (value == nullptr) {
      return absl::NotFoundError(absl::StrCat("environment variable ", env, " is not set in this process"));
    }
    const auto key = Make(value);
    return key.ok() ? key : absl::StatusOr<ApiKey>(Annotate(key.status(), absl::StrCat("environment variable ", env)));
  }
  if (file.empty()) return ApiKey();
  SWERVE_ASSIGN_OR_RETURN(const std::string text, ReadFile(file));
  const auto key = Make(text);
  return key.ok() ? key : absl::StatusOr<ApiKey>(Annotate(key.status(), file));
}

std::string ApiKey::Redact(absl::string_view text) const {
  return key_.empty() ? std::string(text) : absl::StrReplaceAll(text, {{key_, "***"}});
}

}  // namespace swerve
