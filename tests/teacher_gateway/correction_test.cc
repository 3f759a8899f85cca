#include "teacher_gateway/correction.h"

#include <gtest/gtest.h>

#include <vector>

namespace swerve {
namespace {

std::vector<v1::Pose> Plan(const std::vector<std::array<double, 3>>& poses) {
  std::vector<v1::Pose> plan;
  for (const auto& [x, y, h] : poses) {
    v1::Pose& p = plan.emplace_back();
    p.set_x(x);
    p.set_y(y);
    p.set_heading(h);
  }
  return plan;
}

TEST(CorrectionTest, SteadyDrivingReadsItsSpeedAndDistance) {
  std::vector<std::array<double, 3>> poses;
  for (int i = 1; i <= 8; ++i) poses.push_back({2.5 * i, 0, 0});
  const Correction c = CorrectionOf(Plan(poses));
  EXPECT_DOUBLE_EQ(c.at2.speed, 5.0);
  EXPECT_DOUBLE_EQ(c.at4.speed, 5.0);
  EXPECT_DOUBLE_EQ(c.at2.travelled, 10.0);
  EXPECT_DOUBLE_EQ(c.at4.travelled, 20.0);
  EXPECT_LT(c.stop_s, 0);
  EXPECT_EQ(LongitudinalText(c), "speed 5.0 at 2 s, 5.0 at 4 s. travel 10.0 at 2 s, 20.0 at 4 s.");
  EXPECT_EQ(LateralText(c), "shift left 0.0 at 2 s, left 0.0 at 4 s. heading left 0.00 at 2 s, left 0.00 at 4 s.");
}

TEST(CorrectionTest, BrakingToAStopSaysWhen) {
  // 8 m/s, braking: standing after 2.5 s at 10 m.
  const Correction c = CorrectionOf(
      Plan({{3.5, 0, 0}, {6.5, 0, 0}, {8.5, 0, 0}, {9.6, 0, 0}, {10, 0, 0}, {10, 0, 0}, {10, 0, 0}, {10, 0, 0}}));
  EXPECT_DOUBLE_EQ(c.stop_s, 2.5);
  EXPECT_DOUBLE_EQ(c.at4.speed, 0.0);
  EXPECT_EQ(LongitudinalText(c), "stop by 2.5 s. speed 1.5 at 2 s, 0.0 at 4 s. travel 9.6 at 2 s, 10.0 at 4 s.");
}

TEST(CorrectionTest, SidesAreNamedAndTinyRightIsNotNegativeZero) {
  Correction c;
  c.at2.lateral = 1.46;
  c.at4.lateral = -0.31;
  c.at2.heading = -0.004;
  c.at4.heading = -0.21;
  EXPECT_EQ(LateralText(c), "shift left 1.5 at 2 s, right 0.3 at 4 s. heading left 0.00 at 2 s, right 0.21 at 4 s.");
}

}  // namespace
}  // namespace swerve
