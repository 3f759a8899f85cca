#include "reward_service/retry_hint.h"

#include <string>

#include "absl/strings/cord.h"
#include "swerve/v1/status.pb.h"

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

grpc::Status ToGrpcWithHint(const absl::Status& status) {
  const auto payload = status.GetPayload(kRetryInfo);
  if (!payload.has_value()) return ToGrpc(status);
  v1::RpcStatus details;
  details.set_code(status.raw_code());
  details.set_message(std::string(status.message()));
  google::protobuf::Any* any = details.add_details();
  any->set_type_url(kRetryInfo);
  any->set_value(std::string(*payload));
  return grpc::Status(static_cast<grpc::StatusCode>(status.raw_code()), std::string(status.message()),
                      details.SerializeAsString());
}

}  // namespace swerve
