#include "base/grpc_server.h"

#include <grpcpp/ext/proto_server_reflection_plugin.h>

#include <chrono>
#include <mutex>
#include <utility>

#include "absl/time/clock.h"
#include "base/grpc_credentials.h"

namespace swerve {
namespace {

// A connection that says nothing costs memory for no longer than this.
constexpr int kHandshakeMs = 20000;

}  // namespace

std::unique_ptr<grpc::Server> GrpcServer::Build(const Options& options, int port) {
  grpc::ServerBuilder builder;
  // A port in use must be an error, not a second listener that steals calls.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.SetMaxReceiveMessageSize(options.max_message_bytes);
  builder.SetMaxSendMessageSize(options.max_message_bytes);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, options.max_streams);
  builder.AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, kHandshakeMs);
  CallGate::Options gate;
  gate.roles = options.tls != nullptr;
  gate.admin_token = options.admin_token;
  gate.calls_per_second = options.calls_per_second;
  builder.AddListeningPort(absl::StrCat(options.listen, ":", port),
                           GatedServerCredentials(options.tls, std::make_shared<CallGate>(std::move(gate))), &port_);
  builder.RegisterService(&health_);
  for (const GrpcService& entry : services_) {
    if (entry.service != nullptr) builder.RegisterService(entry.service);
    if (entry.prepare) entry.prepare(builder);
  }
  std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  return port_ > 0 ? std::move(server) : nullptr;
}

GrpcServer::~GrpcServer() { Shutdown(absl::ZeroDuration()); }

absl::StatusOr<std::unique_ptr<GrpcServer>> GrpcServer::Start(const Options& options,
                                                              const std::vector<GrpcService>& services) {
  static std::once_flag once;
  std::call_once(once, [] {
    grpc::EnableDefaultHealthCheckService(false);  // health_service.h
    grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  });
  std::unique_ptr<GrpcServer> out(new GrpcServer(options.listen, services));
  if (options.port == 0 && options.preferred_port != 0) out->server_ = out->Build(options, options.preferred_port);
  if (out->server_ == nullptr) out->server_ = out->Build(options, options.port);
  if (out->server_ == nullptr) {
    return absl::UnavailableError(absl::StrCat("cannot listen on ", options.listen, ":", options.port,
                                               "; is the port in use or the address not of this machine?"));
  }
  for (const GrpcService& entry : services) {
    if (entry.started) entry.started();
    out->health_.Set(entry.name, true);
  }
  out->health_.Set("", true);
  return out;
}

std::string GrpcServer::address() const {
  return absl::StrCat(listen_ == "0.0.0.0" ? "127.0.0.1" : listen_, ":", port_);
}

void GrpcServer::SetNotServing() { health_.SetAll(false); }

void GrpcServer::Shutdown(absl::Duration grace) {
  if (server_ == nullptr || shut_down_.exchange(true)) return;
  SetNotServing();
  health_.End();
  for (const GrpcService& entry : services_) {
    if (entry.ending) entry.ending();
  }
  server_->Shutdown(absl::ToChronoTime(absl::Now() + grace));
  server_->Wait();
  for (const GrpcService& entry : services_) {
    if (entry.ended) entry.ended();
  }
}

}  // namespace swerve
