// The roles for real, on loopback, with the tiny policy: SIGKILL of any role delays a run but does not end it, and no
// episode is lost or trained twice. Needs the whole binary ($SWERVE_BINARY) and models/tiny.
#include <signal.h>

#include <filesystem>
#include <grpcpp/grpcpp.h>
#include <nlohmann/json.hpp>
#include <set>

#include "base/role_channel.h"
#include "buffers/buffers.h"
#include "swerve/v1/orchestrator.grpc.pb.h"
#include "tests/integration/run_fixture.h"

namespace swerve {
namespace {

constexpr int kBatch = 2;

class KillRolesTest : public RunFixture {
 protected:
  void TearDown() override {
    if (HasFailure() && !root().empty()) {
      std::fprintf(stderr, "%s\n", absl::StrJoin(LogTail(root() + "/train.log", 40), "\n").c_str());
      for (const char* role : {"orchestrator", "rollout-0", "reward", "teacher", "learner"}) {
        std::fprintf(stderr, "--- %s\n%s\n", role, absl::StrJoin(LogTail(run().log_file(role), 15), "\n").c_str());
      }
    }
    RunFixture::TearDown();
  }

  RunDir run() const { return RunDir(root() + "/run"); }

  Process Train(int steps, bool resume = false) {
    return RunFixture::Train(
        run(), root() + "/train.log",
        {absl::StrCat("scenes.train=[", root(), "/scenes]"), absl::StrCat("policy.model=", Model()),
         absl::StrCat("learner.steps=", steps), absl::StrCat("learner.batch_groups=", kBatch), "learner.num_iterations=1",
         "rollout.num_generations=2", "rollout.max_new_tokens=24", "rollout.groups_in_flight=2",
         "rollout.lease_seconds=20", "learner.checkpoint_every=1", "orchestrator.drain_seconds=60"},
        resume);
  }

  // Steps done, at least `step`; -1: the run has ended, or nothing moved for kPatience.
  int WaitForStep(int step, Process* train) {
    const absl::Time until = absl::Now() + kPatience;
    RoleChannel line(run(), "orchestrator");
    while (absl::Now() < until) {
      v1::StatusReply status;
      const absl::Status asked = line.Call(
          [&](const std::shared_ptr<grpc::Channel>& channel, grpc::ClientContext* context) {
            return v1::Orchestrator::NewStub(channel)->GetStatus(context, {}, &status);
          },
          absl::Seconds(1));
      if (asked.ok() && static_cast<int>(status.step()) >= step) return static_cast<int>(status.step());
      if (train->Poll()) return -1;
      absl::SleepFor(absl::Milliseconds(50));
    }
    return -1;
  }

  void CheckBooks(int steps) {
    SWERVE_ASSERT_OK_AND_ASSIGN(const std::string result, ReadFile(run().root() + "/result.json"));
    EXPECT_EQ(nlohmann::json::parse(result).at("steps").get<int>(), steps);
    SWERVE_ASSERT_OK_AND_ASSIGN(const std::string id, ReadRunId(run()));
    SWERVE_ASSERT_OK_AND_ASSIGN(const auto buffers, OpenBuffers("sqlite", run().root(), id));
    SWERVE_ASSERT_OK_AND_ASSIGN(const EpisodeStats stats, buffers->episodes().Stats());
    // Every batch was acknowledged once, after the checkpoint that holds it.
    EXPECT_EQ(stats.acknowledged, static_cast<uint64_t>(steps * kBatch));
    // Admission held: nothing beyond the newest batches' allowance (max_staleness 1) was made.
    EXPECT_LE(stats.appended, static_cast<uint64_t>((steps + 2) * kBatch));
    SWERVE_ASSERT_OK_AND_ASSIGN(const std::string ledger_bytes, ReadFile(run().ledger()));
    v1::LedgerState ledger;
    ASSERT_TRUE(ledger.ParseFromString(ledger_bytes));
    // What the ledger calls accepted is in the store; the last completions may not have reached it.
    EXPECT_LE(ledger.next_group() - ledger.open_size(), stats.appended);
    std::set<uint64_t> consumed = Consumed();
    EXPECT_EQ(consumed.size(), static_cast<size_t>(steps * kBatch));
    for (const uint64_t group : consumed) EXPECT_LT(group, ledger.next_group());
    SWERVE_ASSERT_OK_AND_ASSIGN(const auto left, buffers->episodes().Read(0, 1000));
    for (const v1::Episode& episode : left) EXPECT_EQ(consumed.count(episode.group()), 0u) << episode.group();
  }

  // The groups that the newest checkpoint says it was trained on; a group listed twice fails the test.
  std::set<uint64_t> Consumed() {
    std::set<std::string> dirs;
    for (const auto& entry : std::filesystem::directory_iterator(run().checkpoints())) {
      if (std::filesystem::exists(entry.path() / "state.json")) dirs.insert(entry.path());
    }
    std::set<uint64_t> groups;
    if (dirs.empty()) return groups;
    const auto text = ReadFile(*dirs.rbegin() + "/state.json");
    EXPECT_TRUE(text.ok()) << text.status();
    const nlohmann::json state = nlohmann::json::parse(*text);
    const nlohmann::json& ranges = state.contains("consumed") ? state.at("consumed") : state.at("state").at("consumed");
    for (const auto& range : ranges) {
      for (uint64_t group = range.at(0); group <= range.at(1).get<uint64_t>(); ++group) {
        EXPECT_TRUE(groups.insert(group).second) << "group " << group << " twice";
      }
    }
    return groups;
  }
};

TEST_F(KillRolesTest, EveryRoleDiesOnceAndTheRunCompletes) {
  constexpr int kSteps = 40;
  Process train = Train(kSteps);
  int step = 0;
  for (const char* role : {"learner", "reward", "rollout-0", "orchestrator", "teacher"}) {
    step = WaitForStep(step + 1, &train);
    ASSERT_GE(step, 0) << "the run ended or hung before " << role << " was killed";
    SWERVE_ASSERT_OK_AND_ASSIGN(const RoleAddress address, ReadRole(run(), role));
    ASSERT_EQ(kill(static_cast<pid_t>(address.pid), SIGKILL), 0) << role;
  }
  const auto end = Await(&train);
  ASSERT_TRUE(end) << "the run hangs";
  EXPECT_TRUE(end->ok()) << end->ToString();
  SWERVE_ASSERT_OK_AND_ASSIGN(const std::string log, ReadFile(root() + "/train.log"));
  for (const char* role : {"reward", "teacher", "rollout-0", "orchestrator", "learner"}) {
    EXPECT_THAT(log, testing::HasSubstr(absl::StrCat("role ", role, " died (signal 9")));
  }
  CheckBooks(kSteps);
}

TEST_F(KillRolesTest, CtrlCLeavesACheckpointAndResumeGoesOn) {
  constexpr int kSteps = 4;
  Process train = Train(kSteps);
  ASSERT_GE(WaitForStep(1, &train), 0);
  train.Signal(SIGINT);
  auto end = Await(&train);
  ASSERT_TRUE(end) << "the drain hangs";
  SWERVE_ASSERT_OK_AND_ASSIGN(const std::string log, ReadFile(root() + "/train.log"));
  EXPECT_THAT(log, testing::HasSubstr("--resume"));
  EXPECT_FALSE(Consumed().empty());
  train = Train(kSteps, /*resume=*/true);
  end = Await(&train);
  ASSERT_TRUE(end) << "the resumed run hangs";
  EXPECT_TRUE(end->ok()) << end->ToString();
  CheckBooks(kSteps);
}

// The supervisor itself: its children die with it, and the run goes on from its directory.
TEST_F(KillRolesTest, SupervisorDies) {
  constexpr int kSteps = 3;
  Process train = Train(kSteps);
  ASSERT_GE(WaitForStep(1, &train), 0);
  std::vector<pid_t> roles;
  for (const char* role : {"reward", "teacher", "rollout-0", "orchestrator", "learner"}) {
    SWERVE_ASSERT_OK_AND_ASSIGN(const RoleAddress address, ReadRole(run(), role));
    roles.push_back(static_cast<pid_t>(address.pid));
  }
  train.Signal(SIGKILL);
  Await(&train);
  const absl::Time until = absl::Now() + absl::Seconds(20);
  for (const pid_t pid : roles) {
    while (kill(pid, 0) == 0 && absl::Now() < until) absl::SleepFor(absl::Milliseconds(20));
    EXPECT_NE(kill(pid, 0), 0) << "a role outlived the supervisor";
  }
  train = Train(kSteps, /*resume=*/true);
  const auto end = Await(&train);
  ASSERT_TRUE(end) << "the resumed run hangs";
  EXPECT_TRUE(end->ok()) << end->ToString();
  CheckBooks(kSteps);
}

}  // namespace
}  // namespace swerve
