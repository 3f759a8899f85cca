// A candidate's score is the same bits alone and among others, whatever vectors the machine has; areas by look-up are
// those by asking every polygon.
#include "pdm/lanes.h"

#include <gtest/gtest.h>
#include <hwy/targets.h>

#include <algorithm>
#include <bit>
#include <random>

#include "pdm/score.h"
#include "pdm/score_v2.h"
#include "tests/pdm/golden_files.h"

namespace swerve::pdm {
namespace {

using Plan = std::vector<Pose2>;

// The scene's candidates, some that are invalid, and some that leave all that is known of the map.
std::vector<Plan> PlansOf(const v1::Scene& scene) {
  std::vector<Plan> out;
  for (const v1::Candidate& c : scene.candidates()) out.push_back(testing::PosesOf(c.poses()));
  Plan bad = out[0];
  bad[2].y = std::nan("");
  out.insert(out.begin() + 3, bad);
  out.insert(out.begin() + 5, Plan(3));
  Plan diverges = out[0], teleport = out[0];
  diverges[4].x = 1e300;
  out.insert(out.begin() + 7, diverges);
  teleport[6] = {1e5, -1e4, 40};
  out.push_back(teleport);
  return out;
}

std::string Bits(const Score& s) { return std::to_string(s.invalid) + s.scores.SerializeAsString() + s.facts.SerializeAsString(); }
std::string Bits(const ScoreV2& s) {
  std::string out = std::to_string(s.invalid) + s.facts.SerializeAsString();
  for (double v : {s.epdms, s.epdms_raw_no_ec, s.raw.ep, s.raw.hc, s.raw.lk, s.metrics.progress, s.ec.value_or(-1)}) {
    out += "," + std::to_string(std::bit_cast<uint64_t>(v));
  }
  return out;
}

TEST(Lanes, AScoreDoesNotDependOnTheBatch) {
  const SceneFile& file = testing::PublicScenes();
  std::mt19937 rng(3);
  for (size_t i = 0; i < file.scenes.size(); i += 4) {
    const v1::Scene& scene = file.scenes[i];
    SCOPED_TRACE(scene.id());
    auto one = PreparedScene::Create(scene, Rules::kV1).value(), two = PreparedScene::Create(scene, Rules::kV2).value();
    const std::vector<Plan> plans = PlansOf(scene);
    const auto previous = SimulatePrevious(scene, testing::PosesOf(scene.candidates(0).prev_poses()));
    const PreviousPlan* before = previous.has_value() ? &*previous : nullptr;
    std::vector<size_t> order(plans.size());
    for (size_t k = 0; k < order.size(); ++k) order[k] = k;
    for (int round = 0; round < 3; ++round) {
      std::vector<absl::Span<const Pose2>> spans;
      for (size_t k : order) spans.emplace_back(plans[k]);
      const auto v1 = ScoreTrajectories(*one, spans);
      const auto v2 = ScoreTrajectoriesV2(*two, spans, std::vector<const PreviousPlan*>(spans.size(), before), true);
      for (size_t k = 0; k < order.size(); ++k) {
        ASSERT_EQ(Bits(v1[k]), Bits(ScoreTrajectory(*one, spans[k]))) << order[k];
        ASSERT_EQ(Bits(v2[k]), Bits(ScoreTrajectoryV2(*two, spans[k], before, true))) << order[k];
      }
      std::shuffle(order.begin(), order.end(), rng);
    }
  }
}

TEST(Lanes, AScoreDoesNotDependOnTheMachinesVectors) {
  const SceneFile& file = testing::PublicScenes();
  for (size_t i = 1; i < file.scenes.size(); i += 9) {
    const v1::Scene& scene = file.scenes[i];
    const std::vector<Plan> plans = PlansOf(scene);
    const std::vector<absl::Span<const Pose2>> spans(plans.begin(), plans.end());
    std::vector<std::string> want;
    const int64_t supported = hwy::SupportedTargets();
    for (int64_t rest = supported; rest != 0; rest &= rest - 1) {  // from the widest down: those that are left
      hwy::SetSupportedTargetsForTest(rest);
      hwy::GetChosenTarget().Update(hwy::SupportedTargets());
      std::vector<std::string> got;
      auto one = PreparedScene::Create(scene, Rules::kV1).value(), two = PreparedScene::Create(scene, Rules::kV2).value();
      for (const Score& s : ScoreTrajectories(*one, spans)) got.push_back(Bits(s));
      for (const ScoreV2& s : ScoreTrajectoriesV2(*two, spans, {}, true)) got.push_back(Bits(s));
      if (want.empty()) want = got;
      EXPECT_EQ(got, want) << scene.id() << " without vectors above " << hwy::TargetName(rest & -rest);
    }
    hwy::SetSupportedTargetsForTest(0);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
  }
}

TEST(AreaGrid, AnswersAsThePolygonsDo) {
  std::mt19937 rng(5);
  for (const v1::Scene& scene : testing::PublicScenes().scenes) {
    SCOPED_TRACE(scene.id());
    auto prepared = PreparedScene::Create(scene, Rules::kV2).value();
    const DrivableMap& with = prepared->map();
    ASSERT_FALSE(with.grid().empty());
    const DrivableMap without(with.areas(), with.centreline());
    std::uniform_real_distribution<double> at(-40, 40), angle(-3.1, 3.1);
    for (int n = 0; n < 40; ++n) {
      States states{};
      for (EgoRow& r : states) r.x = at(rng), r.y = at(rng), r.heading = angle(rng);
      Motion motion;
      MakeMotion(PackStates(states), 0, &motion);
      const AreasAlong a = with.Along(motion), b = without.Along(motion);
      ASSERT_EQ(a.flags, b.flags);
      ASSERT_EQ(a.crossing, b.crossing);
      for (const EgoRow& r : states) ASSERT_EQ(with.InIntersection({r.x, r.y}), without.InIntersection({r.x, r.y}));
    }
  }
}

TEST(LaneDirection, IsWithinAnUlpOfTheLibrary) {
  for (double a = -std::numbers::pi; a <= std::numbers::pi; a += 1e-3) {
    const Vec2 u = LaneDirection(a);
    ASSERT_NEAR(u.x, std::cos(a), 2.3e-16) << a;
    ASSERT_NEAR(u.y, std::sin(a), 2.3e-16) << a;
  }
  EXPECT_NEAR(LaneDirection(1e6).x, std::cos(1e6), 1e-9);
}

}  // namespace
}  // namespace swerve::pdm
