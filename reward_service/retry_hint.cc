#include "reward_service/retry_hint.h"

#include <string>

#include "absl/strings/cord.h"

namespace swerve {
namespace {

constexpr char kRetryInfo[] = "type.googleapis.com/google.rpc.RetryInfo";

}  // namespace

absl::Status WithRetryAfter(absl::Status status, absl::Duration delay) {
  v1::RetryInfo info;
  const int64_t nanoseconds = absl::ToInt64Nanoseconds(delay);
  info.mutable_retry_delay()->set_seconds(nanoseconds / 1000000000);
  info.mutable_retry_delay()->set_nanos(static_cast<int32_t>(nanoseconds % 1000000000));
  status.SetPayload(kRetryInfo, absl::Cord(info.SerializeAsString()));
  return status;
}

std::optional<absl::Duration> RetryAfter(const absl::Status& status) {
  const auto payload = status.GetPayload(kRetryInfo);
  v1::RetryInfo info;
  if (!payload.has_value() || !info.ParseFromString(std::string(*payload))) return std::nullopt;
  return absl::Seconds(info.retry_delay().seconds()) + absl::Nanoseconds(info.retry_delay().nanos());
}

v1::RpcStatus ToRpcStatus(const absl::Status& status) {
  v1::RpcStatus out;
  out.set_code(status.raw_code());
  out.set_message(std::string(status.message()));
  if (const auto payload = status.GetPayload(kRetryInfo)) {
    google::protobuf::Any* any = out.add_details();
    any->set_type_url(kRetryInfo);
    any->set_value(std::string(*payload));
  }
  return out;
}

grpc::Status ToGrpcWithHint(const absl::Status& status) {
  if (!status.GetPayload(kRetryInfo).has_value()) return ToGrpc(status);
  return grpc::Status(static_cast<grpc::StatusCode>(status.raw_code()), std::string(status.message()),
                      ToRpcStatus(status).SerializeAsString());
}

}  // namespace swerve
