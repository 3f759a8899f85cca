// One request over HTTP, as clients of other people's servers need it. The interface lets tests play the other side; CurlHttp
// is libcurl.
#ifndef SWERVE_BASE_HTTP_CLIENT_H_
#define SWERVE_BASE_HTTP_CLIENT_H_

#include <atomic>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "base/status.h"

namespace swerve {

struct HttpRequest {
  std::string method = "POST";  // GET sends no body
  std::string url;
  std::vector<std::string> headers;  // "Name: value"
  std::string body;
  absl::Duration timeout = absl::Seconds(30);  // from the call to the last byte
  size_t max_reply_bytes = 4 << 20;
  std::string ca_file;  // PEM; empty: the system's authorities
  // Ends the call within about a second once true; null: never.
  std::shared_ptr<const std::atomic<bool>> cancelled;
  std::function<bool()> given_up = nullptr;  // likewise, asked on the calling thread
};

struct HttpReply {
  int status = 0;
  std::string body;
  std::string retry_after;     // header Retry-After as it came, or empty
  std::string retry_after_ms;  // header retry-after-ms
};

class HttpTransport {
 public:
  virtual ~HttpTransport() = default;
  // Any HTTP status is a reply. DEADLINE_EXCEEDED: the timeout; UNAVAILABLE: no connection, or cut; DATA_LOSS: more
  // than max_reply_bytes; CANCELLED: asked for; FAILED_PRECONDITION: TLS does not verify. No message holds a header. Blocks.
  // Thread-safe.
  virtual absl::StatusOr<HttpReply> Send(const HttpRequest& request) = 0;
};

// Keeps connections open for the next call; verifies TLS; follows no redirect, which could carry a key elsewhere; speaks
// http and https alone. A proxy that the environment names is used, but never for this machine itself.
class CurlHttp final : public HttpTransport {
 public:
  CurlHttp();
  ~CurlHttp() override;
  absl::StatusOr<HttpReply> Send(const HttpRequest& request) override ABSL_LOCKS_EXCLUDED(mu_);

 private:
  void* Take() ABSL_LOCKS_EXCLUDED(mu_);
  void Return(void* handle) ABSL_LOCKS_EXCLUDED(mu_);

  absl::Mutex mu_;
  std::vector<void*> idle_ ABSL_GUARDED_BY(mu_);  // CURL*, each with its open connections; last used last
};

// When the server wants the next request (retry-after-ms, else Retry-After in seconds or as a date); nothing when it says
// nothing readable. Never in the past, never more than an hour ahead.
std::optional<absl::Time> RetryTime(const HttpReply& reply, absl::Time now);

// True for http(s)://localhost, 127.x.x.x and [::1].
bool IsLoopbackUrl(const std::string& url);

}  // namespace swerve

#endif  // SWERVE_BASE_HTTP_CLIENT_H_
