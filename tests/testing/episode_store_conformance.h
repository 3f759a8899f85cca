// What every implementation of Buffers promises (buffers/episode_store.h, difficulty_store.h), as one suite.
//
//   INSTANTIATE_TEST_SUITE_P(Sqlite, BuffersConformance, testing::Values([] { return …; }));
//
// The factory makes a fresh, empty Buffers for the run "run".
#ifndef SWERVE_TESTS_TESTING_EPISODE_STORE_CONFORMANCE_H_
#define SWERVE_TESTS_TESTING_EPISODE_STORE_CONFORMANCE_H_

#include <gmock/gmock.h>

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/status_matchers.h"
#include "buffers/buffers.h"
#include "tests/testing/make_episode.h"

namespace swerve {

using BuffersFactory = std::function<std::unique_ptr<Buffers>()>;

class BuffersConformance : public testing::TestWithParam<BuffersFactory> {
 protected:
  void SetUp() override { buffers_ = GetParam()(); }
  EpisodeStore& store() { return buffers_->episodes(); }
  DifficultyStore& difficulty() { return buffers_->difficulty(); }
  std::vector<uint64_t> Waiting(uint64_t min = 0, int max = 1000) {
    auto read = store().Read(min, max);
    EXPECT_TRUE(read.ok()) << read.status();
    return read.ok() ? GroupsOf(*read) : std::vector<uint64_t>{};
  }
  std::unique_ptr<Buffers> buffers_;
};

TEST_P(BuffersConformance, ReadsInGroupOrderWhateverTheOrderOfAppends) {
  for (uint64_t g : {5, 1, 9, 3}) ASSERT_OK(store().Append(MakeEpisode(g)));
  EXPECT_THAT(Waiting(), testing::ElementsAre(1, 3, 5, 9));
  EXPECT_THAT(Waiting(2, 2), testing::ElementsAre(3, 5));
  EXPECT_THAT(Waiting(10), testing::IsEmpty());
  EXPECT_THAT(Waiting(0, 0), testing::IsEmpty());
}

TEST_P(BuffersConformance, KeepsEveryByte) {
  v1::Episode e = MakeEpisode(4);
  e.mutable_samples(0)->mutable_response()->add_logprobs(-0.1f);
  e.mutable_samples(0)->mutable_reward()->set_traj(0.1);
  e.add_refinements()->set_selected(true);
  ASSERT_OK(store().Append(e));
  SWERVE_ASSERT_OK_AND_ASSIGN(auto read, store().Read(0, 10));
  ASSERT_EQ(read.size(), 1u);
  EXPECT_EQ(read[0].SerializeAsString(), e.SerializeAsString());
}

TEST_P(BuffersConformance, AppendIsIdempotent) {
  ASSERT_OK(store().Append(MakeEpisode(1)));
  ASSERT_OK(store().Append(MakeEpisode(1)));
  EXPECT_THAT(Waiting(), testing::ElementsAre(1));
  SWERVE_ASSERT_OK_AND_ASSIGN(EpisodeStats stats, store().Stats());
  EXPECT_EQ(stats.appended, 1u);
}

TEST_P(BuffersConformance, RefusesASecondAttemptEvenAfterTheAck) {
  ASSERT_OK(store().Append(MakeEpisode(1, "scene", 1)));
  EXPECT_THAT(store().Append(MakeEpisode(1, "scene", 2)), StatusIs(absl::StatusCode::kAlreadyExists, testing::_));
  EXPECT_THAT(store().Append(MakeEpisode(1, "other", 1)), StatusIs(absl::StatusCode::kAlreadyExists, testing::_));
  ASSERT_OK(store().Ack({1}));
  EXPECT_THAT(store().Append(MakeEpisode(1, "scene", 2)), StatusIs(absl::StatusCode::kAlreadyExists, testing::_));
  ASSERT_OK(store().Append(MakeEpisode(1, "scene", 1)));  // the late repeat of what was trained already
  EXPECT_THAT(Waiting(), testing::IsEmpty());
}

TEST_P(BuffersConformance, RefusesEpisodesThatAreNotTheRuns) {
  v1::Episode e = MakeEpisode(1);
  e.set_run_id("another");
  EXPECT_THAT(store().Append(e), StatusIs(absl::StatusCode::kFailedPrecondition, testing::HasSubstr("another")));
  e.clear_run_id();
  EXPECT_THAT(store().Append(e), StatusIs(absl::StatusCode::kInvalidArgument, testing::_));
  EXPECT_THAT(Waiting(), testing::IsEmpty());
}

TEST_P(BuffersConformance, AcknowledgedEpisodesAreNeverReadAgain) {
  for (uint64_t g = 0; g < 4; ++g) ASSERT_OK(store().Append(MakeEpisode(g)));
  EXPECT_THAT(Waiting(), testing::ElementsAre(0, 1, 2, 3));  // reading alone takes nothing away
  ASSERT_OK(store().Ack({0, 2}));
  EXPECT_THAT(Waiting(), testing::ElementsAre(1, 3));
  ASSERT_OK(store().Ack({0}));  // idempotent
  ASSERT_OK(store().Ack({}));
  SWERVE_ASSERT_OK_AND_ASSIGN(EpisodeStats stats, store().Stats());
  EXPECT_EQ(stats.appended, 4u);
  EXPECT_EQ(stats.acknowledged, 2u);
  EXPECT_EQ(stats.waiting(), 2u);
}

TEST_P(BuffersConformance, AckIsAllOrNothing) {
  ASSERT_OK(store().Append(MakeEpisode(1)));
  EXPECT_THAT(store().Ack({1, 99}), StatusIs(absl::StatusCode::kNotFound, testing::HasSubstr("99")));
  EXPECT_THAT(Waiting(), testing::ElementsAre(1));
}

TEST_P(BuffersConformance, ManyThreadsAppendEachGroupOnce) {
  std::vector<std::thread> threads;
  std::atomic<int> refused{0};
  for (uint32_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (uint64_t g = 0; g < 10; ++g) {
        const absl::Status s = store().Append(MakeEpisode(g, "scene", t));
        if (absl::IsAlreadyExists(s)) ++refused;
        else EXPECT_OK(s);
      }
    });
  }
  for (auto& t : threads) t.join();
  EXPECT_EQ(refused, 30);
  EXPECT_EQ(Waiting().size(), 10u);
}

TEST_P(BuffersConformance, DifficultyIsTheMeanAndVarianceOfAllResponses) {
  EXPECT_THAT(difficulty().Get("s"), StatusIs(absl::StatusCode::kNotFound, testing::HasSubstr("s")));
  ASSERT_OK(difficulty().Update("s", {{0.0, 0.0}, {1.0, 0.5}, 3}));
  ASSERT_OK(difficulty().Update("s", {{1.0, 0.6}, {1.0, 1.0}, 2}));
  ASSERT_OK(difficulty().Update("s", {{}, {}, 9}));  // nothing was scored
  SWERVE_ASSERT_OK_AND_ASSIGN(v1::DifficultyRecord r, difficulty().Get("s"));
  EXPECT_EQ(r.scene_id(), "s");
  EXPECT_EQ(r.attempts(), 4u);
  EXPECT_NEAR(r.mean(), 0.4, 1e-12);
  EXPECT_NEAR(Variance(r), (0.16 + 0.16 + 0.36 + 0.04) / 3, 1e-12);
  EXPECT_NEAR(r.format_mean(), 0.875, 1e-12);
  EXPECT_EQ(r.last_version(), 3);
  EXPECT_EQ(r.groups(), 2u);
  EXPECT_EQ(r.total_failures(), 1u);
}

TEST_P(BuffersConformance, ConcurrentDifficultyUpdatesAllCount) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 5; ++i) EXPECT_OK(difficulty().Update("s", {{1.0}, {1.0}, 0}));
    });
  }
  for (auto& t : threads) t.join();
  ASSERT_OK(difficulty().Update("a", {{1.0}, {1.0}, 0}));
  SWERVE_ASSERT_OK_AND_ASSIGN(auto all, difficulty().All());
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[0].scene_id(), "a");
  EXPECT_EQ(all[1].attempts(), 20u);
}

}  // namespace swerve

#endif  // SWERVE_TESTS_TESTING_EPISODE_STORE_CONFORMANCE_H_
