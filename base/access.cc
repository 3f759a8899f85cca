#include "base/access.h"

#include <utility>

#include "absl/time/clock.h"
#include "base/admin_token.h"
#include "base/config.h"

namespace swerve {
namespace {

std::string HttpListen(const v1::RunConfig& config) {
  const std::string& listen = config.telemetry().listen();
  return IsLoopback(listen) || config.security().insecure() ? listen : "127.0.0.1";
}

}  // namespace

absl::StatusOr<std::shared_ptr<const TlsIdentity>> IdentityOf(const v1::RunConfig& config, const std::string& role) {
  if (config.security().certs().empty()) return std::shared_ptr<const TlsIdentity>();
  SWERVE_ASSIGN_OR_RETURN(auto identity, LoadTlsIdentity(config.security().certs(), role, absl::Now()));
  metrics::Gauge("swerve_certificate_expiry_seconds", "When this process's certificate expires, seconds since 1970")
      .Set(absl::ToDoubleSeconds(identity->not_after - absl::UnixEpoch()));
  return identity;
}

std::string AdminTokenFile(const v1::RunConfig& config, const RunDir& run) {
  const std::string& file = config.security().admin_token_file();
  return file.empty() ? run.admin_token() : file;
}

GrpcServer::Options GrpcOptions(const v1::RunConfig& config, std::shared_ptr<const TlsIdentity> tls) {
  GrpcServer::Options options;
  options.listen = config.telemetry().listen();
  options.max_message_bytes = config.reward().max_message_mb() << 20;
  options.tls = std::move(tls);
  options.max_streams = config.limits().max_streams();
  options.calls_per_second = config.limits().calls_per_second();
  return options;
}

HttpServer::Options HttpOptions(const v1::RunConfig& config) {
  HttpServer::Options options;
  options.listen = HttpListen(config);
  options.threads = config.limits().http_requests();
  options.max_body_bytes = int64_t{config.reward().http_max_body_mb()} << 20;
  options.max_bodies_bytes = 4 * options.max_body_bytes;
  options.requests_per_second = config.limits().http_requests_per_second();
  return options;
}

metrics::Server::Options MetricsOptions(const v1::RunConfig& config) {
  metrics::Server::Options options;
  options.listen = HttpListen(config);
  options.requests_per_second = config.limits().http_requests_per_second();
  return options;
}

RoleChannel::Options ChannelOptions(const v1::RunConfig& config, std::shared_ptr<const TlsIdentity> tls) {
  RoleChannel::Options options;
  options.max_message_bytes = config.reward().max_message_mb() << 20;
  options.tls = std::move(tls);
  return options;
}

absl::StatusOr<RoleChannel::Options> AdminChannelOptions(const RunDir& run) {
  absl::StatusOr<v1::RunConfig> config = LoadRunConfig(run.config());
  if (absl::IsNotFound(config.status())) config = LoadRunConfig("");
  SWERVE_RETURN_IF_ERROR(config.status());
  SWERVE_ASSIGN_OR_RETURN(auto tls, IdentityOf(*config, "admin"));
  RoleChannel::Options options = ChannelOptions(*config, std::move(tls));
  absl::StatusOr<std::string> token = ReadAdminToken(AdminTokenFile(*config, run));
  if (!token.ok() && !absl::IsNotFound(token.status())) return token.status();
  if (token.ok()) options.admin_token = *std::move(token);
  return options;
}

}  // namespace swerve
