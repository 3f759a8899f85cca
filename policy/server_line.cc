#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/time/clock.h"
#include "policy/server_dialect.h"
#include "policy/server_json.h"

namespace swerve {
namespace {

constexpr size_t kErrorText = 300;

// What an error body says: {"error": {"message"}}, {"error": text}, {"message"}, {"detail"}, or its beginning.
std::string ErrorText(const std::string& body) {
  const ServerJson json = ServerJson::parse(body, nullptr, false);
  std::string text;
  const ServerJson& error = MemberOf(json, "error");
  for (const ServerJson* each : {&MemberOf(error, "message"), &error, &MemberOf(json, "message"), &MemberOf(json, "detail")}) {
    if (text.empty()) text = TextOf(*each);
  }
  if (text.empty()) text = body.substr(0, kErrorText);
  text.resize(std::min(text.size(), kErrorText));
  for (char& c : text) {
    if (c < ' ' || c > '~') c = ' ';
  }
  return std::string(absl::StripAsciiWhitespace(text));
}

absl::StatusCode CodeOf(int http) {
  switch (http) {
    case 401:
    case 403: return absl::StatusCode::kPermissionDenied;
    case 404:
    case 405: return absl::StatusCode::kUnimplemented;
    case 408:
    case 425: return absl::StatusCode::kUnavailable;
    case 429: return absl::StatusCode::kResourceExhausted;
    default: break;
  }
  if (http >= 400 && http < 500) return absl::StatusCode::kInvalidArgument;
  // A redirect is not followed: it could carry the key elsewhere.
  return http >= 300 && http < 400 ? absl::StatusCode::kFailedPrecondition : absl::StatusCode::kUnavailable;
}

}  // namespace

absl::StatusOr<std::string> ServerLine::Send(const Call& call) const {
  HttpRequest request;
  request.method = call.method;
  request.url = absl::StrCat(options_.url, call.path);
  request.headers = {"Content-Type: application/json", "Accept: application/json"};
  if (!options_.key.empty()) request.headers.push_back(absl::StrCat("Authorization: Bearer ", options_.key.Reveal()));
  request.body = call.body;
  request.timeout = call.timeout;
  request.max_reply_bytes = options_.max_reply_bytes;
  request.ca_file = options_.ca_file;
  request.given_up = [&] { return (options_.closing && options_.closing()) || (call.given_up && call.given_up()); };
  absl::StatusOr<HttpReply> reply = http_->Send(request);
  const std::string where = absl::StrCat(options_.url, call.path.substr(0, call.path.find('?')));
  if (!reply.ok()) return Annotate(reply.status(), where);
  const absl::Time now = absl::Now();
  if (const auto at = RetryTime(*reply, now); at && call.retry_after != nullptr) *call.retry_after = *at - now;
  if (reply->status >= 200 && reply->status < 300) return std::move(reply->body);
  return absl::Status(CodeOf(reply->status), options_.key.Redact(absl::StrCat(where, ": HTTP ", reply->status, ": ", ErrorText(reply->body))));
}

}  // namespace swerve
