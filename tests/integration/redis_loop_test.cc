// Workers' appends, the learner's real loop and a real Redis that is killed in the middle of every other batch: each
// group is trained on exactly once, also by a learner that died between its checkpoint and its acknowledgement. The
// trainer is a fake, so this needs no LibTorch.
#include <gmock/gmock.h>

#include <filesystem>
#include <thread>

#include "base/files.h"
#include "base/status_matchers.h"
#include "buffers/redis_buffers.h"
#include "learner/loop.h"
#include "tests/testing/make_episode.h"
#include "tests/testing/redis_server.h"

namespace swerve {
namespace {

constexpr int kSteps = 6, kBatch = 4;

// Its weights are the list of groups it was trained on.
class ListTrainer final : public Trainer {
 public:
  explicit ListTrainer(std::function<void()> at_batch) : at_batch_(std::move(at_batch)) {}
  absl::StatusOr<std::map<std::string, double>> Train(const Batch& batch, const ObjectivePlan&) override {
    for (const BatchGroup& g : batch.groups) weights_ += absl::StrCat(g.group, " ");
    at_batch_();
    return std::map<std::string, double>{{"train/loss", 1.0}};
  }
  absl::Status SavePolicy(const std::string& dir) override {
    SWERVE_RETURN_IF_ERROR(MakeDirectories(dir));
    return WriteFileAtomically(dir + "/model.safetensors", weights_);
  }
  absl::Status SaveState(const std::string& dir) override { return WriteFileAtomically(dir + "/weights", weights_); }
  absl::Status LoadState(const std::string& dir) override {
    SWERVE_ASSIGN_OR_RETURN(weights_, ReadFile(dir + "/weights"));
    return absl::OkStatus();
  }
  const std::string& weights() const { return weights_; }

 private:
  const std::function<void()> at_batch_;
  std::string weights_;
};

// Fails one announcement: the learner ends after the checkpoint and before the acknowledgement.
class Line final : public OrchestratorLine {
 public:
  absl::Status Announce(const v1::PolicyManifest& policy) override {
    if (policy.step() == 3 && !failed_) {
      failed_ = true;
      return absl::InternalError("killed");
    }
    newest_ = policy;
    return absl::OkStatus();
  }
  absl::StatusOr<bool> Report(const std::map<std::string, double>&, uint64_t, bool, const std::string&) override { return false; }
  absl::StatusOr<v1::PolicyManifest> Newest() override { return newest_; }

 private:
  bool failed_ = false;
  v1::PolicyManifest newest_;
};

v1::Episode Usable(uint64_t group) {
  v1::Episode e = MakeEpisode(group);
  v1::Sample* sample = e.mutable_samples(0);
  sample->set_outcome(v1::OK);
  sample->mutable_reward()->set_traj(0.5);
  for (int t = 0; t < 3; ++t) {
    sample->mutable_response()->add_token_ids(t);
    sample->mutable_response()->add_logprobs(-0.5f);
  }
  return e;
}

TEST(RedisLoopTest, EveryGroupIsTrainedOnOnceThoughRedisAndTheLearnerDie) {
  RedisServer server({"", {"--appendfsync", "always"}, ""});
  ASSERT_OK(server.Start());
  const auto open = [&] {
    RedisBuffersOptions options;
    options.client.connection.url = *ParseRedisUrl(server.url());
    options.client.patience = absl::Seconds(60);
    options.run_id = "run";
    auto buffers = OpenRedisBuffers(options);
    EXPECT_TRUE(buffers.ok()) << buffers.status();
    return *std::move(buffers);
  };
  const auto workers_store = open();
  std::thread worker([&] {
    for (uint64_t g = 0; g < kSteps * kBatch; ++g) EXPECT_OK(workers_store->episodes().Append(Usable(g)));
  });

  v1::RunConfig config;
  config.mutable_learner()->set_steps(kSteps);
  config.mutable_learner()->set_batch_groups(kBatch);
  Line line;
  int batches = 0;
  std::string weights;
  const auto learn = [&] {  // a learner's process: everything fresh but disk, server and orchestrator
    ListTrainer trainer([&] {
      if (++batches % 2 == 1) {
        server.Kill();
        EXPECT_OK(server.Start());
      }
    });
    const auto buffers = open();
    LearnerLoop::Options options;
    options.config = config;
    options.run = RunDir(server.dir() + "/run");
    options.trainer = &trainer;
    options.episodes = &buffers->episodes();
    options.orchestrator = &line;
    options.images = [](const std::string&) { return std::shared_ptr<const Image>(); };
    options.stop_within = [](absl::Duration d) {
      absl::SleepFor(d);  // the worker is real, and so is the wait for it
      return false;
    };
    SWERVE_RETURN_IF_ERROR(options.run.Create());
    const absl::Status status = LearnerLoop(options).Run();
    weights = trainer.weights();
    return status;
  };
  EXPECT_THAT(learn(), StatusIs(absl::StatusCode::kInternal, testing::HasSubstr("killed")));
  EXPECT_EQ(workers_store->episodes().Stats()->acknowledged, 2u * kBatch);
  EXPECT_OK(learn());
  worker.join();
  std::vector<uint64_t> trained;
  std::istringstream in(weights);
  for (uint64_t g; in >> g;) trained.push_back(g);
  std::sort(trained.begin(), trained.end());
  ASSERT_EQ(trained.size(), static_cast<size_t>(kSteps * kBatch));
  for (uint64_t g = 0; g < trained.size(); ++g) EXPECT_EQ(trained[g], g);
  SWERVE_ASSERT_OK_AND_ASSIGN(const EpisodeStats stats, workers_store->episodes().Stats());
  EXPECT_EQ(stats.waiting(), 0u);
}

}  // namespace
}  // namespace swerve
