// From a run's sections security and limits to the options of servers and channels. Stateless; thread-safe.
#ifndef SWERVE_BASE_ACCESS_H_
#define SWERVE_BASE_ACCESS_H_

#include <memory>
#include <string>

#include "base/grpc_server.h"
#include "base/http_server.h"
#include "base/metrics.h"
#include "base/role_channel.h"
#include "base/role_files.h"
#include "base/status.h"
#include "base/tls_identity.h"
#include "swerve/v1/config.pb.h"

namespace swerve {

// The identity of a process of kind `role`; null where security.certs is empty. Sets the metric of its expiry. Errors of
// LoadTlsIdentity.
absl::StatusOr<std::shared_ptr<const TlsIdentity>> IdentityOf(const v1::RunConfig& config, const std::string& role);

// security.admin_token_file, else <run>/admin_token.
std::string AdminTokenFile(const v1::RunConfig& config, const RunDir& run);

// With telemetry.listen, the limits and `tls`; ports are the caller's to set.
GrpcServer::Options GrpcOptions(const v1::RunConfig& config, std::shared_ptr<const TlsIdentity> tls);
// HTTP has no TLS: these listen on 127.0.0.1 where telemetry.listen is outside loopback, unless security.insecure is set.
HttpServer::Options HttpOptions(const v1::RunConfig& config);
metrics::Server::Options MetricsOptions(const v1::RunConfig& config);

// A channel for the calls of roles.
RoleChannel::Options ChannelOptions(const v1::RunConfig& config, std::shared_ptr<const TlsIdentity> tls);
// A channel for a person's calls to the roles of a run: role admin and its token, both where the run's config.yaml says.
// A run without config.yaml is taken for one at all defaults, a token that is not there is not sent: the role says so.
absl::StatusOr<RoleChannel::Options> AdminChannelOptions(const RunDir& run);

}  // namespace swerve

#endif  // SWERVE_BASE_ACCESS_H_
