#include "buffers/difficulty_store.h"

#include <gtest/gtest.h>

namespace swerve {
namespace {

TEST(DifficultyTest, VarianceNeedsTwoResponses) {
  v1::DifficultyRecord record;
  EXPECT_EQ(Variance(record), 0.0);
  AddOutcome({{0.5}, {1.0}, 0}, &record);
  EXPECT_EQ(Variance(record), 0.0);
}

TEST(DifficultyTest, TotalFailureMeansEveryOriginalScoredZero) {
  v1::DifficultyRecord record;
  AddOutcome({{0.0, 0.1}, {1.0, 1.0}, 0}, &record);
  EXPECT_EQ(record.total_failures(), 0u);
  AddOutcome({{0.0, 0.0}, {1.0, 1.0}, 0}, &record);
  EXPECT_EQ(record.total_failures(), 1u);
}

}  // namespace
}  // namespace swerve
