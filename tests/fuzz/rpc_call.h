// One call of a synchronous service method with a request as the network would bring it.
#ifndef SWERVE_TESTS_FUZZ_RPC_CALL_H_
#define SWERVE_TESTS_FUZZ_RPC_CALL_H_

#include <cstdint>
#include <grpcpp/grpcpp.h>
#include <optional>

namespace swerve::testing {

// Empty when the bytes are no such request: gRPC would not hand them on.
template <typename Service, typename Request, typename Reply>
std::optional<grpc::Status> CallWithBytes(Service* service,
                                          grpc::Status (Service::*method)(grpc::ServerContext*, const Request*, Reply*),
                                          const uint8_t* data, size_t size) {
  Request request;
  if (!request.ParseFromArray(data, static_cast<int>(size))) return std::nullopt;
  Reply reply;
  return (service->*method)(nullptr, &request, &reply);
}

}  // namespace swerve::testing

#endif  // SWERVE_TESTS_FUZZ_RPC_CALL_H_
