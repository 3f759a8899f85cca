// A client's line to another role of the run, which may die and come back at another port. Thread-safe.
//
//   RoleChannel line(run, "reward");
//   absl::Status s = line.Call([&](const std::shared_ptr<grpc::Channel>& channel, grpc::ClientContext* context) {
//     return v1::RewardService::NewStub(channel)->ScoreGroup(context, request, &reply);
//   }, absl::Seconds(30));
#ifndef SWERVE_BASE_ROLE_CHANNEL_H_
#define SWERVE_BASE_ROLE_CHANNEL_H_

#include <grpcpp/grpcpp.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "base/role_files.h"
#include "base/status.h"
#include "base/tls_identity.h"

namespace swerve {

class RoleChannel {
 public:
  using Rpc = std::function<grpc::Status(const std::shared_ptr<grpc::Channel>&, grpc::ClientContext*)>;

  struct Options {
    int max_message_bytes = 64 << 20;
    std::shared_ptr<const TlsIdentity> tls;  // who calls; null: plain
    std::string admin_token;                 // sent with every call; empty: none
  };

  RoleChannel(RunDir run, std::string role, Options options);
  RoleChannel(RunDir run, std::string role) : RoleChannel(std::move(run), std::move(role), Options()) {}

  // Runs `rpc`, again after a pause with jitter while the answer is UNAVAILABLE or RESOURCE_EXHAUSTED, until it gives
  // another answer or `timeout` has passed since the call. Looks the address up anew before each attempt. The
  // context's deadline and admin token are set. Returns rpc's last status; CANCELLED when this process is asked to stop and
  // `stoppable`. Blocks.
  absl::Status Call(const Rpc& rpc, absl::Duration timeout, bool stoppable = true) ABSL_LOCKS_EXCLUDED(mu_);

  // The channel to the role's present address. UNAVAILABLE when the role has not published one.
  absl::StatusOr<std::shared_ptr<grpc::Channel>> Get() ABSL_LOCKS_EXCLUDED(mu_);

 private:
  const RunDir run_;
  const std::string role_;
  const Options options_;
  absl::Mutex mu_;
  std::string address_ ABSL_GUARDED_BY(mu_);
  std::shared_ptr<grpc::Channel> channel_ ABSL_GUARDED_BY(mu_);
};

}  // namespace swerve

#endif  // SWERVE_BASE_ROLE_CHANNEL_H_
