// The clients over real gRPC: they find the role, survive its move to another port, and give up in time.
#include "rollout_workers/grpc_clients.h"

#include <gmock/gmock.h>
#include <unistd.h>

#include <atomic>

#include "base/grpc_server.h"
#include "base/status_matchers.h"
#include "swerve/v1/orchestrator.grpc.pb.h"
#include "swerve/v1/reward.grpc.pb.h"

namespace swerve {
namespace {

using ::testing::HasSubstr;

class Rewards final : public v1::RewardService::Service {
 public:
  grpc::Status ScoreGroup(grpc::ServerContext*, const v1::ScoreGroupRequest* request,
                          v1::ScoreGroupReply* reply) override {
    if (++calls_ <= busy_) return ToGrpc(absl::ResourceExhaustedError("queue is full"));
    if (request->scene_id() == "unknown") return ToGrpc(absl::NotFoundError("no scene unknown"));
    for (const v1::ScoreCandidate& candidate : request->candidates()) {
      v1::Reward* reward = reply->add_rewards();
      reward->set_traj(0.5);
      // As a service says it that knows `poses` alone.
      if (request->scene_id() == "old" && candidate.poses().empty()) reward->set_invalid(v1::UNPARSED);
    }
    return grpc::Status::OK;
  }
  void Busy(int calls) { busy_ = calls; }
  int calls() const { return calls_; }

 private:
  std::atomic<int> calls_{0};
  int busy_ = 0;
};

class Leases final : public v1::Orchestrator::Service {
 public:
  grpc::Status LeaseScenes(grpc::ServerContext*, const v1::LeaseRequest* request, v1::LeaseReply* reply) override {
    reply->add_leases()->set_scene_id(request->worker());
    return grpc::Status::OK;
  }
};

RunDir NewRun(const std::string& name) {
  RunDir run(absl::StrCat(testing::TempDir(), "/clients-", getpid(), "-", name));
  EXPECT_OK(run.Create());
  return run;
}

std::unique_ptr<GrpcServer> Serve(const RunDir& run, const std::string& role, const GrpcService& service) {
  auto server = GrpcServer::Start({}, {service});
  EXPECT_TRUE(server.ok()) << server.status();
  RoleAddress address;
  address.grpc = (*server)->port();
  address.pid = getpid();
  EXPECT_OK(PublishRole(run, role, address));
  return *std::move(server);
}

v1::ScoreGroupRequest Request(const std::string& scene) {
  v1::ScoreGroupRequest request;
  request.set_scene_id(scene);
  request.add_candidates();
  return request;
}

TEST(GrpcClientsTest, FullQueuesAreTriedAgainAndBadRequestsAreNot) {
  const RunDir run = NewRun("busy");
  Rewards service;
  service.Busy(2);
  auto server = Serve(run, "reward", Serving<v1::RewardService>(&service));
  auto client = MakeRewardClient(run, absl::Seconds(20), {});
  SWERVE_ASSERT_OK_AND_ASSIGN(const auto reply, client->ScoreGroup(Request("s")));
  EXPECT_EQ(reply.rewards_size(), 1);
  EXPECT_EQ(service.calls(), 3);
  EXPECT_THAT(client->ScoreGroup(Request("unknown")), StatusIs(absl::StatusCode::kNotFound, HasSubstr("unknown")));
  EXPECT_EQ(service.calls(), 4);
}

TEST(GrpcClientsTest, PosesThatAnOlderServicePassesOverAreNoRewardOfZero) {
  const RunDir run = NewRun("old");
  Rewards service;
  auto server = Serve(run, "reward", Serving<v1::RewardService>(&service));
  auto client = MakeRewardClient(run, absl::Seconds(20), {});
  v1::ScoreGroupRequest request = Request("old");
  EXPECT_OK(client->ScoreGroup(request).status());  // there are none
  request.mutable_candidates(0)->add_flat_poses(1);
  EXPECT_THAT(client->ScoreGroup(request), StatusIs(absl::StatusCode::kUnimplemented, HasSubstr("flat_poses")));
  request.mutable_candidates(0)->set_parse(v1::FAILED);  // whose poses nobody reads
  EXPECT_OK(client->ScoreGroup(request).status());
}

TEST(GrpcClientsTest, ARoleThatComesBackElsewhereIsFoundAgain) {
  const RunDir run = NewRun("moved");
  Rewards service;
  auto client = MakeRewardClient(run, absl::Seconds(20), {});
  auto first = Serve(run, "reward", Serving<v1::RewardService>(&service));
  ASSERT_OK(client->ScoreGroup(Request("s")).status());
  first->Shutdown(absl::ZeroDuration());
  first.reset();
  auto second = Serve(run, "reward", Serving<v1::RewardService>(&service));
  EXPECT_OK(client->ScoreGroup(Request("s")).status());
}

TEST(GrpcClientsTest, ARoleThatIsNotThereIsUnavailableAfterTheDeadline) {
  const RunDir run = NewRun("absent");
  EXPECT_THAT(MakeTeacherClient(run, absl::Milliseconds(100), {})->Diagnose({}),
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr("teacher")));
}

TEST(GrpcClientsTest, LeasesComeFromTheOrchestrator) {
  const RunDir run = NewRun("lease");
  Leases service;
  auto server = Serve(run, "orchestrator", Serving<v1::Orchestrator>(&service));
  v1::LeaseRequest request;
  request.set_worker("rollout-3");
  SWERVE_ASSERT_OK_AND_ASSIGN(const auto reply, MakeOrchestratorClient(run)->LeaseScenes(request));
  EXPECT_EQ(reply.leases(0).scene_id(), "rollout-3");
}

}  // namespace
}  // namespace swerve
