// Bytes as ScoreGroupRequest, through the scoring pool: inline scenes, weights, rules and peers included.
#include <cmath>

#include "reward_service/scoring_pool.h"
#include "tests/fuzz/road.h"
#include "tests/fuzz/score_everything.h"

namespace {
using namespace swerve;
using swerve::testing::Require;

ScoringPool* Pool() {
  static const auto scene = std::make_shared<const v1::Scene>(swerve::testing::FuzzRoad());
  static ScoringPool pool({.max_candidates = 64}, [](const std::string& id) -> absl::StatusOr<std::shared_ptr<const v1::Scene>> {
    if (id != "road") return absl::NotFoundError("no such scene");
    return scene;
  });
  return &pool;
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  v1::ScoreGroupRequest request;
  if (!request.ParseFromArray(data, static_cast<int>(size))) return 0;
  const auto reply = Pool()->Score(request);
  if (!reply.ok()) {
    Require(absl::IsInvalidArgument(reply.status()) || absl::IsNotFound(reply.status()));
    Require(!reply.status().message().empty());
    return 0;
  }
  Require(reply->rewards_size() == request.candidates_size());
  for (const v1::Reward& reward : reply->rewards()) {
    swerve::testing::RequireScore(reward.traj());
    swerve::testing::RequireScore(reward.fmt());
    swerve::testing::RequireScore(reward.goal());
    for (const v1::RewardTerm& term : reward.terms()) Require(std::isfinite(term.value()) && !term.name().empty());
  }
  return 0;
}
