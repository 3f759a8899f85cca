// Candidates of a good scene. The input is a row of doubles, three a pose, after two bytes: how many poses at most, and
// what the response's text starts with. Every score is defined, the same twice, and independent of the batch.
#include <cstring>

#include "reward_service/rewards.h"
#include "tests/fuzz/road.h"
#include "tests/fuzz/score_everything.h"

namespace {
using namespace swerve;

struct Prepared {
  std::shared_ptr<const RewardTarget> v1 = PrepareTarget(swerve::testing::FuzzRoad()).value();
  std::shared_ptr<const pdm::PreparedScene> v2 =
      pdm::PreparedScene::Create(swerve::testing::FuzzRoad(), pdm::Rules::kV2).value();
};
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const Prepared* const prepared = new Prepared;
  if (size < 2) return 0;
  v1::ScoreCandidate candidate;
  candidate.set_parse(static_cast<v1::ParseStatus>(data[0] >> 6));
  std::vector<pdm::Pose2> plan;
  for (size_t at = 2; at + 24 <= size && candidate.poses_size() < (data[0] & 63); at += 24) {
    double v[3];
    memcpy(v, data + at, sizeof v);
    v1::Pose* p = candidate.add_poses();
    p->set_x(v[0]), p->set_y(v[1]), p->set_heading(v[2]);
    plan.push_back({v[0], v[1], v[2]});
  }
  const char* const starts[] = {"", "<think>", "<think></think><answer>", "<answer></think>"};
  candidate.set_text(starts[data[1] & 3] + std::string(reinterpret_cast<const char*>(data), std::min<size_t>(size, 4096)));
  v1::RewardWeights weights = UnitWeights();
  const v1::Reward reward = ScoreCandidate(*prepared->v1, candidate, weights);
  for (double r : {reward.traj(), reward.fmt(), reward.goal(), reward.scores().ep(), reward.scores().nc()}) {
    swerve::testing::RequireScore(r);
  }
  swerve::testing::Require(reward.invalid() == v1::INVALID_REASON_UNSPECIFIED || reward.traj() == 0);
  swerve::testing::Require(ScoreCandidate(*prepared->v1, candidate, weights).SerializeAsString() == reward.SerializeAsString());
  swerve::testing::RequireScore(pdm::ScoreTrajectoryV2(*prepared->v2, plan).epdms);
  return 0;
}
