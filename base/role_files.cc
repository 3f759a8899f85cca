#include "base/role_files.h"

#include <signal.h>

#include <cerrno>
#include <nlohmann/json.hpp>

#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "base/files.h"
#include "base/stop.h"

namespace swerve {

std::string RunDir::weights(int64_t version) const { return absl::StrFormat("%s/v%08d", weights(), version); }

absl::Status RunDir::Create() const {
  for (const char* folder : {"", "/ports", "/logs", "/weights", "/checkpoints"}) {
    SWERVE_RETURN_IF_ERROR(MakeDirectories(root_ + folder));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> ReadRunId(const RunDir& run) {
  SWERVE_ASSIGN_OR_RETURN(std::string id, ReadFile(run.run_id_file()));
  while (!id.empty() && (id.back() == '\n' || id.back() == ' ')) id.pop_back();
  if (id.empty()) return absl::InvalidArgumentError(absl::StrCat(run.run_id_file(), " is empty; make a new run"));
  return id;
}

absl::Status PublishRole(const RunDir& run, const std::string& role, const RoleAddress& address) {
  SWERVE_RETURN_IF_ERROR(MakeDirectories(run.root() + "/ports"));
  const nlohmann::json json = {
      {"host", address.host}, {"grpc", address.grpc}, {"metrics", address.metrics}, {"http", address.http},
      {"pid", address.pid}};
  return WriteFileAtomically(run.port_file(role), json.dump() + "\n");
}

absl::StatusOr<RoleAddress> ReadRole(const RunDir& run, const std::string& role) {
  const std::string path = run.port_file(role);
  SWERVE_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  const nlohmann::json json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  RoleAddress address;
  try {
    address.host = json.at("host").get<std::string>();
    address.grpc = json.at("grpc").get<int>();
    address.metrics = json.at("metrics").get<int>();
    address.http = json.value("http", 0);
    address.pid = json.at("pid").get<int64_t>();
  } catch (const nlohmann::json::exception&) {
    return absl::InvalidArgumentError(absl::StrCat(path, " is not a role's address; delete it and restart the role"));
  }
  return address;
}

absl::StatusOr<std::string> WaitForRole(const RunDir& run, const std::string& role, absl::Duration timeout) {
  const absl::Time until = absl::Now() + timeout;
  while (true) {
    const absl::StatusOr<RoleAddress> address = ReadRole(run, role);
    // A file left by a role that died names a port nobody answers on. Another machine's pid cannot be asked.
    if (address.ok() && address->grpc > 0 &&
        (address->host != "127.0.0.1" || kill(static_cast<pid_t>(address->pid), 0) == 0 || errno == EPERM)) {
      return address->grpc_address();
    }
    if (absl::Now() >= until) {
      return absl::DeadlineExceededError(absl::StrCat("role ", role, " did not publish its address in ",
                                                      run.port_file(role), " within ", absl::FormatDuration(timeout),
                                                      "; see ", run.log_file(role)));
    }
    if (Stop::WaitFor(absl::Milliseconds(50))) return absl::CancelledError("asked to stop");
  }
}

}  // namespace swerve
