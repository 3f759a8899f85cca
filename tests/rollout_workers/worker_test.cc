// The whole worker with scripted services: what it stores, and what it does when something fails.
#include "rollout_workers/worker.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <atomic>
#include <set>

#include "base/status_matchers.h"
#include "policy/fake_engine.h"
#include "tests/testing/fake_buffers.h"
#include "tests/testing/fake_services.h"

namespace swerve {
namespace {

using ::testing::Contains;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

// Originals score 0.3; refinements under "better" score 0.9.
std::string Script(const Prompt& prompt, uint64_t) {
  return prompt.text.find("feedback: better") != std::string::npos ? "0.9" : "0.3";
}

struct Fixture {
  explicit Fixture(int groups, FakeEngine::Script script = Script)
      : engine(std::move(script), 16), reward([](const std::string& t) { return std::stod(t); }),
        orchestrator(groups, 3) {
    config.mutable_rollout()->set_num_generations(4);
    config.mutable_rollout()->set_groups_in_flight(4);
    config.mutable_teacher()->set_kind("oracle");
    options.idle_poll = absl::Milliseconds(1);
    options.report_every = absl::Milliseconds(5);
  }

  absl::Status Run(std::function<bool()> stop = [] { return false; }) {
    WorkerParts parts{&engine, &reward, &teacher, &orchestrator, &buffers,
                      [](const std::string& id) -> absl::StatusOr<std::shared_ptr<const v1::Scene>> {
                        auto scene = std::make_shared<v1::Scene>();
                        scene->set_id(id);
                        scene->mutable_ego()->mutable_rear_axle();
                        return scene;
                      }};
    worker = std::make_unique<Worker>(config, parts, options);
    return worker->Run(stop);
  }
  std::vector<v1::Episode> Episodes() {
    auto read = buffers.Read(0, 1000);
    return *std::move(read);
  }

  v1::RunConfig config;
  FakeEngine engine;
  FakeReward reward;
  FakeTeacher teacher;
  FakeOrchestrator orchestrator;
  FakeBuffers buffers;
  WorkerOptions options;
  std::unique_ptr<Worker> worker;
};

TEST(WorkerTest, EveryGroupBecomesOneEpisodeWithItsRefinement) {
  Fixture f(30);
  ASSERT_OK(f.Run());
  const auto episodes = f.Episodes();
  ASSERT_EQ(episodes.size(), 30u);
  for (const v1::Episode& e : episodes) {
    EXPECT_EQ(e.samples_size(), 4);
    EXPECT_EQ(e.refinements_size(), 4);
    EXPECT_EQ(std::count_if(e.refinements().begin(), e.refinements().end(), [](const auto& r) { return r.selected(); }),
              1);
  }
  EXPECT_EQ(f.orchestrator.accepted().size(), 30u);
  EXPECT_THAT(f.orchestrator.dropped(), IsEmpty());
  SWERVE_ASSERT_OK_AND_ASSIGN(const auto record, f.buffers.Get("s0"));
  EXPECT_EQ(record.attempts(), 40u);
  EXPECT_NEAR(record.mean(), 0.3, 1e-12);
}

// Each in a call of its own, so that the engine can take in the next as soon as one has ended.
TEST(WorkerTest, KeepsAsManyGroupsInTheEngineAsAreToBeInFlight) {
  absl::Mutex mutex;
  int inside = 0, most = 0;
  bool met = false;
  Fixture f(32, [&](const Prompt& prompt, uint64_t seed) {
    absl::MutexLock lock(&mutex);
    most = std::max(most, ++inside);
    met = met || inside == 4;
    mutex.AwaitWithTimeout(absl::Condition(&met), absl::Seconds(20));  // the first four wait for each other
    --inside;
    return Script(prompt, seed);
  });
  ASSERT_OK(f.Run());
  EXPECT_TRUE(met);
  EXPECT_EQ(most, 4);
  EXPECT_EQ(f.engine.calls(), 64);  // originals and refinements of 32 groups
  EXPECT_LE(f.orchestrator.largest_lease(), 8);
  EXPECT_EQ(f.Episodes().size(), 32u);
}

TEST(WorkerTest, DeterministicModeGoesGroupByGroup) {
  const auto run = [](std::vector<v1::Episode>* episodes) {
    Fixture f(6);
    f.config.set_deterministic(true);
    ASSERT_OK(f.Run());
    EXPECT_EQ(f.engine.calls(), 12);
    EXPECT_EQ(f.orchestrator.largest_lease(), 1);
    EXPECT_THAT(f.orchestrator.accepted(), ElementsAre(0, 1, 2, 3, 4, 5));
    *episodes = f.Episodes();
  };
  std::vector<v1::Episode> a, b;
  run(&a);
  run(&b);
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) EXPECT_EQ(a[i].SerializeAsString(), b[i].SerializeAsString());
}

// A group's tokens are counted as it ends: most reports see none.
TEST(WorkerTest, TokensASecondAreThoseOfHalfAMinute) {
  const absl::Time begin = absl::UnixEpoch();
  RolloutStats stats(begin);
  const auto rate = [&](int second) { return stats.Report(begin + absl::Seconds(second), 0)["rollout/tokens_per_second"]; };
  EXPECT_EQ(rate(5), 0);
  stats.Generated(3000, absl::Seconds(1));
  EXPECT_EQ(rate(10), 300);
  EXPECT_EQ(rate(30), 100);
  EXPECT_EQ(rate(36), 3000 / 31.0) << "since the report 30 s ago or more";
  EXPECT_EQ(rate(41), 0);
}

TEST(WorkerTest, TellsWhyItsLastGroupWasLostUntilOneIsStored) {
  RolloutStats stats(absl::Now());
  EXPECT_EQ(stats.trouble(), "");
  stats.Trouble("engine: no server");
  stats.Dropped("generate_failed");
  EXPECT_EQ(stats.trouble(), "engine: no server");
  stats.Stored(v1::Episode(), {});
  EXPECT_EQ(stats.trouble(), "");

  Fixture f(1);
  f.reward.Fail({absl::UnavailableError("nobody there")});
  ASSERT_OK(f.Run());
  EXPECT_EQ(f.orchestrator.dropped().size(), 1u);
  EXPECT_EQ(f.worker->stats().trouble(), "") << "it was stored after all";
}

TEST(WorkerTest, AScorerThatFailsCostsALeaseNotAReward) {
  Fixture f(5);
  f.reward.Fail({absl::UnavailableError("down"), absl::DeadlineExceededError("slow")});
  ASSERT_OK(f.Run());
  const auto episodes = f.Episodes();
  EXPECT_EQ(episodes.size(), 5u);  // leased again and done
  for (const v1::Episode& e : episodes) {
    for (const v1::Sample& s : e.samples()) EXPECT_DOUBLE_EQ(s.reward().traj(), 0.3);
  }
  EXPECT_THAT(f.orchestrator.dropped(),
              testing::UnorderedElementsAre("score_unavailable", "score_deadline_exceeded"));
  EXPECT_EQ(f.worker->stats().drops().at("score_unavailable"), 1u);
}

// Found by `swerve chaos`: a scorer that answered wrongly for seconds cost hundreds of attempts.
TEST(WorkerTest, PausesGrowWhileNothingSucceeds) {
  EXPECT_EQ(PauseAfterDrops(0, 8), absl::ZeroDuration());
  EXPECT_EQ(PauseAfterDrops(7, 8), absl::ZeroDuration()) << "some of those held may be better off";
  EXPECT_EQ(PauseAfterDrops(8, 8), absl::Milliseconds(100));
  EXPECT_EQ(PauseAfterDrops(16, 8), absl::Milliseconds(200));
  EXPECT_EQ(PauseAfterDrops(1000000, 8), absl::Seconds(5));
}

TEST(WorkerTest, AScorerThatCancelsWhileItEndsIsAFailureLikeAnyOther) {
  Fixture f(5);
  f.reward.Fail({absl::CancelledError("the server is shutting down")});
  ASSERT_OK(f.Run());
  EXPECT_EQ(f.Episodes().size(), 5u);
  EXPECT_THAT(f.orchestrator.dropped(), ElementsAre("score_cancelled"));
}

TEST(WorkerTest, ATeacherThatFailsLeavesPlainGroups) {
  Fixture f(5);
  f.teacher.Fail(absl::ResourceExhaustedError("budget"));
  ASSERT_OK(f.Run());
  for (const v1::Episode& e : f.Episodes()) {
    EXPECT_EQ(e.refinements_size(), 0);
    for (const v1::Sample& s : e.samples()) EXPECT_EQ(s.feedback_outcome(), v1::RATE_LIMITED);
  }
  EXPECT_EQ(f.Episodes().size(), 5u);
}

TEST(WorkerTest, TeacherNoneSamplesOriginalsAlone) {
  Fixture f(4);
  f.config.mutable_teacher()->set_kind("none");
  f.config.set_deterministic(true);
  ASSERT_OK(f.Run());
  EXPECT_EQ(f.engine.calls(), 4);
  EXPECT_EQ(f.teacher.calls(), 0);
}

TEST(WorkerTest, AGroupStoredUnderAnotherAttemptIsADuplicate) {
  Fixture f(3);
  v1::Episode earlier;
  earlier.set_run_id("run");
  earlier.set_scene_id("s1");
  earlier.set_group(1);
  earlier.set_attempt(99);
  ASSERT_OK(f.buffers.Append(earlier));
  ASSERT_OK(f.Run());
  EXPECT_EQ(f.Episodes().size(), 3u);
  EXPECT_EQ(f.Episodes()[1].attempt(), 99u);
  EXPECT_EQ(f.orchestrator.accepted().size(), 3u);
}

TEST(WorkerTest, ABusyStoreIsTriedAgainAndADamagedOneEndsTheWork) {
  Fixture busy(2);
  busy.buffers.FailNextAppend(absl::UnavailableError("locked"));
  ASSERT_OK(busy.Run());
  EXPECT_EQ(busy.Episodes().size(), 2u);
  Fixture damaged(2);
  damaged.buffers.FailNextAppend(absl::DataLossError("page 3"));
  EXPECT_THAT(damaged.Run(), StatusIs(absl::StatusCode::kDataLoss, HasSubstr("page 3")));
}

TEST(WorkerTest, OnePromptThatCannotBeServedCostsItsGroupAlone) {
  Fixture f(8);
  f.config.mutable_teacher()->set_kind("none");
  f.config.set_deterministic(true);
  int asked = 0;  // of each group by the worker, then by the engine
  f.engine.Refuse([&](const Prompt&) { return asked++ == 2; });
  ASSERT_OK(f.Run());
  EXPECT_THAT(f.orchestrator.dropped(), ElementsAre("prompt_unservable"));
  EXPECT_EQ(f.worker->stats().drops().at("prompt_unservable"), 1u);
  EXPECT_EQ(f.Episodes().size(), 8u);
  EXPECT_EQ(f.engine.calls(), 8);  // its own call apart
}

TEST(WorkerTest, AFeedbackPromptThatCannotBeServedCostsItsRefinement) {
  Fixture f(4);
  f.engine.Refuse([](const Prompt& prompt) { return prompt.text.find("feedback: better") != std::string::npos; });
  ASSERT_OK(f.Run());
  EXPECT_EQ(f.Episodes().size(), 4u);
  for (const v1::Episode& e : f.Episodes()) EXPECT_EQ(e.refinements_size(), 0);
}

TEST(WorkerTest, AnEngineThatBreaksEndsTheWork) {
  Fixture f(4);
  f.engine.FailNext(absl::InternalError("out of luck"));
  EXPECT_THAT(f.Run(), StatusIs(absl::StatusCode::kInternal, HasSubstr("out of luck")));
}

TEST(WorkerTest, NewerWeightsAreLoadedBeforeTheGroupsTheyCameWith) {
  Fixture f(3);
  v1::PolicyManifest policy;
  policy.set_version(4);
  policy.set_directory("weights/v4");
  policy.set_checksum("c4");
  f.orchestrator.Announce(policy);
  ASSERT_OK(f.Run());
  for (const v1::Episode& e : f.Episodes()) {
    EXPECT_EQ(e.weight_version(), 4);
    EXPECT_EQ(e.policy_checksum(), "c4");
  }
  const auto report = f.orchestrator.last_report();
  EXPECT_EQ(report.role(), "rollout-0");
  EXPECT_EQ(report.values().at("rollout/weight_version"), 4);
  EXPECT_EQ(report.values().at("rollout/groups_stored"), 3);
  EXPECT_NEAR(report.values().at("reward/traj/mean"), 0.3, 1e-12);
  EXPECT_EQ(report.values().at("rollout/refinement_success_ratio"), 1);
}

TEST(WorkerTest, StopEndsAfterTheCallsUnderWay) {
  std::atomic<bool> stop{false};
  Fixture f(1000, [&](const Prompt& prompt, uint64_t seed) {
    stop = true;
    return Script(prompt, seed);
  });
  ASSERT_OK(f.Run([&] { return stop.load(); }));
  EXPECT_LE(f.engine.calls(), 4);
  EXPECT_THAT(f.orchestrator.dropped(), IsEmpty());  // left to the next lease, not counted as failures
}

TEST(WorkerTest, AStopWhileTheTeacherIsAwayLeavesTheGroupToTheNextLease) {
  std::atomic<bool> stop{false};
  Fixture f(1, [&](const Prompt& prompt, uint64_t seed) {
    stop = true;
    return Script(prompt, seed);
  });
  f.teacher.Fail(absl::CancelledError("asked to stop"));
  ASSERT_OK(f.Run([&] { return stop.load(); }));
  EXPECT_THAT(f.Episodes(), IsEmpty());
  EXPECT_THAT(f.orchestrator.accepted(), IsEmpty());
}

}  // namespace
}  // namespace swerve
