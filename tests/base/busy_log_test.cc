// The share of a run's wall time in which nobody works.
#include "base/busy_log.h"

#include <filesystem>
#include <fstream>

#include "base/status_matchers.h"

namespace swerve {
namespace {

constexpr int64_t kSecond = 1'000'000;

BusyInterval Seconds(const std::string& role, int64_t start, int64_t end) {
  return {role, start * kSecond, end * kSecond};
}

TEST(BusyShares, OverlappingWorkCountsOnce) {
  const BusyShares s = SharesOf({Seconds("run", 0, 0), Seconds("rollout-1", 20, 50), Seconds("learner", 40, 60),
                                 Seconds("rollout-0", 10, 30), Seconds("reward", 60, 90), Seconds("run", 0, 100)});
  EXPECT_DOUBLE_EQ(s.wall_seconds, 100);
  EXPECT_DOUBLE_EQ(s.generating, 0.4);
  EXPECT_DOUBLE_EQ(s.training, 0.2);
  EXPECT_DOUBLE_EQ(s.idle, 0.5);
}

TEST(BusyShares, ThePauseBeforeAResumptionIsNotTheRuns) {
  // The first session was killed: it has no end of its own.
  const BusyShares s = SharesOf({Seconds("run", 0, 0), Seconds("learner", 5, 10), Seconds("run", 1000, 1000),
                                 Seconds("rollout-0", 1000, 1005), Seconds("run", 1000, 1010)});
  EXPECT_DOUBLE_EQ(s.wall_seconds, 20);
  EXPECT_DOUBLE_EQ(s.idle, 0.5);
}

TEST(BusyShares, RolesStartedByHandAndNothingAtAll) {
  const BusyShares s = SharesOf({Seconds("learner", 10, 20), Seconds("rollout-0", 30, 50)});
  EXPECT_DOUBLE_EQ(s.wall_seconds, 40);
  EXPECT_DOUBLE_EQ(s.idle, 0.25);
  EXPECT_EQ(SharesOf({}).wall_seconds, 0);
  EXPECT_EQ(SharesOf({Seconds("run", 7, 7)}).idle, 0);
}

TEST(BusyLog, ManyWritersOneFileBrokenLinesSkipped) {
  const RunDir run(testing::TempDir() + "/busy");
  std::filesystem::remove_all(run.root());
  EXPECT_THAT(ReadBusy(run), StatusIs(absl::StatusCode::kNotFound, testing::_));
  SWERVE_ASSERT_OK_AND_ASSIGN(const auto a, BusyLog::Open(run, "rollout-0"));
  SWERVE_ASSERT_OK_AND_ASSIGN(const auto b, BusyLog::Open(run, "learner"));
  a->Add(absl::FromUnixMicros(1), absl::FromUnixMicros(5));
  std::ofstream(run.root() + "/busy.jsonl", std::ios::app) << "{\"role\":\"learner\",\"start\n[]\n{\"role\":3}\n";
  b->Add(absl::FromUnixMicros(2), absl::FromUnixMicros(9));
  SWERVE_ASSERT_OK_AND_ASSIGN(const auto read, ReadBusy(run));
  ASSERT_EQ(read.size(), 2u);
  EXPECT_EQ(read[0].role, "rollout-0");
  EXPECT_EQ(read[1].end_us, 9);
}

}  // namespace
}  // namespace swerve
