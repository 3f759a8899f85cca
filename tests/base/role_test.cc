// The process shell: server, metrics, role files and queue.
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <thread>

#include "base/bounded_queue.h"
#include "base/files.h"
#include "base/grpc_server.h"
#include "base/metrics.h"
#include "base/role_channel.h"
#include "base/role_files.h"
#include "base/status_matchers.h"
#include "swerve/v1/orchestrator.grpc.pb.h"

namespace swerve {
namespace {

using testing::HasSubstr;

class FixedPolicy : public v1::Orchestrator::Service {
 public:
  grpc::Status GetPolicy(grpc::ServerContext*, const v1::GetPolicyRequest*, v1::PolicyManifest* reply) override {
    reply->set_version(3);
    return grpc::Status::OK;
  }
};

std::string Folder(const std::string& name) { return testing::TempDir() + "/" + name + std::to_string(getpid()); }

// Health is asked by raw bytes: HealthCheckRequest{service=1}, HealthCheckResponse{status=1: 1 SERVING, 2 NOT}.
int Health(const std::string& address, const std::string& service, grpc::StatusCode* code) {
  auto channel = grpc::CreateChannel(address, grpc::InsecureChannelCredentials());
  std::string request;
  if (!service.empty()) request = std::string("\x0a") + static_cast<char>(service.size()) + service;
  grpc::Slice slice(request);
  grpc::ByteBuffer in(&slice, 1), out;
  grpc::ClientContext context;
  grpc::CompletionQueue queue;
  grpc::Status status;
  grpc::GenericStub stub(channel);
  auto call = stub.PrepareUnaryCall(&context, "/grpc.health.v1.Health/Check", in, &queue);
  call->StartCall();
  call->Finish(&out, &status, nullptr);
  void* tag;
  bool ok;
  queue.Next(&tag, &ok);
  *code = status.error_code();
  if (!status.ok()) return -1;
  grpc::Slice answer;
  if (!out.DumpToSingleSlice(&answer).ok() || answer.size() < 2) return 0;
  return static_cast<int>(answer.begin()[1]);
}

TEST(GrpcServerTest, HealthPerServiceAndOrderlyEnd) {
  FixedPolicy service;
  SWERVE_ASSERT_OK_AND_ASSIGN(auto server, GrpcServer::Start({}, {Serving<v1::Orchestrator>(&service)}));
  ASSERT_GT(server->port(), 0);
  grpc::StatusCode code;
  EXPECT_EQ(Health(server->address(), "", &code), 1);
  EXPECT_EQ(Health(server->address(), "swerve.v1.Orchestrator", &code), 1);
  EXPECT_EQ(Health(server->address(), "no.such.Service", &code), -1);
  EXPECT_EQ(code, grpc::NOT_FOUND);
  server->SetNotServing();
  EXPECT_EQ(Health(server->address(), "swerve.v1.Orchestrator", &code), 2);
  EXPECT_EQ(Health(server->address(), "", &code), 2);
  server->Shutdown(absl::Seconds(1));
  server->Shutdown(absl::Seconds(1));
}

TEST(GrpcServerTest, WatchesHearOfHealthAndEndWithTheServer) {
  using grpc::health::v1::HealthCheckResponse;
  FixedPolicy service;
  SWERVE_ASSERT_OK_AND_ASSIGN(auto server, GrpcServer::Start({}, {Serving<v1::Orchestrator>(&service)}));
  auto stub = grpc::health::v1::Health::NewStub(grpc::CreateChannel(server->address(), grpc::InsecureChannelCredentials()));
  const auto watch = [&](const std::string& name, grpc::ClientContext* context) {
    grpc::health::v1::HealthCheckRequest request;
    request.set_service(name);
    return stub->Watch(context, request);
  };
  grpc::ClientContext whole_context, other_context;
  HealthCheckResponse response;
  const auto other = watch("no.such.Service", &other_context);
  ASSERT_TRUE(other->Read(&response));
  EXPECT_EQ(response.status(), HealthCheckResponse::SERVICE_UNKNOWN);
  const auto whole = watch("", &whole_context);
  ASSERT_TRUE(whole->Read(&response));
  EXPECT_EQ(response.status(), HealthCheckResponse::SERVING);
  server->SetNotServing();
  ASSERT_TRUE(whole->Read(&response));
  EXPECT_EQ(response.status(), HealthCheckResponse::NOT_SERVING);
  // As many as there may be, and one more.
  std::vector<std::unique_ptr<grpc::ClientContext>> contexts;
  std::vector<std::unique_ptr<grpc::ClientReader<HealthCheckResponse>>> watches;
  for (int i = 2; i < HealthService::kMostWatches; ++i) {
    watches.push_back(watch("", contexts.emplace_back(std::make_unique<grpc::ClientContext>()).get()));
    ASSERT_TRUE(watches.back()->Read(&response));
  }
  grpc::ClientContext one_more;
  const auto refused = watch("", &one_more);
  EXPECT_FALSE(refused->Read(&response));
  EXPECT_EQ(refused->Finish().error_code(), grpc::RESOURCE_EXHAUSTED);
  other_context.TryCancel();
  EXPECT_EQ(other->Finish().error_code(), grpc::CANCELLED);
  server->Shutdown(absl::Seconds(30));
  EXPECT_FALSE(whole->Read(&response));
  EXPECT_EQ(whole->Finish().error_code(), grpc::UNAVAILABLE);
}

TEST(GrpcServerTest, PortInUseIsAnErrorUnlessOnlyPreferred) {
  SWERVE_ASSERT_OK_AND_ASSIGN(auto first, GrpcServer::Start({}, {}));
  GrpcServer::Options options;
  options.port = first->port();
  EXPECT_THAT(GrpcServer::Start(options, {}), StatusIs(absl::StatusCode::kUnavailable, HasSubstr("cannot listen")));
  options.preferred_port = std::exchange(options.port, 0);
  SWERVE_ASSERT_OK_AND_ASSIGN(auto second, GrpcServer::Start(options, {}));
  EXPECT_NE(second->port(), first->port());
}

TEST(RoleChannelTest, FollowsARoleToItsNewPort) {
  const RunDir run(Folder("channel"));
  ASSERT_OK(run.Create());
  FixedPolicy service;
  RoleChannel line(run, "orchestrator");
  v1::PolicyManifest reply;
  const auto rpc = [&](const std::shared_ptr<grpc::Channel>& channel, grpc::ClientContext* context) {
    return v1::Orchestrator::NewStub(channel)->GetPolicy(context, {}, &reply);
  };
  EXPECT_THAT(line.Call(rpc, absl::Milliseconds(100)), StatusIs(absl::StatusCode::kUnavailable, HasSubstr("orchestrator")));
  for (int i = 0; i < 2; ++i) {
    SWERVE_ASSERT_OK_AND_ASSIGN(auto server, GrpcServer::Start({}, {Serving<v1::Orchestrator>(&service)}));
    ASSERT_OK(PublishRole(run, "orchestrator", {"127.0.0.1", server->port(), 0, getpid()}));
    ASSERT_OK(line.Call(rpc, absl::Seconds(10)));
    EXPECT_EQ(reply.version(), 3);
  }
}

TEST(RoleFilesTest, WaitsOnlyForTheLiving) {
  const RunDir run(Folder("files"));
  ASSERT_OK(PublishRole(run, "reward", {"127.0.0.1", 4711, 4712, getpid()}));
  SWERVE_ASSERT_OK_AND_ASSIGN(const std::string address, WaitForRole(run, "reward", absl::Seconds(1)));
  EXPECT_EQ(address, "127.0.0.1:4711");
  ASSERT_OK(PublishRole(run, "reward", {"127.0.0.1", 4711, 4712, 1 << 30}));  // beyond any pid
  EXPECT_THAT(WaitForRole(run, "reward", absl::ZeroDuration()),
              StatusIs(absl::StatusCode::kDeadlineExceeded, HasSubstr("logs/reward.log")));
  ASSERT_OK(WriteFileAtomically(run.port_file("teacher"), "{"));
  EXPECT_THAT(ReadRole(run, "teacher"), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("teacher.json")));
  EXPECT_EQ(run.weights(7), run.root() + "/weights/v00000007");
}

TEST(MetricsTest, SameNameAndLabelsIsTheSameMetric) {
  metrics::Counter("swerve_test_total", "For the test", {{"a", "b"}}).Increment();
  metrics::Counter("swerve_test_total", "For the test", {{"a", "b"}}).Increment();
  EXPECT_EQ(metrics::Counter("swerve_test_total", "For the test", {{"a", "b"}}).Value(), 2);
  SWERVE_ASSERT_OK_AND_ASSIGN(auto server, metrics::Server::Start({}));
  EXPECT_GT(server->port(), 0);
  metrics::Server::Options taken;
  taken.port = server->port();
  EXPECT_THAT(metrics::Server::Start(taken),
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr("cannot serve metrics")));
}

TEST(BoundedQueueTest, ClosesInFlowOrder) {
  BoundedQueue<int> queue(2);
  EXPECT_TRUE(queue.Push(1));
  EXPECT_TRUE(queue.Push(2));
  int third = 3;
  EXPECT_FALSE(queue.TryPush(third));
  queue.Close();
  EXPECT_FALSE(queue.Push(4));
  EXPECT_EQ(queue.Pop(), 1);
  EXPECT_EQ(queue.Pop(), 2);
  EXPECT_EQ(queue.Pop(), std::nullopt);
}

TEST(BoundedQueueTest, PushWaitsForRoom) {
  BoundedQueue<int> queue(1);
  queue.Push(0);
  std::thread producer([&] {
    for (int i = 1; i < 100; ++i) queue.Push(i);
    queue.Close();
  });
  for (int i = 0; i < 100; ++i) EXPECT_EQ(queue.Pop(), i);
  EXPECT_EQ(queue.Pop(), std::nullopt);
  producer.join();
}

}  // namespace
}  // namespace swerve
