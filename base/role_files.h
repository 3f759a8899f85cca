// The run directory: who finds what where, and how roles find each other. A role publishes its address as
// <run>/ports/<role>.json; others wait for that file. Plain values and stateless functions; thread-safe.
#ifndef SWERVE_BASE_ROLE_FILES_H_
#define SWERVE_BASE_ROLE_FILES_H_

#include <cstdint>
#include <string>

#include "absl/time/time.h"
#include "base/status.h"

namespace swerve {

// Paths only; nothing is created.
class RunDir {
 public:
  explicit RunDir(std::string root) : root_(std::move(root)) {}
  const std::string& root() const { return root_; }
  std::string config() const { return root_ + "/config.yaml"; }      // resolved: every field
  std::string run_id_file() const { return root_ + "/run_id"; }
  std::string versions() const { return root_ + "/versions.json"; }  // of Swerve and its libraries
  std::string port_file(const std::string& role) const { return root_ + "/ports/" + role + ".json"; }
  std::string log_file(const std::string& role) const { return root_ + "/logs/" + role + ".log"; }
  std::string weights() const { return root_ + "/weights"; }
  std::string weights(int64_t version) const;  // weights/v00000007
  std::string checkpoints() const { return root_ + "/checkpoints"; }
  std::string metrics_jsonl() const { return root_ + "/metrics.jsonl"; }
  std::string tensorboard() const { return root_ + "/tensorboard"; }
  std::string buffers_db() const { return root_ + "/buffers.sqlite"; }
  std::string admin_token() const { return root_ + "/admin_token"; }  // base/admin_token.h
  std::string ledger() const { return root_ + "/ledger.pb"; }  // v1::LedgerState

  // Makes the root and its folders ports, logs, weights, checkpoints.
  absl::Status Create() const;

 private:
  std::string root_;
};

// The run's name, as `swerve train` made it. NOT_FOUND: not a run directory.
absl::StatusOr<std::string> ReadRunId(const RunDir& run);

struct RoleAddress {
  std::string host = "127.0.0.1";
  int grpc = 0;     // 0: the role serves no gRPC
  int metrics = 0;  // 0: none
  int64_t pid = 0;
  int http = 0;  // 0: none
  std::string grpc_address() const { return absl::StrCat(host, ":", grpc); }
};

// Atomic: readers see the old or the new address.
absl::Status PublishRole(const RunDir& run, const std::string& role, const RoleAddress& address);

// NOT_FOUND: not published (yet). INVALID_ARGUMENT: not such a file.
absl::StatusOr<RoleAddress> ReadRole(const RunDir& run, const std::string& role);

// Blocks until `role` is published by a living process; returns "host:port" of its gRPC server. DEADLINE_EXCEEDED
// after `timeout`, CANCELLED when this process is asked to stop (base/stop.h).
absl::StatusOr<std::string> WaitForRole(const RunDir& run, const std::string& role, absl::Duration timeout);

}  // namespace swerve

#endif  // SWERVE_BASE_ROLE_FILES_H_
