// A service and its callers who find each other by the run directory, with the harness between them.
#include "chaos/lines.h"

#include <gmock/gmock.h>
#include <unistd.h>

#include <filesystem>

#include "base/role_channel.h"
#include "base/status_matchers.h"
#include "rollout_workers/reward_stream.h"
#include "swerve/v1/reward.grpc.pb.h"

namespace swerve {
namespace {

using testing::HasSubstr;

// One reward per candidate.
class Scorer : public v1::RewardService::Service {
 public:
  Scorer() { server_ = *GrpcServer::Start({}, {Serving<v1::RewardService>(this)}); }
  ~Scorer() override { server_.reset(); }
  int port() const { return server_->port(); }
  grpc::Status ScoreGroup(grpc::ServerContext*, const v1::ScoreGroupRequest* request, v1::ScoreGroupReply* reply) override {
    if (request->scene_id() == "unknown") return grpc::Status(grpc::StatusCode::NOT_FOUND, "no such scene");
    for (int i = 0; i < request->candidates_size(); ++i) reply->add_rewards()->set_traj(0.5);
    return grpc::Status::OK;
  }

 private:
  std::unique_ptr<GrpcServer> server_;
};

class LinesTest : public testing::Test {
 protected:
  void SetUp() override {
    root_ = absl::StrCat(testing::TempDir(), "/lines", getpid(), "_", testing::UnitTest::GetInstance()->current_test_info()->name());
    std::filesystem::remove_all(root_);
    ASSERT_OK(run().Create());
    SWERVE_ASSERT_OK_AND_ASSIGN(lines_, Lines::Make(run()));
    caller_ = std::make_unique<RoleChannel>(run(), "reward");
  }
  void TearDown() override { std::filesystem::remove_all(root_); }
  RunDir run() const { return RunDir(root_); }

  absl::Status Publish(int port) {
    RoleAddress address;
    address.grpc = port;
    address.pid = getpid();
    address.metrics = 77;
    return PublishRole(run(), "reward", address);
  }

  // Rewards for three candidates, as a worker asks.
  absl::StatusOr<int> Ask(const std::string& scene = "s") {
    v1::ScoreGroupRequest request;
    request.set_scene_id(scene);
    for (int i = 0; i < 3; ++i) request.add_candidates();
    v1::ScoreGroupReply reply;
    SWERVE_RETURN_IF_ERROR(caller_->Call(
        [&](const std::shared_ptr<grpc::Channel>& channel, grpc::ClientContext* context) {
          return v1::RewardService::NewStub(channel)->ScoreGroup(context, request, &reply);
        },
        absl::Seconds(30)));
    return reply.rewards_size();
  }

  std::string root_;
  std::unique_ptr<Lines> lines_;
  std::unique_ptr<RoleChannel> caller_;
};

TEST_F(LinesTest, LeadsCallersThroughTheLineAlsoAfterARestart) {
  auto first = std::make_unique<Scorer>();
  ASSERT_OK(Publish(first->port()));
  lines_->Tick();
  SWERVE_ASSERT_OK_AND_ASSIGN(const RoleAddress address, ReadRole(run(), "reward"));
  EXPECT_EQ(address.grpc, lines_->Find("reward")->port());
  EXPECT_EQ(address.pid, getpid());
  EXPECT_EQ(address.metrics, 77);
  EXPECT_EQ(Ask().value_or(-1), 3);
  first.reset();
  Scorer second;
  ASSERT_OK(Publish(second.port()));
  lines_->Tick();
  EXPECT_EQ(Ask().value_or(-1), 3);
  lines_->Find("reward")->Cut();
  EXPECT_EQ(Ask().value_or(-1), 3) << "a cut connection is no error to the caller";
}

TEST_F(LinesTest, ScorerFailsAsToldAndPassesOnTheRest) {
  Scorer real;
  ASSERT_OK(Publish(real.port()));
  lines_->Tick();
  FaultyScorer& scorer = lines_->scorer();
  ASSERT_OK(scorer.Fail("short"));
  EXPECT_EQ(Ask().value_or(-1), 2);
  ASSERT_OK(scorer.Fail("long"));
  EXPECT_EQ(Ask().value_or(-1), 4);
  ASSERT_OK(scorer.Fail("empty"));
  EXPECT_EQ(Ask().value_or(-1), 0);
  EXPECT_THAT(Ask("unknown").status(), StatusIs(absl::StatusCode::kNotFound, HasSubstr("no such scene")));
  ASSERT_OK(scorer.Fail(""));
  EXPECT_EQ(Ask().value_or(-1), 3);
  EXPECT_EQ(scorer.failed(), 4u);
  EXPECT_THAT(scorer.Fail("wobbly"), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("wobbly")));
}

TEST_F(LinesTest, GroupsOfAStreamFailAsCallsDo) {
  Scorer real;
  ASSERT_OK(Publish(real.port()));
  lines_->Tick();
  FaultyScorer& scorer = lines_->scorer();
  SWERVE_ASSERT_OK_AND_ASSIGN(const auto channel, caller_->Get());
  RewardStream stream(channel);
  const auto ask = [&](const std::string& scene = "s") -> absl::StatusOr<int> {
    v1::ScoreGroupRequest request;
    request.set_scene_id(scene);
    for (int i = 0; i < 3; ++i) request.add_candidates();
    SWERVE_ASSIGN_OR_RETURN(const v1::ScoreGroupReply reply, stream.Score(request, absl::Seconds(30)));
    return reply.rewards_size();
  };
  EXPECT_EQ(ask().value_or(-1), 3);
  ASSERT_OK(scorer.Fail("short"));
  EXPECT_EQ(ask().value_or(-1), 2);
  EXPECT_THAT(ask("unknown").status(), StatusIs(absl::StatusCode::kNotFound, HasSubstr("no such scene")));
  EXPECT_EQ(scorer.failed(), 2u);
  lines_->Find("reward")->Cut();
  EXPECT_THAT(ask().status(), StatusIs(absl::StatusCode::kUnavailable, HasSubstr("")));
}

}  // namespace
}  // namespace swerve
