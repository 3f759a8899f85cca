#include "base/role_channel.h"

#include <algorithm>

#include "absl/time/clock.h"
#include "base/grpc_credentials.h"
#include "base/random.h"
#include "base/stop.h"

namespace swerve {

RoleChannel::RoleChannel(RunDir run, std::string role, Options options)
    : run_(std::move(run)), role_(std::move(role)), options_(std::move(options)) {}

absl::StatusOr<std::shared_ptr<grpc::Channel>> RoleChannel::Get() {
  const absl::StatusOr<RoleAddress> address = ReadRole(run_, role_);
  if (!address.ok()) {
    return absl::UnavailableError(absl::StrCat("role ", role_, " is not there: ", address.status().message()));
  }
  absl::MutexLock lock(&mu_);
  if (channel_ == nullptr || address_ != address->grpc_address()) {
    address_ = address->grpc_address();
    grpc::ChannelArguments arguments;
    arguments.SetMaxReceiveMessageSize(options_.max_message_bytes);
    arguments.SetMaxSendMessageSize(options_.max_message_bytes);
    arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
    arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 100);
    arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1000);
    // Loopback must not go through a proxy that the environment names.
    arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
    const auto credentials = RoleChannelCredentials(options_.tls.get(), role_, &arguments);
    channel_ = grpc::CreateCustomChannel(address_, credentials, arguments);
  }
  return channel_;
}

absl::Status RoleChannel::Call(const Rpc& rpc, absl::Duration timeout, bool stoppable) {
  const absl::Time until = absl::Now() + timeout;
  Random jitter(StreamSeed(static_cast<uint64_t>(absl::ToUnixNanos(absl::Now())), HashName(role_)));
  absl::Duration pause = absl::Milliseconds(50);
  while (true) {
    absl::StatusOr<std::shared_ptr<grpc::Channel>> channel = Get();
    absl::Status status = channel.status();
    if (channel.ok()) {
      grpc::ClientContext context;
      context.set_deadline(absl::ToChronoTime(until));
      if (!options_.admin_token.empty()) context.AddMetadata("authorization", "Bearer " + options_.admin_token);
      status = FromGrpc(rpc(*channel, &context));
    }
    if (!absl::IsUnavailable(status) && !absl::IsResourceExhausted(status)) return status;
    const absl::Duration wait = std::min(pause * jitter.Uniform(0.5, 1.5), until - absl::Now());
    if (wait <= absl::ZeroDuration()) return Annotate(status, absl::StrCat("role ", role_));
    if (stoppable) {
      if (Stop::WaitFor(wait)) return absl::CancelledError("asked to stop");
    } else {
      absl::SleepFor(wait);
    }
    pause = std::min(pause * 2, absl::Seconds(2));
  }
}

}  // namespace swerve
