// What every fuzzer of scenes does with one that could be read: all that a service or tool would do with it.
#ifndef SWERVE_TESTS_FUZZ_SCORE_EVERYTHING_H_
#define SWERVE_TESTS_FUZZ_SCORE_EVERYTHING_H_

#include <cmath>
#include <cstdlib>
#include <vector>

#include "pdm/resolve.h"
#include "pdm/score.h"
#include "pdm/score_v2.h"
#include "scenes/validate.h"
#include "swerve/v1/scene.pb.h"
#include "tests/fuzz/require.h"

namespace swerve::testing {

// A score is in [0, 1] or is not given at all.
inline void RequireScore(double score) { Require(score >= 0 && score <= 1); }

inline std::vector<std::vector<pdm::Pose2>> PlansOf(const v1::Scene& scene) {
  auto read = [](const auto& poses) {
    std::vector<pdm::Pose2> plan;
    for (const v1::Pose& p : poses) plan.push_back({p.x(), p.y(), p.heading()});
    return plan;
  };
  std::vector<std::vector<pdm::Pose2>> plans = {std::vector<pdm::Pose2>(pdm::kPoses), read(scene.gt()), read(scene.human())};
  for (const v1::Candidate& c : scene.candidates()) {
    if (plans.size() < 8) plans.push_back(read(c.poses()));
  }
  return plans;
}

inline void ScoreAllPlans(const v1::Scene& scene) {
  const auto plans = PlansOf(scene);
  for (pdm::Rules rules : {pdm::Rules::kV1, pdm::Rules::kV2}) {
    const auto prepared = pdm::PreparedScene::Create(scene, rules);
    if (!prepared.ok()) {
      Require(!prepared.status().message().empty());
      continue;
    }
    for (const auto& plan : plans) {
      if (rules == pdm::Rules::kV1) {
        RequireScore(pdm::ScoreTrajectory(**prepared, plan).scores.pdms());
      } else {
        const auto previous = pdm::SimulatePrevious(scene, plan);
        RequireScore(pdm::ScoreTrajectoryV2(**prepared, plan, previous.has_value() ? &*previous : nullptr).epdms);
      }
    }
  }
}

inline void ScoreEverything(v1::Scene scene) {
  ValidateScene(scene);
  ScoreAllPlans(scene);
  if (pdm::ResolveBoth(&scene).ok()) ScoreAllPlans(scene);
}

}  // namespace swerve::testing

#endif  // SWERVE_TESTS_FUZZ_SCORE_EVERYTHING_H_
