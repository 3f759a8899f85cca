// Error handling vocabulary: absl::Status everywhere, two macros, and conversion to and from gRPC.
// Every function that can fail says in its header which codes it returns. Retryable codes: unavailable,
// deadline_exceeded, resource_exhausted (IsRetryable).
#ifndef SWERVE_BASE_STATUS_H_
#define SWERVE_BASE_STATUS_H_

#include <grpcpp/support/status.h>

#include "absl/strings/string_view.h"
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"

namespace swerve {

// True for infrastructure failures that may pass: try again with backoff inside the deadline.
inline bool IsRetryable(const absl::Status& s) {
  return absl::IsUnavailable(s) || absl::IsDeadlineExceeded(s) || absl::IsResourceExhausted(s);
}

// Same code, message prefixed with `context + ": "`. OK stays OK.
inline absl::Status Annotate(const absl::Status& s, absl::string_view context) {
  return s.ok() ? s : absl::Status(s.code(), absl::StrCat(context, ": ", s.message()));
}

// The code numbers of Abseil and gRPC are the same by design.
inline grpc::Status ToGrpc(const absl::Status& s) {
  return s.ok() ? grpc::Status::OK
                : grpc::Status(static_cast<grpc::StatusCode>(s.raw_code()), std::string(s.message()));
}
inline absl::Status FromGrpc(const grpc::Status& s) {
  return s.ok() ? absl::OkStatus() : absl::Status(static_cast<absl::StatusCode>(s.error_code()), s.error_message());
}

}  // namespace swerve

#define SWERVE_CONCAT_INNER_(a, b) a##b
#define SWERVE_CONCAT_(a, b) SWERVE_CONCAT_INNER_(a, b)

// Returns the status from the enclosing function when it is not OK.
#define SWERVE_RETURN_IF_ERROR(expr)                 \
  do {                                               \
    if (absl::Status swerve_s_ = (expr); !swerve_s_.ok()) return swerve_s_; \
  } while (false)

// SWERVE_ASSIGN_OR_RETURN(auto x, MakeX());
#define SWERVE_ASSIGN_OR_RETURN(lhs, expr) \
  SWERVE_ASSIGN_OR_RETURN_(SWERVE_CONCAT_(swerve_so_, __LINE__), lhs, expr)
#define SWERVE_ASSIGN_OR_RETURN_(tmp, lhs, expr) \
  auto tmp = (expr);                             \
  if (!tmp.ok()) return std::move(tmp).status(); \
  lhs = *std::move(tmp)

#endif  // SWERVE_BASE_STATUS_H_
