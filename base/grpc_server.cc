#include "base/grpc_server.h"

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/health_check_service_interface.h>

#include <chrono>
#include <mutex>
#include <utility>

#include "absl/time/clock.h"
#include "base/grpc_credentials.h"

namespace swerve {
namespace {

// A connection that says nothing costs memory for no longer than this.
constexpr int kHandshakeMs = 20000;

std::unique_ptr<grpc::Server> Build(const GrpcServer::Options& options, int port,
                                    const std::vector<GrpcService>& services, int* bound) {
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
                           GatedServerCredentials(options.tls, std::make_shared<CallGate>(std::move(gate))), bound);
  for (const GrpcService& entry : services) {
    builder.RegisterService(entry.service);
    if (entry.prepare) entry.prepare(builder);
  }
  std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  return *bound > 0 ? std::move(server) : nullptr;
}

}  // namespace

GrpcServer::GrpcServer(std::string listen, int port, std::unique_ptr<grpc::Server> server,
                       std::vector<GrpcService> services)
    : listen_(std::move(listen)), port_(port), server_(std::move(server)), services_(std::move(services)) {}

GrpcServer::~GrpcServer() { Shutdown(absl::ZeroDuration()); }

absl::StatusOr<std::unique_ptr<GrpcServer>> GrpcServer::Start(const Options& options,
                                                              const std::vector<GrpcService>& services) {
  static std::once_flag once;
  std::call_once(once, [] {
    grpc::EnableDefaultHealthCheckService(true);
    grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  });
  int bound = 0;
  std::unique_ptr<grpc::Server> server;
  if (options.port == 0 && options.preferred_port != 0) {
    server = Build(options, options.preferred_port, services, &bound);
  }
  if (server == nullptr) {
    bound = 0;
    server = Build(options, options.port, services, &bound);
  }
  if (server == nullptr) {
    return absl::UnavailableError(absl::StrCat("cannot listen on ", options.listen, ":", options.port,
                                               "; is the port in use or the address not of this machine?"));
  }
  for (const GrpcService& entry : services) {
    if (entry.started) entry.started();
  }
  grpc::HealthCheckServiceInterface* health = server->GetHealthCheckService();
  for (const GrpcService& entry : services) health->SetServingStatus(entry.name, true);
  health->SetServingStatus("", true);
  return std::unique_ptr<GrpcServer>(new GrpcServer(options.listen, bound, std::move(server), services));
}

std::string GrpcServer::address() const {
  return absl::StrCat(listen_ == "0.0.0.0" ? "127.0.0.1" : listen_, ":", port_);
}

void GrpcServer::SetNotServing() { server_->GetHealthCheckService()->SetServingStatus(false); }

void GrpcServer::Shutdown(absl::Duration grace) {
  if (shut_down_.exchange(true)) return;
  SetNotServing();
  server_->Shutdown(absl::ToChronoTime(absl::Now() + grace));
  server_->Wait();
  for (const GrpcService& entry : services_) {
    if (entry.ended) entry.ended();
  }
}

}  // namespace swerve
