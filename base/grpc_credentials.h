// gRPC credentials: mutual TLS by role, or plain, both with a gate in front of every call. Thread-safe.
#ifndef SWERVE_BASE_GRPC_CREDENTIALS_H_
#define SWERVE_BASE_GRPC_CREDENTIALS_H_

#include <grpcpp/grpcpp.h>

#include <memory>

#include "base/call_gate.h"
#include "base/tls_identity.h"

namespace swerve {

// `identity` null: plain. Under TLS only clients with a certificate of the same authority connect. The gate hears the
// path, the role of the caller's certificate and the metadata "authorization" of each call, health checks and reflection
// included; what it refuses never reaches a service.
std::shared_ptr<grpc::ServerCredentials> GatedServerCredentials(std::shared_ptr<const TlsIdentity> identity,
                                                                std::shared_ptr<CallGate> gate);

// For calling a server of role `role` ("reward"; a process of it as "rollout-0" too) from `identity` (null: plain). Under
// TLS a server with another role's certificate is not talked to, wherever it is.
std::shared_ptr<grpc::ChannelCredentials> RoleChannelCredentials(const TlsIdentity* identity, const std::string& role,
                                                                 grpc::ChannelArguments* arguments);

}  // namespace swerve

#endif  // SWERVE_BASE_GRPC_CREDENTIALS_H_
