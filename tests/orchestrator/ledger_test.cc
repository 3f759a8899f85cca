#include "orchestrator/ledger.h"

#include "base/status_matchers.h"

namespace swerve {
namespace {

constexpr int64_t kSecond = 1000000;

std::vector<std::string> Scenes(int n) {
  std::vector<std::string> scenes;
  for (int i = 0; i < n; ++i) scenes.push_back(absl::StrCat("s", i));
  return scenes;
}

Ledger MakeLedger(int batch = 4, int staleness = 1, int scenes = 10) {
  LedgerOptions options;
  options.batch_groups = batch;
  options.max_staleness = staleness;
  options.lease_us = 10 * kSecond;
  return Ledger(options, SceneSampler(7, Scenes(scenes), 0));
}

v1::CompleteRequest Done(const v1::Lease& lease, const std::string& dropped = "") {
  v1::CompleteRequest request;
  request.set_worker("w");
  request.set_scene_id(lease.scene_id());
  request.set_group(lease.group());
  request.set_attempt(lease.attempt());
  request.set_dropped(dropped);
  return request;
}

// accepted + running < (max_staleness + version + 1) · batch_groups
TEST(LedgerTest, AdmissionFollowsTheVersion) {
  Ledger ledger = MakeLedger(/*batch=*/4, /*staleness=*/1);
  std::vector<v1::Lease> leases = ledger.Lease("w", 1, 100, 0);
  ASSERT_EQ(leases.size(), 8u);  // (1 + 0 + 1) · 4
  EXPECT_EQ(leases.back().group(), 7u);
  EXPECT_TRUE(ledger.Lease("v", 1, 100, 0).empty());
  for (const v1::Lease& lease : leases) EXPECT_TRUE(*ledger.Complete(Done(lease)));
  EXPECT_EQ(ledger.accepted(), 8u);
  EXPECT_TRUE(ledger.Lease("w", 1, 100, 0).empty());  // accepted ones count until the version moves
  ledger.SetVersion(1);
  leases = ledger.Lease("w", 1, 100, 0);
  ASSERT_EQ(leases.size(), 4u);  // 8 + 4 = (1 + 1 + 1) · 4
  EXPECT_EQ(leases.front().group(), 8u);
  ledger.SetVersion(0);  // the learner went back to a checkpoint
  EXPECT_TRUE(ledger.Lease("w", 1, 100, 0).empty());
}

TEST(LedgerTest, StalenessZeroIsOneBatchAtATime) {
  Ledger ledger = MakeLedger(4, 0);
  EXPECT_EQ(ledger.Lease("w", 1, 3, 0).size(), 3u);
  EXPECT_EQ(ledger.Lease("w", 1, 3, 0).size(), 1u);
  EXPECT_EQ(ledger.Lease("w", 1, 3, 0).size(), 0u);
}

TEST(LedgerTest, ExpiredLeaseIsGivenAgainUnderTheNextAttempt) {
  Ledger ledger = MakeLedger();
  const auto first = ledger.Lease("w", 1, 1, 0);
  ASSERT_EQ(first[0].attempt(), 1u);
  EXPECT_EQ(first[0].expires_us(), 10 * kSecond);
  const auto early = ledger.Lease("v", 1, 1, 10 * kSecond - 1);
  EXPECT_EQ(early[0].group(), 1u);
  const auto again = ledger.Lease("v", 1, 1, 10 * kSecond);
  EXPECT_EQ(again[0].group(), 0u);
  EXPECT_EQ(again[0].attempt(), 2u);
  EXPECT_EQ(again[0].scene_id(), first[0].scene_id());
  EXPECT_EQ(ledger.expired(), 1u);
  EXPECT_EQ(ledger.admitted(), 2u);
}

TEST(LedgerTest, ANewIncarnationFreesTheDeadOnesLeases) {
  Ledger ledger = MakeLedger();
  ledger.Lease("w", 1, 2, 0);
  const auto again = ledger.Lease("w", 2, 2, 1);
  ASSERT_EQ(again.size(), 2u);
  EXPECT_EQ(again[0].group(), 0u);
  EXPECT_EQ(again[0].attempt(), 2u);
  EXPECT_EQ(ledger.Lease("w", 2, 1, 2)[0].group(), 2u);  // its own are left alone
}

TEST(LedgerTest, FirstCompletionWinsAndCountsOnce) {
  Ledger ledger = MakeLedger();
  const auto slow = ledger.Lease("w", 1, 1, 0);
  const auto fast = ledger.Lease("v", 1, 1, 20 * kSecond);
  ASSERT_EQ(fast[0].group(), slow[0].group());
  EXPECT_TRUE(*ledger.Complete(Done(slow[0])));  // late, but its episode was first in the store
  EXPECT_FALSE(*ledger.Complete(Done(fast[0], kDroppedDuplicate)));
  EXPECT_FALSE(*ledger.Complete(Done(slow[0])));  // sent twice
  EXPECT_EQ(ledger.accepted(), 1u);
  EXPECT_EQ(ledger.running(), 0u);
  EXPECT_EQ(ledger.dropped(), 0u);
}

// The worker died between append and completion: the next attempt finds the group stored.
TEST(LedgerTest, DuplicateMeansStored) {
  Ledger ledger = MakeLedger();
  ledger.Lease("w", 1, 1, 0);
  const auto again = ledger.Lease("w", 2, 1, 1);
  EXPECT_TRUE(*ledger.Complete(Done(again[0], kDroppedDuplicate)));
  EXPECT_EQ(ledger.accepted(), 1u);
}

TEST(LedgerTest, DroppedGroupsAreTriedAgainThenGetAnotherScene) {
  Ledger ledger = MakeLedger();
  auto lease = ledger.Lease("w", 1, 1, 0);
  const std::string scene = lease[0].scene_id();
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(lease[0].scene_id(), scene);
    EXPECT_FALSE(*ledger.Complete(Done(lease[0], "teacher")));
    EXPECT_FALSE(*ledger.Complete(Done(lease[0], "teacher")));  // told twice, counted once
    lease = ledger.Lease("w", 1, 1, 0);
    EXPECT_EQ(lease[0].group(), 0u);
  }
  EXPECT_NE(lease[0].scene_id(), scene);
  EXPECT_EQ(lease[0].attempt(), 4u);
  EXPECT_EQ(ledger.drops().at("teacher"), 3u);
  EXPECT_EQ(ledger.accepted(), 0u);
}

TEST(LedgerTest, NothingButDropsIsHopeless) {
  Ledger ledger = MakeLedger();
  for (int i = 0; i < 300; ++i) {
    EXPECT_FALSE(ledger.hopeless());
    (void)ledger.Complete(Done(ledger.Lease("w", 1, 1, 0)[0], "scene"));
  }
  EXPECT_TRUE(ledger.hopeless());
}

TEST(LedgerTest, UnknownGroupIsRefused) {
  Ledger ledger = MakeLedger();
  v1::Lease lease;
  lease.set_group(5);
  EXPECT_THAT(ledger.Complete(Done(lease)),
              StatusIs(absl::StatusCode::kInvalidArgument, testing::HasSubstr("group 5")));
}

TEST(LedgerTest, RecoversWithoutInflatingAccepted) {
  Ledger before = MakeLedger();
  const auto leases = before.Lease("w", 1, 4, 0);
  EXPECT_TRUE(*before.Complete(Done(leases[1])));
  EXPECT_FALSE(*before.Complete(Done(leases[2], "teacher")));
  v1::LedgerState state;
  before.Save(&state);

  // Group 0 was appended, but the completion was lost with the orchestrator; group 1 is acknowledged already.
  Ledger after = MakeLedger();
  after.Restore(state, {0});
  EXPECT_EQ(after.admitted(), 4u);
  EXPECT_EQ(after.accepted(), 2u);
  EXPECT_EQ(after.drops().at("teacher"), 1u);
  EXPECT_FALSE(*after.Complete(Done(leases[0])));  // the worker's retry
  EXPECT_EQ(after.accepted(), 2u);
  EXPECT_TRUE(*after.Complete(Done(leases[3])));  // its worker is alive: the lease still holds
  const auto next = after.Lease("w", 1, 2, 0);
  ASSERT_EQ(next.size(), 2u);
  EXPECT_EQ(next[0].group(), 2u);
  EXPECT_EQ(next[0].attempt(), 2u);
  EXPECT_EQ(next[0].scene_id(), leases[2].scene_id());
  EXPECT_EQ(next[1].group(), 4u);
}

// Power failed after an append and before the state reached the disk.
TEST(LedgerTest, StateOlderThanTheStore) {
  Ledger ledger = MakeLedger();
  ledger.Restore(v1::LedgerState(), {0, 2});
  EXPECT_EQ(ledger.admitted(), 3u);
  EXPECT_EQ(ledger.accepted(), 2u);
  EXPECT_EQ(ledger.Lease("w", 1, 1, 0)[0].group(), 1u);
}

TEST(SceneSamplerTest, EverySceneOncePerPassAndAPureFunction) {
  SceneSampler a(3, Scenes(5), 0), b(3, Scenes(5), 0), other(4, Scenes(5), 0);
  std::set<std::string> pass;
  for (int g = 0; g < 5; ++g) pass.insert(a.Draw(g, 0, {}));
  EXPECT_EQ(pass.size(), 5u);
  bool differs = false;
  for (int g = 99; g >= 0; --g) {
    EXPECT_EQ(a.Draw(g, 0, {}), b.Draw(g, 0, {}));
    differs |= a.Draw(g, 0, {}) != other.Draw(g, 0, {});
  }
  EXPECT_TRUE(differs);
}

TEST(SceneSamplerTest, HardScenesComeOftener) {
  SceneSampler sampler(3, Scenes(4), 1.0);
  std::vector<v1::DifficultyRecord> records(2);
  records[0].set_scene_id("s0");  // always right
  records[0].set_attempts(100);
  records[0].set_mean(1.0);
  records[1].set_scene_id("s1");  // always wrong
  records[1].set_attempts(100);
  records[1].set_mean(0.0);
  sampler.SetDifficulty(records);
  std::map<std::string, int> counts;
  for (int g = 0; g < 1000; ++g) ++counts[sampler.Draw(g, 0, {"s2"})];
  EXPECT_LT(counts["s0"], 50);
  EXPECT_GT(counts["s1"], 350);
  EXPECT_EQ(counts["s2"], 0);  // busy
}

TEST(SceneSamplerTest, AmbiguousScenesWeighAsMuchAsHardOnes) {
  v1::DifficultyRecord record;
  record.set_attempts(9);
  record.set_mean(0.5);
  record.set_m2(8 * 0.25);  // standard deviation 0.5
  EXPECT_DOUBLE_EQ(DifficultyWeight(record), 1.0);
  record.set_mean(1.0);
  record.set_m2(0);
  EXPECT_DOUBLE_EQ(DifficultyWeight(record), 0.02);
  EXPECT_DOUBLE_EQ(DifficultyWeight(v1::DifficultyRecord()), 1.0);
}

}  // namespace
}  // namespace swerve
