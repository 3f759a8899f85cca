// Real servers and clients over loopback, with good and bad certificates: gRPC.
#include <gmock/gmock.h>
#include <unistd.h>

#include <filesystem>
#include <thread>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "base/access.h"
#include "base/files.h"
#include "base/grpc_credentials.h"
#include "base/status_matchers.h"
#include "certs/authority.h"
#include "swerve/v1/orchestrator.grpc.pb.h"

namespace swerve {
namespace {

using ::testing::HasSubstr;

constexpr absl::Duration kDay = absl::Hours(24);
constexpr char kToken[] = "0123456789abcdef";

class CountingOrchestrator : public v1::Orchestrator::Service {
 public:
  grpc::Status GetPolicy(grpc::ServerContext*, const v1::GetPolicyRequest*, v1::PolicyManifest* reply) override {
    ++calls;
    reply->set_version(3);
    return grpc::Status::OK;
  }
  grpc::Status Drain(grpc::ServerContext*, const v1::DrainRequest*, v1::DrainReply*) override {
    ++calls;
    return grpc::Status::OK;
  }
  std::atomic<int> calls{0};
};

// Answers nobody before it is told to.
class HoldingOrchestrator : public v1::Orchestrator::Service {
 public:
  grpc::Status GetPolicy(grpc::ServerContext*, const v1::GetPolicyRequest*, v1::PolicyManifest*) override {
    absl::MutexLock lock(&mu);
    ++arrived;
    mu.Await(absl::Condition(&open));
    return grpc::Status::OK;
  }
  bool Arrives(int calls) {
    absl::MutexLock lock(&mu);
    const auto there = [&]() ABSL_SHARED_LOCKS_REQUIRED(mu) { return arrived >= calls; };
    return mu.AwaitWithTimeout(absl::Condition(&there), absl::Seconds(20));
  }
  void Open() {
    absl::MutexLock lock(&mu);
    open = true;
  }
  absl::Mutex mu;
  int arrived ABSL_GUARDED_BY(mu) = 0;
  bool open ABSL_GUARDED_BY(mu) = false;
};

KeyPair Authority() { return MakeAuthority({absl::Now() - 9 * kDay, absl::Now() + 9 * kDay}).value(); }

std::shared_ptr<const TlsIdentity> Identity(const KeyPair& authority, const std::string& role,
                                            absl::Duration lasting = kDay) {
  const KeyPair pair = IssueRole(authority, role, {}, {absl::Now() - 2 * kDay, absl::Now() + lasting}).value();
  auto identity = std::make_shared<TlsIdentity>();
  *identity = {role, authority.certificate_pem, pair.certificate_pem, pair.key_pem, absl::Now() + lasting};
  return identity;
}

class TlsTest : public testing::Test {
 protected:
  TlsTest() : run_(absl::StrCat(testing::TempDir(), "/tls-", getpid())), authority_(Authority()) {
    std::filesystem::remove_all(run_.root());
    EXPECT_OK(run_.Create());
  }
  ~TlsTest() override { std::filesystem::remove_all(run_.root()); }

  void Serve(std::shared_ptr<const TlsIdentity> tls) {
    GrpcServer::Options options;
    options.tls = std::move(tls);
    options.admin_token = kToken;
    server_ = GrpcServer::Start(options, {Serving<v1::Orchestrator>(&service_)}).value();
    RoleAddress address;
    address.grpc = server_->port();
    address.pid = getpid();
    EXPECT_OK(PublishRole(run_, "orchestrator", address));
  }
  absl::Status GetPolicy(std::shared_ptr<const TlsIdentity> tls) {
    RoleChannel line(run_, "orchestrator", {1 << 20, std::move(tls), ""});
    v1::PolicyManifest reply;
    return line.Call(
        [&](const std::shared_ptr<grpc::Channel>& channel, grpc::ClientContext* context) {
          return v1::Orchestrator::NewStub(channel)->GetPolicy(context, {}, &reply);
        },
        absl::Milliseconds(700));
  }
  absl::Status Drain(std::shared_ptr<const TlsIdentity> tls, const std::string& token) {
    RoleChannel line(run_, "orchestrator", {1 << 20, std::move(tls), token});
    v1::DrainReply reply;
    return line.Call(
        [&](const std::shared_ptr<grpc::Channel>& channel, grpc::ClientContext* context) {
          return v1::Orchestrator::NewStub(channel)->Drain(context, {}, &reply);
        },
        absl::Seconds(20));
  }
  void ExpectNoConnection(std::shared_ptr<const TlsIdentity> tls) {
    const absl::Status status = GetPolicy(std::move(tls));
    EXPECT_TRUE(absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status)) << status;
    EXPECT_EQ(service_.calls, 0);
  }

  const RunDir run_;
  const KeyPair authority_;
  CountingOrchestrator service_;
  std::unique_ptr<GrpcServer> server_;
};

TEST_F(TlsTest, RolesOfOneAuthorityTalk) {
  Serve(Identity(authority_, "orchestrator"));
  ASSERT_OK(GetPolicy(Identity(authority_, "learner")));
  EXPECT_EQ(service_.calls, 1);
}

TEST_F(TlsTest, AClientWithoutACertificateGetsNothing) {
  Serve(Identity(authority_, "orchestrator"));
  ExpectNoConnection(nullptr);  // plain to a TLS port
  TlsIdentity anonymous = *Identity(authority_, "learner");
  grpc::ChannelArguments arguments;
  RoleChannelCredentials(&anonymous, "orchestrator", &arguments);
  grpc::SslCredentialsOptions no_certificate;
  no_certificate.pem_root_certs = authority_.certificate_pem;
  auto channel = grpc::CreateCustomChannel(server_->address(), grpc::SslCredentials(no_certificate), arguments);
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
  v1::PolicyManifest reply;
  EXPECT_EQ(v1::Orchestrator::NewStub(channel)->GetPolicy(&context, {}, &reply).error_code(), grpc::UNAVAILABLE);
  EXPECT_EQ(service_.calls, 0);
}

TEST_F(TlsTest, AnExpiredCertificateGetsNothing) {
  Serve(Identity(authority_, "orchestrator"));
  ExpectNoConnection(Identity(authority_, "learner", -kDay));
}

TEST_F(TlsTest, ACertificateOfAnotherAuthorityGetsNothing) {
  Serve(Identity(authority_, "orchestrator"));
  const KeyPair other = Authority();  // of the same name
  ExpectNoConnection(Identity(other, "learner"));
  TlsIdentity mixed = *Identity(other, "learner");
  mixed.authority_pem = authority_.certificate_pem;  // it trusts the server, the server does not trust it
  ExpectNoConnection(std::make_shared<TlsIdentity>(mixed));
}

TEST_F(TlsTest, AServerOfAnotherRoleIsNotTalkedTo) {
  Serve(Identity(authority_, "rollout"));  // a worker that plays the orchestrator
  ExpectNoConnection(Identity(authority_, "learner"));
}

TEST_F(TlsTest, AClientsCertificateIsNoServers) {
  Serve(Identity(authority_, "admin"));
  RoleChannel line(run_, "orchestrator");
  ExpectNoConnection(Identity(authority_, "learner"));
}

TEST_F(TlsTest, AWorkerIsRefusedAnAdminCallBeforeTheServiceSeesIt) {
  Serve(Identity(authority_, "orchestrator"));
  EXPECT_THAT(Drain(Identity(authority_, "rollout"), kToken),
              StatusIs(absl::StatusCode::kPermissionDenied, HasSubstr("role rollout may not call")));
  EXPECT_THAT(Drain(Identity(authority_, "admin"), ""),
              StatusIs(absl::StatusCode::kUnauthenticated, HasSubstr("needs the admin token")));
  EXPECT_THAT(Drain(Identity(authority_, "admin"), "0123456789abcdeX"),
              StatusIs(absl::StatusCode::kUnauthenticated, HasSubstr("wrong admin token")));
  EXPECT_EQ(service_.calls, 0);
  EXPECT_OK(Drain(Identity(authority_, "admin"), kToken));
  EXPECT_EQ(service_.calls, 1);
}

TEST_F(TlsTest, WithoutTlsAdminCallsNeedTheTokenAndNothingElseDoes) {
  Serve(nullptr);
  EXPECT_OK(GetPolicy(nullptr));
  EXPECT_THAT(Drain(nullptr, ""), StatusIs(absl::StatusCode::kUnauthenticated, HasSubstr("needs the admin token")));
  EXPECT_EQ(service_.calls, 1);
  EXPECT_OK(Drain(nullptr, kToken));
}

TEST_F(TlsTest, CallsBeyondTheRateAreRefused) {
  GrpcServer::Options options;
  options.calls_per_second = 0.001;  // one in the life of this test
  server_ = GrpcServer::Start(options, {Serving<v1::Orchestrator>(&service_)}).value();
  auto stub = v1::Orchestrator::NewStub(grpc::CreateChannel(server_->address(), grpc::InsecureChannelCredentials()));
  v1::PolicyManifest reply;
  grpc::ClientContext first, second;
  EXPECT_TRUE(stub->GetPolicy(&first, {}, &reply).ok());
  EXPECT_THAT(FromGrpc(stub->GetPolicy(&second, {}, &reply)),
              StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("rate limit: ")));
  EXPECT_EQ(service_.calls, 1);
}

TEST_F(TlsTest, CallsBeyondTheStreamsOfAConnectionWaitAtTheCaller) {
  for (const int max_streams : {2, 3}) {
    HoldingOrchestrator service;
    GrpcServer::Options options;
    options.max_streams = max_streams;
    const auto server = GrpcServer::Start(options, {Serving<v1::Orchestrator>(&service)}).value();
    const auto channel = grpc::CreateChannel(server->address(), grpc::InsecureChannelCredentials());
    const auto call = [&channel](absl::Duration patience) {
      grpc::ClientContext context;
      context.set_deadline(absl::ToChronoTime(absl::Now() + patience));
      v1::PolicyManifest reply;
      return v1::Orchestrator::NewStub(channel)->GetPolicy(&context, {}, &reply).error_code();
    };
    std::vector<std::thread> patient;
    for (int i = 0; i < 2; ++i) patient.emplace_back([&] { EXPECT_EQ(call(absl::Seconds(60)), grpc::StatusCode::OK); });
    ASSERT_TRUE(service.Arrives(2));
    EXPECT_EQ(call(absl::Milliseconds(500)), grpc::StatusCode::DEADLINE_EXCEEDED);
    if (max_streams == 2) {
      absl::MutexLock lock(&service.mu);
      EXPECT_EQ(service.arrived, 2) << "the third came through";
    } else {
      EXPECT_TRUE(service.Arrives(3));  // with room for it, it waits at the service
    }
    service.Open();
    for (std::thread& thread : patient) thread.join();
    EXPECT_EQ(call(absl::Seconds(60)), grpc::StatusCode::OK);
  }
}

TEST_F(TlsTest, APersonsToolFindsCertificateAndTokenInTheRunsConfiguration) {
  const std::string certs = run_.root() + "/certs";
  CertsOptions options;
  options.now = absl::Now();
  ASSERT_OK(InitCerts(certs, options));
  ASSERT_OK(WriteFileAtomically(run_.config(), absl::StrCat("security: {certs: ", certs, "}\n")));
  SWERVE_ASSERT_OK_AND_ASSIGN(RoleChannel::Options channel, AdminChannelOptions(run_));
  ASSERT_NE(channel.tls, nullptr);
  EXPECT_EQ(channel.tls->role, "admin");
  EXPECT_EQ(channel.admin_token, "");
  ASSERT_OK(WriteFileAtomically(run_.admin_token(), absl::StrCat(kToken, "\n"), 0600));
  SWERVE_ASSERT_OK_AND_ASSIGN(channel, AdminChannelOptions(run_));
  EXPECT_EQ(channel.admin_token, kToken);
}

TEST_F(TlsTest, WhatHasNoTlsStaysOnLoopback) {
  v1::RunConfig config;
  config.mutable_telemetry()->set_listen("0.0.0.0");
  config.mutable_security()->set_certs("dir");
  EXPECT_EQ(HttpOptions(config).listen, "127.0.0.1");
  EXPECT_EQ(MetricsOptions(config).listen, "127.0.0.1");
  EXPECT_EQ(GrpcOptions(config, nullptr).listen, "0.0.0.0");
  config.mutable_security()->set_insecure(true);
  EXPECT_EQ(HttpOptions(config).listen, "0.0.0.0");
}

}  // namespace
}  // namespace swerve
