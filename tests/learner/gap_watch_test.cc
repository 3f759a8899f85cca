// When the gap between the engine's and the learner's log-probabilities is somebody's fault.
#include "learner/gap_watch.h"

#include <gmock/gmock.h>

#include <cmath>

namespace swerve {
namespace {

using ::testing::HasSubstr;

TEST(GapWatch, RoundingOfTheEnginesTypeIsNoTrouble) {
  GapWatch watch;
  for (const double gap : {0.012, 0.02, 0.009, 0.03}) EXPECT_EQ(watch.See(gap), "") << gap;  // bfloat16
  EXPECT_NE(watch.See(0.05), "");
  EXPECT_EQ(watch.least(), 0.009);
  EXPECT_EQ(watch.See(std::nan("")), "");
  GapWatch exact;
  for (const double gap : {0.0, 1e-3}) EXPECT_EQ(exact.See(gap), "") << gap;
  EXPECT_NE(exact.See(3e-3), "");
}

TEST(GapWatch, AGapThatNoTypeExplainsIsTroubleFromTheFirstBatchOn) {
  GapWatch watch;
  for (const double gap : {3.3, 3.2}) EXPECT_THAT(watch.See(gap), HasSubstr("do not compute the same policy")) << gap;
  EXPECT_EQ(watch.See(6e-7), "");
  EXPECT_THAT(watch.See(0.02), HasSubstr("differed by 6e-07 before"));
  GapWatch rough;  // four times as much as before is allowed, up to a tenth
  EXPECT_EQ(rough.See(0.08), "");
  EXPECT_NE(rough.See(0.2), "");
}

}  // namespace
}  // namespace swerve
