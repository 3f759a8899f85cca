#include "base/grpc_credentials.h"

#include <grpc/grpc.h>
#include <grpc/grpc_security.h>

#include <utility>

namespace swerve {
namespace {

absl::string_view View(const grpc_slice& slice) {
  return {reinterpret_cast<const char*>(GRPC_SLICE_START_PTR(slice)), GRPC_SLICE_LENGTH(slice)};
}

// gRPC's C++ layer has no place for a check in front of a plain port's calls; its C layer has.
class PlainCredentials final : public grpc::ServerCredentials {
 public:
  explicit PlainCredentials(std::shared_ptr<CallGate> gate) : gate_(std::move(gate)) {}

  void SetAuthMetadataProcessor(const std::shared_ptr<grpc::AuthMetadataProcessor>&) override {}

 private:
  int AddPortToServer(const std::string& address, grpc_server* server) override {
    grpc_server_credentials* const plain = grpc_insecure_server_credentials_create();
    // Lives as long as gRPC may call it, which is longer than this object.
    grpc_server_credentials_set_auth_metadata_processor(
        plain, {&Process, [](void* state) { delete static_cast<std::shared_ptr<CallGate>*>(state); },
                new std::shared_ptr<CallGate>(gate_)});
    const int port = grpc_server_add_http2_port(server, address.c_str(), plain);
    grpc_server_credentials_release(plain);
    return port;
  }

  static void Process(void* state, grpc_auth_context*, const grpc_metadata* metadata, size_t count,
                      grpc_process_auth_metadata_done_cb done, void* user_data) {
    absl::string_view path, authorization;
    for (size_t i = 0; i < count; ++i) {
      const absl::string_view key = View(metadata[i].key);
      if (key == ":path") path = View(metadata[i].value);
      if (key == "authorization") authorization = View(metadata[i].value);
    }
    const absl::Status status = (*static_cast<std::shared_ptr<CallGate>*>(state))->Check(path, "", authorization);
    done(user_data, nullptr, 0, nullptr, 0, static_cast<grpc_status_code>(status.raw_code()),
         status.ok() ? nullptr : std::string(status.message()).c_str());
  }

  const std::shared_ptr<CallGate> gate_;
};

class TlsProcessor final : public grpc::AuthMetadataProcessor {
 public:
  explicit TlsProcessor(std::shared_ptr<CallGate> gate) : gate_(std::move(gate)) {}
  bool IsBlocking() const override { return false; }

  grpc::Status Process(const InputMetadata& metadata, grpc::AuthContext* context, OutputMetadata*,
                       OutputMetadata*) override {
    std::string role;
    for (const grpc::string_ref& uri : context->FindPropertyValues(GRPC_PEER_URI_PROPERTY_NAME)) {
      if (role.empty()) role = RoleOfUri({uri.data(), uri.size()});
    }
    const auto find = [&metadata](const char* key) {
      const auto at = metadata.find(key);
      return at == metadata.end() ? absl::string_view() : absl::string_view(at->second.data(), at->second.size());
    };
    return ToGrpc(gate_->Check(find(":path"), role, find("authorization")));
  }

 private:
  const std::shared_ptr<CallGate> gate_;
};

}  // namespace

std::shared_ptr<grpc::ServerCredentials> GatedServerCredentials(std::shared_ptr<const TlsIdentity> identity,
                                                                std::shared_ptr<CallGate> gate) {
  if (identity == nullptr) return std::make_shared<PlainCredentials>(std::move(gate));
  grpc::SslServerCredentialsOptions options(GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  options.pem_root_certs = identity->authority_pem;
  options.pem_key_cert_pairs.push_back({identity->key_pem, identity->certificate_pem});
  auto credentials = grpc::SslServerCredentials(options);
  credentials->SetAuthMetadataProcessor(std::make_shared<TlsProcessor>(std::move(gate)));
  return credentials;
}

std::shared_ptr<grpc::ChannelCredentials> RoleChannelCredentials(const TlsIdentity* identity, const std::string& role,
                                                                 grpc::ChannelArguments* arguments) {
  if (identity == nullptr) return grpc::InsecureChannelCredentials();
  arguments->SetSslTargetNameOverride(RoleDnsName(RoleKind(role)));
  return grpc::SslCredentials({identity->authority_pem, identity->key_pem, identity->certificate_pem});
}

}  // namespace swerve
