// A reward service over real gRPC, on one scene of the golden files.
#ifndef SWERVE_TESTS_REWARD_SERVICE_SERVICE_FIXTURE_H_
#define SWERVE_TESTS_REWARD_SERVICE_SERVICE_FIXTURE_H_

#include <atomic>
#include <memory>
#include <string>

#include "absl/synchronization/notification.h"
#include "base/status_matchers.h"
#include "reward_service/service.h"
#include "tests/pdm/golden_files.h"

namespace swerve {

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
    server_.reset();
    service_.reset();
    pool_.reset();
  }
  void Start(const ScoringOptions& options = {}) {
    pool_ = std::make_unique<ScoringPool>(options, lookup_);
    service_ = std::make_unique<RewardService>(pool_.get());
    GrpcServer::Options server;
    server.max_message_bytes = 256 << 10;
    server_ = GrpcServer::Start(server, service_->registrations()).value();
    const auto channel = grpc::CreateChannel(server_->address(), grpc::InsecureChannelCredentials());
    stub_ = v1::RewardService::NewStub(channel);
    batch_stub_ = v1::RewardBatchService::NewStub(channel);
  }
  v1::ScoreGroupRequest Request(const std::string& id = "known", int candidates = 8) {
    v1::ScoreGroupRequest request;
    request.set_scene_id(id);
    for (int i = 0; i < candidates; ++i) {
      v1::ScoreCandidate* c = request.add_candidates();
      *c->mutable_poses() = scene_->gt();
      c->set_parse(v1::EXACT);
    }
    return request;
  }
  // Holds the first lookup until release_ is notified; `entered_` says that it has begun.
  void HoldLookups() {
    lookup_ = [this, inner = lookup_](const std::string& id) {
      if (!entered_.HasBeenNotified()) entered_.Notify();
      release_.WaitForNotification();
      return inner(id);
    };
  }
  absl::Status Call(const v1::ScoreGroupRequest& request) {
    grpc::ClientContext context;
    return FromGrpc(stub_->ScoreGroup(&context, request, &reply_));
  }

  std::shared_ptr<v1::Scene> scene_;
  std::atomic<int> lookups_{0};
  SceneLookup lookup_;
  std::unique_ptr<ScoringPool> pool_;
  std::unique_ptr<RewardService> service_;
  std::unique_ptr<GrpcServer> server_;
  std::unique_ptr<v1::RewardService::Stub> stub_;
  std::unique_ptr<v1::RewardBatchService::Stub> batch_stub_;
  v1::ScoreGroupReply reply_;
  absl::Notification entered_, release_;
};

}  // namespace swerve

#endif  // SWERVE_TESTS_REWARD_SERVICE_SERVICE_FIXTURE_H_
