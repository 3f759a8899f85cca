#include "base/http_client.h"

#include <curl/curl.h>

#include <algorithm>
#include <cmath>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/strip.h"

namespace swerve {
namespace {

constexpr size_t kIdleHandles = 64;

struct Sink {
  HttpReply reply;
  size_t max_bytes = 0;
  bool too_large = false;
};

size_t OnBody(char* data, size_t size, size_t count, void* user) {
  Sink* sink = static_cast<Sink*>(user);
  const size_t bytes = size * count;
  if (sink->reply.body.size() + bytes > sink->max_bytes) {
    sink->too_large = true;
    return 0;  // libcurl ends the transfer
  }
  sink->reply.body.append(data, bytes);
  return bytes;
}

size_t OnHeader(char* data, size_t size, size_t count, void* user) {
  Sink* sink = static_cast<Sink*>(user);
  const absl::string_view line(data, size * count);
  const size_t colon = line.find(':');
  if (colon != absl::string_view::npos) {
    const absl::string_view name = line.substr(0, colon);
    const std::string value(absl::StripAsciiWhitespace(line.substr(colon + 1)));
    if (absl::EqualsIgnoreCase(name, "retry-after")) sink->reply.retry_after = value;
    if (absl::EqualsIgnoreCase(name, "retry-after-ms")) sink->reply.retry_after_ms = value;
  }
  return size * count;
}

// libcurl asks about once a second, and whenever something moves.
int OnProgress(void* user, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  const HttpRequest& request = *static_cast<const HttpRequest*>(user);
  return (request.cancelled != nullptr && request.cancelled->load()) || (request.given_up && request.given_up()) ? 1 : 0;
}

absl::Status StatusOf(CURLcode code, const Sink& sink, const HttpRequest& request) {
  if (sink.too_large) {
    return absl::DataLossError(absl::StrCat("the answer is larger than ", request.max_reply_bytes, " bytes"));
  }
  const std::string what = curl_easy_strerror(code);
  switch (code) {
    case CURLE_ABORTED_BY_CALLBACK: return absl::CancelledError("called off");
    case CURLE_OPERATION_TIMEDOUT:
      return absl::DeadlineExceededError(absl::StrCat("no whole answer within ", absl::FormatDuration(request.timeout)));
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_ISSUER_ERROR:
      return absl::FailedPreconditionError(absl::StrCat("TLS: ", what, "; set ca_file if the authority is your own"));
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL: return absl::InvalidArgumentError(absl::StrCat("url: ", what));
    default: return absl::UnavailableError(what);
  }
}

}  // namespace

std::optional<absl::Time> RetryTime(const HttpReply& reply, absl::Time now) {
  double number = 0;
  absl::Duration pause;
  if (absl::SimpleAtod(reply.retry_after_ms, &number) && std::isfinite(number)) {
    pause = absl::Milliseconds(number);
  } else if (absl::SimpleAtod(reply.retry_after, &number) && std::isfinite(number)) {
    pause = absl::Seconds(number);
  } else if (const time_t date = curl_getdate(reply.retry_after.c_str(), nullptr); date > 0) {
    pause = absl::FromTimeT(date) - now;
  } else {
    return std::nullopt;
  }
  return now + std::clamp(pause, absl::ZeroDuration(), absl::Hours(1));
}

bool IsLoopbackUrl(const std::string& url) {
  absl::string_view rest = url;
  if (!absl::ConsumePrefix(&rest, "http://") && !absl::ConsumePrefix(&rest, "https://")) return false;
  rest = rest.substr(0, rest.find_first_of("/?#"));
  if (absl::StartsWith(rest, "[::1]")) return true;
  const absl::string_view host = rest.substr(0, rest.find(':'));
  if (host == "localhost") return true;
  // Digits and dots alone: "127.evil.example" is not this machine.
  return absl::StartsWith(host, "127.") &&
         std::all_of(host.begin(), host.end(), [](char c) { return absl::ascii_isdigit(c) || c == '.'; });
}

CurlHttp::CurlHttp() {
  static const CURLcode once = curl_global_init(CURL_GLOBAL_DEFAULT);
  static_cast<void>(once);
}

CurlHttp::~CurlHttp() {
  absl::MutexLock lock(&mu_);
  for (void* handle : idle_) curl_easy_cleanup(handle);
}

void* CurlHttp::Take() {
  {
    absl::MutexLock lock(&mu_);
    if (!idle_.empty()) {
      void* handle = idle_.back();
      idle_.pop_back();
      return handle;
    }
  }
  return curl_easy_init();
}

void CurlHttp::Return(void* handle) {
  curl_easy_reset(handle);  // options go, connections stay
  {
    absl::MutexLock lock(&mu_);
    if (idle_.size() < kIdleHandles) {
      idle_.push_back(handle);
      return;
    }
  }
  curl_easy_cleanup(handle);
}

absl::StatusOr<HttpReply> CurlHttp::Send(const HttpRequest& request) {
  if (request.timeout < absl::Milliseconds(1)) return absl::DeadlineExceededError("no time is left for a request");
  CURL* const curl = static_cast<CURL*>(Take());
  if (curl == nullptr) return absl::ResourceExhaustedError("libcurl gives no handle; is memory short?");
  Sink sink;
  sink.max_bytes = request.max_reply_bytes;
  curl_slist* headers = nullptr;
  for (const std::string& header : request.headers) headers = curl_slist_append(headers, header.c_str());
  headers = curl_slist_append(headers, "Expect:");  // no round trip before the body
  curl_easy_setopt(curl, CURLOPT_URL, request.url.c_str());
  curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
  if (request.method == "GET") {
    curl_easy_setopt(curl, CURLOPT_HTTPGET, 1L);
  } else {
    curl_easy_setopt(curl, CURLOPT_POST, 1L);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request.body.size()));
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, request.body.data());
  }
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, OnBody);
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, &sink);
  curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, OnHeader);
  curl_easy_setopt(curl, CURLOPT_HEADERDATA, &sink);
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, static_cast<long>(absl::ToInt64Milliseconds(request.timeout)));
  curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
  curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 1L);
  curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 2L);
  curl_easy_setopt(curl, CURLOPT_ACCEPT_ENCODING, "");
  if (!request.ca_file.empty()) curl_easy_setopt(curl, CURLOPT_CAINFO, request.ca_file.c_str());
  if (IsLoopbackUrl(request.url)) curl_easy_setopt(curl, CURLOPT_PROXY, "");
  if (request.cancelled != nullptr || request.given_up) {
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, OnProgress);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, const_cast<HttpRequest*>(&request));
  }
  const CURLcode code = curl_easy_perform(curl);
  long status = 0;
  curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
  curl_slist_free_all(headers);
  Return(curl);
  if (code != CURLE_OK) return StatusOf(code, sink, request);
  sink.reply.status = static_cast<int>(status);
  return std::move(sink.reply);
}

}  // namespace swerve
