// Bytes as ScoreGroupRequest, through the scoring pool: inline scenes, weights, rules and peers included. The same bytes as a
// message of a stream, which the service takes apart itself: what protobuf reads in them, where it reads anything.
#include <cmath>

#include "reward_service/asked_group.h"
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

void TakeApart(absl::string_view bytes) {
  std::vector<GroupBytes> groups;
  std::vector<uint64_t> cancelled;
  const bool split = SplitStreamed(bytes, &groups, &cancelled);
  v1::ScoreStreamRequest message;
  if (!message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return;
  Require(split);
  Require(groups.size() == static_cast<size_t>(message.groups_size()));
  Require(cancelled == std::vector<uint64_t>(message.cancelled().begin(), message.cancelled().end()));
  for (size_t i = 0; i < groups.size(); ++i) {
    const v1::StreamedGroup& want = message.groups(static_cast<int>(i));
    Require(groups[i].id == want.id() && groups[i].timeout_ms == want.timeout_ms());
    v1::ScoreGroupRequest group;  // the last one where there are several, which protobuf would merge
    Require(group.ParseFromArray(groups[i].group.data(), static_cast<int>(groups[i].group.size())));
  }
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  TakeApart({reinterpret_cast<const char*>(data), size});
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
