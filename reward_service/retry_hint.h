// When to come back: the delay that goes with a refusal for lack of room. It travels as a payload of absl::Status, in
// gRPC as RetryInfo in the status details and as grpc-retry-pushback-ms, in HTTP as Retry-After. Stateless.
#ifndef SWERVE_REWARD_SERVICE_RETRY_HINT_H_
#define SWERVE_REWARD_SERVICE_RETRY_HINT_H_

#include <grpcpp/support/status.h>

#include <optional>

#include "absl/time/time.h"
#include "base/status.h"
#include "swerve/v1/status.pb.h"

namespace swerve {

absl::Status WithRetryAfter(absl::Status status, absl::Duration delay);

// Empty when the status has no hint.
std::optional<absl::Duration> RetryAfter(const absl::Status& status);

// As ToGrpc, with the hint among the status details.
grpc::Status ToGrpcWithHint(const absl::Status& status);

// Code, message and, where there is one, the hint as the only detail.
v1::RpcStatus ToRpcStatus(const absl::Status& status);

}  // namespace swerve

#endif  // SWERVE_REWARD_SERVICE_RETRY_HINT_H_
