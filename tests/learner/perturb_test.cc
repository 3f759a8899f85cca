// Mistakes must be mistakes: far enough from the plan to matter, and reproducible.
#include "learner/perturb.h"

#include <gmock/gmock.h>

#include <cmath>

namespace swerve {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::vector<v1::Pose> Straight(double speed) {
  std::vector<v1::Pose> plan(8);
  for (int i = 0; i < 8; ++i) plan[i].set_x(speed * 0.5 * (i + 1));
  return plan;
}

double Furthest(const std::vector<v1::Pose>& a, const std::vector<v1::Pose>& b) {
  double d = 0;
  for (size_t i = 0; i < a.size(); ++i) d = std::max(d, std::hypot(a[i].x() - b[i].x(), a[i].y() - b[i].y()));
  return d;
}

TEST(Mistakes, AreFiniteReproducibleAndMostlyFar) {
  const auto plan = Straight(8);
  for (int kind = 0; kind < kMistakes; ++kind) {
    int far = 0;
    for (uint64_t seed = 0; seed < 200; ++seed) {
      Random a(StreamSeed(seed, kind)), b(StreamSeed(seed, kind));
      const auto wrong = MakeMistake(static_cast<Mistake>(kind), plan, 8, a);
      const auto again = MakeMistake(static_cast<Mistake>(kind), plan, 8, b);
      ASSERT_EQ(wrong.size(), 8u);
      EXPECT_EQ(Furthest(wrong, again), 0);
      for (const v1::Pose& p : wrong) ASSERT_TRUE(std::isfinite(p.x() + p.y() + p.heading()));
      far += Furthest(wrong, plan) > 0.5;
    }
    // On a straight road at constant speed, constant velocity is no mistake unless the speed is misjudged.
    EXPECT_GT(far, kind == static_cast<int>(Mistake::kConstantVelocity) ? 100 : 190) << "mistake " << kind;
  }
}

TEST(Mistakes, StandingCarIsDrivenOff) {
  const std::vector<v1::Pose> plan(8);
  Random random(3);
  double furthest = 0;
  for (int i = 0; i < 20; ++i) furthest = std::max(furthest, Furthest(MakeMistake(Mistake::kSpeed, plan, 0, random), plan));
  EXPECT_GT(furthest, 3);
}

TEST(Mistakes, LateBrakingNeverRollsBack) {
  Random random(5);
  for (int i = 0; i < 50; ++i) {
    double x = 0;
    for (const v1::Pose& p : MakeMistake(Mistake::kLateBraking, Straight(6), 6, random)) {
      EXPECT_GE(p.x(), x);
      x = p.x();
    }
  }
}

TEST(OtherPlan, StartsLikeTheEgoMoves) {
  Random random(7);
  for (int i = 0; i < 200; ++i) {
    const auto other = OtherPlan(Straight(8), 8, random);
    ASSERT_EQ(other.size(), 8u);
    EXPECT_NEAR(other[0].x(), 4, 1.0);
    EXPECT_NEAR(other[0].y(), 0, 0.2);
  }
}

TEST(MisjudgeThink, ChangesNumbersOrWordsButNotForm) {
  const std::string think = "lead vehicle 18 m ahead speed 3.2 braking. merge none. interaction none. plan decelerate, keep.";
  int changed = 0;
  for (uint64_t seed = 0; seed < 100; ++seed) {
    Random random(seed);
    const std::string wrong = MisjudgeThink(think, random);
    changed += wrong != think;
    EXPECT_THAT(wrong, HasSubstr("plan "));
    EXPECT_THAT(wrong, Not(HasSubstr("..")));
  }
  EXPECT_GT(changed, 80);
}

TEST(BreakFormat, IsNeverTheResponse) {
  const std::string response = "<think>a. b.</think><answer>[1.0,0.0,0.00],[2.0,0.0,0.00],[3.0,0.0,0.00]</answer>";
  for (uint64_t seed = 0; seed < 60; ++seed) {
    Random random(seed);
    EXPECT_NE(BreakFormat(response, random), response);
  }
}

}  // namespace
}  // namespace swerve
