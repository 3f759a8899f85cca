#include "teacher_gateway/limits.h"

#include <gmock/gmock.h>

namespace swerve {
namespace {

using ::testing::HasSubstr;

const absl::Time kStart = absl::FromUnixSeconds(1'000'000);

TEST(LimitsTest, RequestsPerMinuteRefillEvenly) {
  v1::TeacherSpec spec;
  spec.set_requests_per_minute(2);
  TeacherLimits limits(spec, {});
  EXPECT_TRUE(limits.Admit(kStart, {}).go);
  EXPECT_TRUE(limits.Admit(kStart, {}).go);
  const Pass wait = limits.Admit(kStart, {});
  ASSERT_TRUE(wait.wait_until.has_value());
  EXPECT_EQ(wait.outcome, v1::RATE_LIMITED);
  EXPECT_NEAR(absl::ToDoubleSeconds(*wait.wait_until - kStart), 30, 1e-3);
  EXPECT_TRUE(limits.Admit(*wait.wait_until, {}).go);
  EXPECT_FALSE(limits.Admit(*wait.wait_until, {}).go);
}

TEST(LimitsTest, TokensAreTakenByEstimateAndGivenBackByCost) {
  v1::TeacherSpec spec;
  spec.set_tokens_per_minute(1000);
  TeacherLimits limits(spec, {});
  EXPECT_TRUE(limits.Admit(kStart, {900, 0}).go);
  EXPECT_FALSE(limits.Admit(kStart, {900, 0}).go);
  limits.Settle(kStart, {900, 0}, {50, 0}, true);
  EXPECT_TRUE(limits.Admit(kStart, {900, 0}).go);
  // One that is larger than a minute's worth goes when the bucket is full, not never.
  const Pass large = limits.Admit(kStart, {5000, 0});
  ASSERT_TRUE(large.wait_until.has_value());
  EXPECT_TRUE(limits.Admit(*large.wait_until, {5000, 0}).go);
}

TEST(LimitsTest, ConcurrentRequestsCannotPassABudgetTogether) {
  v1::TeacherSpec spec;
  spec.set_budget_tokens(1000);
  TeacherLimits limits(spec, {500, 0});  // an earlier process of the run spent half
  EXPECT_TRUE(limits.Admit(kStart, {400, 0}).go);
  const Pass over = limits.Admit(kStart, {400, 0});
  EXPECT_FALSE(over.go || over.wait_until.has_value());
  EXPECT_EQ(over.outcome, v1::OVER_BUDGET);
  EXPECT_THAT(over.detail, HasSubstr("budget_tokens of 1000"));
  limits.Settle(kStart, {400, 0}, {100, 0}, true);
  EXPECT_TRUE(limits.Admit(kStart, {400, 0}).go);
  limits.Settle(kStart, {400, 0}, {400, 0}, true);
  EXPECT_EQ(limits.Admit(kStart + absl::Hours(9), {1, 0}).outcome, v1::OVER_BUDGET);
  EXPECT_EQ(limits.spent().tokens, 1000);
}

TEST(LimitsTest, TheHoursBudgetComesBackWithTheNextHour) {
  v1::TeacherSpec spec;
  spec.set_budget_money_per_hour(1);
  TeacherLimits limits(spec, {});
  EXPECT_TRUE(limits.Admit(kStart, {10, 0.9}).go);
  limits.Settle(kStart, {10, 0.9}, {10, 0.9}, true);
  EXPECT_THAT(limits.Admit(kStart + absl::Minutes(59), {10, 0.9}).detail, HasSubstr("budget_money_per_hour"));
  EXPECT_TRUE(limits.Admit(kStart + absl::Minutes(60), {10, 0.9}).go);
}

TEST(LimitsTest, TheBreakerOpensTriesOnceAndCloses) {
  v1::TeacherSpec spec;
  spec.set_breaker_failures(2);
  spec.set_breaker_seconds(10);
  TeacherLimits limits(spec, {});
  for (int i = 0; i < 2; ++i) {
    EXPECT_TRUE(limits.Admit(kStart, {}).go);
    limits.Settle(kStart, {}, {}, false);
  }
  EXPECT_TRUE(limits.breaker_open(kStart));
  EXPECT_EQ(limits.Admit(kStart + absl::Seconds(9), {}).outcome, v1::UNAVAILABLE);
  const absl::Time later = kStart + absl::Seconds(10);
  EXPECT_TRUE(limits.Admit(later, {}).go);                         // one tries
  EXPECT_EQ(limits.Admit(later, {}).outcome, v1::UNAVAILABLE);     // the others do not
  limits.Settle(later, {}, {}, false);
  EXPECT_EQ(limits.Admit(later + absl::Seconds(9), {}).outcome, v1::UNAVAILABLE);
  EXPECT_TRUE(limits.Admit(later + absl::Seconds(10), {}).go);
  limits.Settle(later + absl::Seconds(10), {}, {}, true);
  EXPECT_TRUE(limits.Admit(later + absl::Seconds(10), {}).go);
  EXPECT_FALSE(limits.breaker_open(later + absl::Seconds(10)));
}

TEST(LimitsTest, ThePauseThatAServerAskedForHoldsForEverybody) {
  TeacherLimits limits(v1::TeacherSpec(), {});
  EXPECT_TRUE(limits.Admit(kStart, {}).go);
  limits.Settle(kStart, {}, {}, true, kStart + absl::Seconds(7));
  EXPECT_EQ(limits.Admit(kStart + absl::Seconds(6), {}).wait_until, kStart + absl::Seconds(7));
  EXPECT_TRUE(limits.Admit(kStart + absl::Seconds(7), {}).go);
}

TEST(LimitsTest, NewSettingsForgiveNothing) {
  v1::TeacherSpec spec;
  spec.set_budget_tokens(100);
  TeacherLimits limits(spec, {});
  EXPECT_TRUE(limits.Admit(kStart, {80, 0}).go);
  limits.Settle(kStart, {80, 0}, {80, 0}, true);
  spec.set_requests_per_minute(1);
  limits.Configure(spec);
  EXPECT_EQ(limits.Admit(kStart, {80, 0}).outcome, v1::OVER_BUDGET);
  EXPECT_TRUE(limits.Admit(kStart, {10, 0}).go);
  EXPECT_EQ(limits.Admit(kStart, {10, 0}).outcome, v1::RATE_LIMITED);
}

}  // namespace
}  // namespace swerve
