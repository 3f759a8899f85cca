#include "pdm/comfort.h"

#include <gtest/gtest.h>

#include <vector>

namespace swerve::pdm {
namespace {

std::vector<double> Apply(const SavitzkyGolay& f, const std::vector<double>& y) {
  std::vector<double> out(y.size());
  f.Apply(y, out.data());
  return out;
}

// A polynomial of the filter's degree comes back unchanged, edges included; even windows are half a sample late inside.
TEST(SavitzkyGolay, ReproducesPolynomials) {
  std::vector<double> y;
  for (int i = 0; i < 41; ++i) y.push_back(1 - 0.2 * i + 0.03 * i * i);
  auto odd = Apply(SavitzkyGolay(5, 2, 0, 41), y);
  auto first = Apply(SavitzkyGolay(5, 2, 1, 41), y);
  auto second = Apply(SavitzkyGolay(5, 3, 2, 41), y);
  auto even = Apply(SavitzkyGolay(8, 2, 0, 41), y);
  for (int i = 0; i < 41; ++i) {
    EXPECT_NEAR(odd[i], y[i], 1e-8);
    EXPECT_NEAR(first[i], (-0.2 + 0.06 * i) / 0.1, 1e-7);
    EXPECT_NEAR(second[i], 0.06 / 0.01, 1e-6);
    double x = i < 4 || i >= 37 ? i : i + 0.5;
    EXPECT_NEAR(even[i], 1 - 0.2 * x + 0.03 * x * x, 1e-8) << i;
  }
}

TEST(SavitzkyGolay, InteriorCoefficients) {
  std::vector<double> impulse(41, 0.0);
  impulse[20] = 1;
  auto smooth = Apply(SavitzkyGolay(8, 2, 0, 41), impulse);
  double want[] = {-3, 3, 7, 9, 9, 7, 3, -3};
  for (int i = 0; i < 8; ++i) EXPECT_NEAR(smooth[20 - 4 + i], want[7 - i] / 32, 1e-8);
  auto rate = Apply(SavitzkyGolay(5, 2, 1, 41), impulse);
  for (int i = -2; i <= 2; ++i) EXPECT_NEAR(rate[20 + i], -i / 1.0, 1e-8);
}

TEST(RoundTo8, HalfToEven) {
  EXPECT_EQ(RoundTo8(0.123456784), 0.12345678);
  EXPECT_EQ(RoundTo8(-0.123456786), -0.12345679);
  EXPECT_EQ(RoundTo8(0x1p-9), 195312 / 1e8);  // 195312.5 units: the even neighbour is below
  EXPECT_EQ(RoundTo8(1e300), 1e300);
  EXPECT_TRUE(std::isnan(RoundTo8(std::nan(""))));
}

States Straight(double acceleration) {
  States s{};
  for (int t = 0; t < kSamples; ++t) {
    s[t].ax = acceleration;
    s[t].vx = 10 + 0.1 * acceleration * t;
  }
  return s;
}

TEST(ComfortV1, LimitsAreStrictAndPeaksSayWhere) {
  EXPECT_TRUE(Comfort::V1(0).Check(Straight(2.39)).all());
  ComfortResult r = Comfort::V1(0).Check(Straight(2.40));  // the bound itself is outside
  EXPECT_FALSE(r.holds[kLonAcc]);
  EXPECT_EQ(r.peak[kLonAcc].value, 2.40);
  EXPECT_TRUE(r.holds[kLatAcc] && r.holds[kJerk] && r.holds[kLonJerk] && r.holds[kYawAcc] && r.holds[kYawRate]);
  EXPECT_FALSE(Comfort::V1(0).Check(Straight(-4.05)).holds[kLonAcc]);
  EXPECT_TRUE(Comfort::V1(0).Check(Straight(-4.04)).all());
}

TEST(ComfortV1, HeadingIsUnwrapped) {
  States s = Straight(0);
  for (int t = 0; t < kSamples; ++t) s[t].heading = PrincipalValue(3.1 + 0.05 * t);  // 0.5 rad/s across pi
  EXPECT_TRUE(Comfort::V1(0).Check(s).all());
  for (int t = 0; t < kSamples; ++t) s[t].heading = PrincipalValue(3.1 + 0.1 * t);
  ComfortResult r = Comfort::V1(0).Check(s);
  EXPECT_FALSE(r.holds[kYawRate]);
  EXPECT_NEAR(r.peak[kYawRate].value, 1.0, 1e-6);
}

TEST(ComfortV1, NanFails) {
  States s = Straight(0);
  s[7].ax = std::nan("");
  EXPECT_FALSE(Comfort::V1(0).Check(s).all());
}

}  // namespace
}  // namespace swerve::pdm
