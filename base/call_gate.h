// What every call of a port passes before any service sees it: may this role call this (base/permissions.h), has an admin
// call its token, is there room under the rate limit. Thread-safe; never blocks. Refused calls are counted.
#ifndef SWERVE_BASE_CALL_GATE_H_
#define SWERVE_BASE_CALL_GATE_H_

#include <functional>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "base/metrics.h"
#include "base/rate_limit.h"
#include "base/status.h"

namespace swerve {

// What the rate limit says begins with this.
inline constexpr absl::string_view kRateLimitText = "rate limit: ";

class CallGate {
 public:
  struct Options {
    bool roles = false;           // callers have a certificate; without TLS nobody knows who calls
    std::string admin_token;      // empty: none is asked for
    double calls_per_second = 0;  // 0: no limit
    std::string port = "grpc";    // grpc or http; for metrics
    std::string limit_field = "limits.calls_per_second";  // for the error text
    std::function<absl::Time()> clock = absl::Now;
  };
  explicit CallGate(Options options) : options_(std::move(options)), rate_(options_.calls_per_second, options_.clock) {}

  // `path` as in Permission, `role` of the caller's certificate, `authorization` the header of that name ("Bearer …").
  // PERMISSION_DENIED, UNAUTHENTICATED (missing or wrong token) or RESOURCE_EXHAUSTED.
  absl::Status Check(absl::string_view path, absl::string_view role, absl::string_view authorization);

  static prometheus::Counter& Refused(const std::string& port, const std::string& reason) {
    return metrics::Counter("swerve_calls_refused_total",
                            "Calls refused before a service saw them, by port (grpc, http) and reason (role, token, rate)",
                            {{"port", port}, {"reason", reason}});
  }

 private:
  const Options options_;
  RateLimit rate_;
};

}  // namespace swerve

#endif  // SWERVE_BASE_CALL_GATE_H_
