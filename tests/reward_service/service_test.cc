#include "reward_service/service.h"

#include "absl/synchronization/notification.h"
#include "base/status_matchers.h"
#include "tests/pdm/golden_files.h"

namespace swerve {
namespace {

using ::testing::HasSubstr;

class RewardServiceTest : public ::testing::Test {
 protected:
  RewardServiceTest() : scene_(std::make_shared<v1::Scene>(testing::PublicScenes().scenes[0])) {
    *scene_->mutable_gt() = scene_->human();
    lookup_ = [this](const std::string& id) -> absl::StatusOr<std::shared_ptr<const v1::Scene>> {
      ++lookups_;
      if (id != "known") return absl::NotFoundError(absl::StrCat("no scene '", id, "'"));
      return std::shared_ptr<const v1::Scene>(scene_);
    };
  }
  ~RewardServiceTest() override {
    if (server_ != nullptr) server_->Shutdown(absl::ZeroDuration());
  }
  void Start(const RewardServiceOptions& options = {}) {
    service_ = std::make_unique<RewardService>(options, lookup_);
    GrpcServer::Options server;
    server.max_message_bytes = 256 << 10;
    server_ = GrpcServer::Start(server, {service_->registration()}).value();
    stub_ = v1::RewardService::NewStub(
        grpc::CreateChannel(server_->address(), grpc::InsecureChannelCredentials()));
  }
  v1::ScoreGroupRequest Request(const std::string& id = "known") {
    v1::ScoreGroupRequest request;
    request.set_scene_id(id);
    for (int i = 0; i < 8; ++i) {
      v1::ScoreCandidate* c = request.add_candidates();
      *c->mutable_poses() = scene_->gt();
      c->set_parse(v1::EXACT);
    }
    return request;
  }
  absl::Status Call(const v1::ScoreGroupRequest& request) {
    grpc::ClientContext context;
    return FromGrpc(stub_->ScoreGroup(&context, request, &reply_));
  }

  std::shared_ptr<v1::Scene> scene_;
  std::atomic<int> lookups_{0};
  SceneLookup lookup_;
  std::unique_ptr<RewardService> service_;
  std::unique_ptr<GrpcServer> server_;
  std::unique_ptr<v1::RewardService::Stub> stub_;
  v1::ScoreGroupReply reply_;
};

TEST_F(RewardServiceTest, ScoresAGroupAndPreparesASceneOnce) {
  Start();
  ASSERT_OK(Call(Request()));
  ASSERT_EQ(reply_.rewards_size(), 8);
  EXPECT_GT(reply_.rewards(7).traj(), 0.9);
  ASSERT_OK(Call(Request()));
  EXPECT_EQ(lookups_, 1);
}

TEST_F(RewardServiceTest, InlineScene) {
  Start();
  v1::ScoreGroupRequest request = Request();
  *request.mutable_scene() = *scene_;
  ASSERT_OK(Call(request));
  EXPECT_GT(reply_.rewards(0).traj(), 0.9);
  request.mutable_scene()->clear_ego();
  EXPECT_THAT(Call(request), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("ego")));
}

TEST_F(RewardServiceTest, RefusalsAreTyped) {
  RewardServiceOptions options;
  options.max_candidates = 8;
  Start(options);
  EXPECT_THAT(Call(Request("other")), StatusIs(absl::StatusCode::kNotFound, HasSubstr("other")));
  v1::ScoreGroupRequest request = Request();
  request.clear_source();
  EXPECT_THAT(Call(request), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("source")));
  request = Request();
  request.add_candidates();
  EXPECT_THAT(Call(request), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("at most 8")));
  request = Request();
  request.mutable_candidates(0)->set_text(std::string(1 << 20, 'x'));
  EXPECT_THAT(Call(request), StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("")));
}

TEST_F(RewardServiceTest, DeadlineHoldsDuringTheWork) {
  std::atomic<int64_t> seconds{1000};
  RewardServiceOptions options;
  options.deadline = absl::Seconds(5);
  options.now = [&] { return absl::FromUnixSeconds(seconds); };
  SceneLookup inner = lookup_;
  lookup_ = [&, inner](const std::string& id) {
    seconds += 6;  // the disk is slow
    return inner(id);
  };
  Start(options);
  EXPECT_THAT(Call(Request()), StatusIs(absl::StatusCode::kDeadlineExceeded, HasSubstr("deadline")));
  EXPECT_EQ(reply_.rewards_size(), 0);
  ASSERT_OK(Call(Request()));  // cached now
}

TEST_F(RewardServiceTest, FullQueueRefusesAndTheRestIsAnswered) {
  RewardServiceOptions options;
  options.max_queue = 1;
  absl::Notification entered, release;
  SceneLookup inner = lookup_;
  lookup_ = [&, inner](const std::string& id) {
    if (!entered.HasBeenNotified()) entered.Notify();
    release.WaitForNotification();
    return inner(id);
  };
  Start(options);
  std::atomic<int> ok{0};
  auto call = [&] {
    grpc::ClientContext context;
    v1::ScoreGroupReply reply;
    if (stub_->ScoreGroup(&context, Request(), &reply).ok()) ++ok;
  };
  std::thread first(call);
  entered.WaitForNotification();  // the only scoring thread is busy
  // One more fits the queue; of two calls exactly one is refused, whichever comes second.
  std::atomic<int> refused{0};
  absl::Notification one_refused;
  auto try_call = [&] {
    grpc::ClientContext context;
    v1::ScoreGroupReply reply;
    grpc::Status s = stub_->ScoreGroup(&context, Request(), &reply);
    if (s.ok()) ++ok;
    if (s.error_code() == grpc::RESOURCE_EXHAUSTED && refused++ == 0) one_refused.Notify();
  };
  std::thread second(try_call), third(try_call);
  one_refused.WaitForNotification();
  release.Notify();
  first.join();
  second.join();
  third.join();
  EXPECT_EQ(ok, 2);
  EXPECT_EQ(refused, 1);
}

}  // namespace
}  // namespace swerve
