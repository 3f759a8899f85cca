#include "orchestrator/service.h"

#include <unistd.h>

#include <filesystem>

#include "base/files.h"
#include "base/status_matchers.h"
#include "scenes/store.h"

namespace swerve {
namespace {

using testing::HasSubstr;

class ServiceTest : public testing::Test {
 protected:
  void SetUp() override {
    static int count = 0;
    root_ = absl::StrCat(testing::TempDir(), "/orchestrator", getpid(), "_", count++);
    ASSERT_OK(RunDir(root_).Create());
    Open();
  }

  // As a new process would, after a kill of the old one.
  void Open() {
    service_.reset();
    SWERVE_ASSERT_OK_AND_ASSIGN(buffers_, OpenBuffers("sqlite", root_, "run"));
    OrchestratorService::Options options;
    options.run = RunDir(root_);
    options.run_id = "run";
    options.config.mutable_learner()->set_batch_groups(2);
    options.scenes = {"a", "b", "c"};
    options.clock = [this] { return now_; };
    SWERVE_ASSERT_OK_AND_ASSIGN(service_, OrchestratorService::Create(std::move(options), buffers_.get()));
  }

  v1::LeaseReply Lease(uint32_t max) {
    v1::LeaseRequest request;
    request.set_worker("rollout-0");
    request.set_max_groups(max);
    v1::LeaseReply reply;
    EXPECT_TRUE(service_->LeaseScenes(nullptr, &request, &reply).ok());
    return reply;
  }
  void Append(const v1::Lease& lease) {
    v1::Episode episode;
    episode.set_run_id("run");
    episode.set_scene_id(lease.scene_id());
    episode.set_group(lease.group());
    episode.set_attempt(lease.attempt());
    ASSERT_OK(buffers_->episodes().Append(episode));
  }
  bool Complete(const v1::Lease& lease) {
    v1::CompleteRequest request;
    request.set_worker("rollout-0");
    request.set_scene_id(lease.scene_id());
    request.set_group(lease.group());
    request.set_attempt(lease.attempt());
    v1::CompleteReply reply;
    EXPECT_TRUE(service_->CompleteLease(nullptr, &request, &reply).ok());
    return reply.accepted();
  }
  v1::StatusReply Status() {
    v1::StatusReply reply;
    EXPECT_TRUE(service_->GetStatus(nullptr, nullptr, &reply).ok());
    return reply;
  }

  std::string root_;
  absl::Time now_ = absl::FromUnixSeconds(1000);
  std::unique_ptr<Buffers> buffers_;
  std::unique_ptr<OrchestratorService> service_;
};

TEST_F(ServiceTest, SurvivesAKillAtAnyPoint) {
  const v1::LeaseReply first = Lease(10);
  ASSERT_EQ(first.leases_size(), 4);  // (1 + 0 + 1) · 2
  EXPECT_EQ(first.run_id(), "run");
  EXPECT_EQ(first.policy().directory(), "models/tiny");
  Append(first.leases(0));
  EXPECT_TRUE(Complete(first.leases(0)));
  Append(first.leases(1));
  Open();  // killed between append and completion
  EXPECT_EQ(Status().groups_accepted(), 2u);
  EXPECT_EQ(Status().groups_running(), 2u);
  EXPECT_FALSE(Complete(first.leases(1)));
  EXPECT_EQ(Status().groups_accepted(), 2u);
  EXPECT_EQ(Lease(10).leases_size(), 0);  // the other leases still hold

  // The learner consumed and acknowledged both, then the orchestrator is killed again.
  const std::vector<uint64_t> groups = {0, 1};
  ASSERT_OK(buffers_->episodes().Ack(groups));
  v1::AnnounceRequest announce;
  announce.mutable_policy()->set_version(5);  // numbers may skip; batches count
  announce.mutable_policy()->set_step(1);
  announce.mutable_policy()->set_directory("w/v1");
  v1::AnnounceReply ignored;
  ASSERT_TRUE(service_->AnnouncePolicy(nullptr, &announce, &ignored).ok());
  Open();
  EXPECT_EQ(Status().groups_accepted(), 2u);
  EXPECT_EQ(Status().policy().directory(), "w/v1");
  now_ += absl::Hours(1);
  const v1::LeaseReply later = Lease(10);
  ASSERT_EQ(later.leases_size(), 4);  // groups 2 and 3 again, 4 and 5 new
  EXPECT_EQ(later.leases(0).group(), 2u);
  EXPECT_EQ(later.leases(0).attempt(), 2u);
  EXPECT_EQ(later.leases(3).group(), 5u);
}

TEST_F(ServiceTest, DrainAndFinishStopEveryRole) {
  v1::ReportRequest report;
  report.set_role("learner");
  report.set_step(3);
  (*report.mutable_values())["train/loss"] = 0.5;
  v1::ReportReply reply;
  ASSERT_TRUE(service_->Report(nullptr, &report, &reply).ok());
  EXPECT_FALSE(reply.stop());
  EXPECT_EQ(Status().step(), 3u);
  EXPECT_EQ(Status().roles(0).values().at("train/loss"), 0.5);
  v1::DrainRequest drain;
  v1::DrainReply drained;
  ASSERT_TRUE(service_->Drain(nullptr, &drain, &drained).ok());
  ASSERT_TRUE(service_->Report(nullptr, &report, &reply).ok());
  EXPECT_TRUE(reply.stop());
  EXPECT_TRUE(Lease(1).stop());
  Open();  // a new process leases again
  EXPECT_FALSE(Lease(1).stop());
  report.set_finished(true);
  ASSERT_TRUE(service_->Report(nullptr, &report, &reply).ok());
  EXPECT_TRUE(Lease(1).stop());
  EXPECT_TRUE(Status().finished());
}

// A learner's announcement may arrive after that of the one which replaced it.
TEST_F(ServiceTest, WeightVersionsOnlyGrow) {
  const auto announce = [&](int64_t version, const std::string& checksum) {
    v1::AnnounceRequest request;
    request.mutable_policy()->set_version(version);
    request.mutable_policy()->set_directory(absl::StrCat("w/v", version));
    request.mutable_policy()->set_checksum(checksum);
    v1::AnnounceReply reply;
    return service_->AnnouncePolicy(nullptr, &request, &reply);
  };
  ASSERT_TRUE(announce(5, "five").ok());
  EXPECT_TRUE(announce(5, "five").ok());  // its answer was lost
  EXPECT_THAT(FromGrpc(announce(5, "other")), StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("other bytes")));
  EXPECT_THAT(FromGrpc(announce(4, "four")), StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("not newer than 5")));
  EXPECT_EQ(Status().policy().checksum(), "five");
  ASSERT_TRUE(announce(6, "six").ok());
  EXPECT_EQ(Status().policy().version(), 6);
}

// On a full disk: a version that a restart would not know was never there.
TEST_F(ServiceTest, WhatCannotBeSavedIsNotAnnounced) {
  std::filesystem::create_directories(RunDir(root_).ledger() + "/in the way");
  v1::AnnounceRequest request;
  request.mutable_policy()->set_version(5);
  request.mutable_policy()->set_step(5);
  request.mutable_policy()->set_directory("w/v5");
  v1::AnnounceReply reply;
  EXPECT_FALSE(service_->AnnouncePolicy(nullptr, &request, &reply).ok());
  EXPECT_EQ(Status().policy().version(), 0);
  EXPECT_EQ(Status().step(), 0u);
}

TEST_F(ServiceTest, ADamagedStateFileIsNamed) {
  ASSERT_OK(WriteFileAtomically(RunDir(root_).ledger(), "\xff\xff garbage"));
  OrchestratorService::Options options;
  options.run = RunDir(root_);
  options.scenes = {"a"};
  EXPECT_THAT(OrchestratorService::Create(std::move(options), buffers_.get()).status(),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("ledger.pb")));
}

TEST_F(ServiceTest, TrainingScenesAreAllOrTheCuratedOnes) {
  v1::ScenesConfig config;
  EXPECT_THAT(TrainingScenes(config), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("scenes.train")));
  const std::string dir = root_ + "/scenes";
  SWERVE_ASSERT_OK_AND_ASSIGN(auto writer, SceneWriter::Create(dir));
  for (const char* id : {"x", "y", "z"}) {
    v1::Scene scene;
    scene.set_id(id);
    ASSERT_OK(writer->Add(scene));
  }
  ASSERT_OK(writer->Finish());
  config.add_train(dir);
  EXPECT_THAT(*TrainingScenes(config), testing::ElementsAre("x", "y", "z"));
  const std::string curated = root_ + "/kept.tsv";
  config.set_curated(curated);
  ASSERT_OK(WriteFileAtomically(curated, "# comment\nz\t0.1\t0.2\nx\n"));
  EXPECT_THAT(*TrainingScenes(config), testing::ElementsAre("z", "x"));
  ASSERT_OK(WriteFileAtomically(curated, "w\n"));
  EXPECT_THAT(TrainingScenes(config), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("scene w")));
  ASSERT_OK(WriteFileAtomically(curated, "# nothing\n"));
  EXPECT_THAT(TrainingScenes(config), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("keeps no scene")));
}

}  // namespace
}  // namespace swerve
