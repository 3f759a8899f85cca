// What surrounds the ledger: restarts, child processes, the view, the run directory.
#include <signal.h>
#include <unistd.h>

#include "base/config.h"
#include "base/files.h"
#include "base/status_matchers.h"
#include "orchestrator/live_view.h"
#include "orchestrator/process.h"
#include "orchestrator/supervisor.h"
#include "orchestrator/train.h"

namespace swerve {
namespace {

using testing::AllOf;
using testing::HasSubstr;

std::string Folder(const std::string& name) { return absl::StrCat(testing::TempDir(), "/", name, getpid()); }

TEST(RestartPolicyTest, BacksOffAndGivesUp) {
  RestartPolicy policy(4);
  EXPECT_EQ(policy.OnDeath(absl::Seconds(1)), absl::Milliseconds(200));
  EXPECT_EQ(policy.OnDeath(absl::Seconds(1)), absl::Milliseconds(400));
  EXPECT_EQ(policy.OnDeath(absl::Minutes(2)), absl::Milliseconds(200));  // it had lived well
  EXPECT_EQ(policy.OnDeath(absl::Seconds(1)), absl::Milliseconds(400));
  EXPECT_LT(policy.OnDeath(absl::Seconds(1)), absl::ZeroDuration());
  EXPECT_EQ(policy.restarts(), 4);
  RestartPolicy many(100);
  absl::Duration pause;
  for (int i = 0; i < 100; ++i) pause = many.OnDeath(absl::ZeroDuration());
  EXPECT_EQ(pause, absl::Seconds(10));
}

ProcessEnd WaitFor(Process* process) {
  while (true) {
    if (const auto end = process->Poll()) return *end;
    usleep(1000);
  }
}

TEST(ProcessTest, TellsHowItEndedAndKeepsTheLog) {
  const std::string log = Folder("log");
  SWERVE_ASSERT_OK_AND_ASSIGN(Process process, Process::Start({"/bin/sh", "-c", "echo one; echo two >&2; exit 3"}, log));
  EXPECT_EQ(WaitFor(&process).ToString(), "exit code 3");
  EXPECT_FALSE(process.running());
  EXPECT_THAT(LogTail(log, 1), testing::ElementsAre("two"));
  SWERVE_ASSERT_OK_AND_ASSIGN(process, Process::Start({"/bin/sh", "-c", "kill -9 $$"}, log));
  EXPECT_EQ(WaitFor(&process).ToString(), "signal 9 (Killed)");
  SWERVE_ASSERT_OK_AND_ASSIGN(process, Process::Start({"/no/such/binary"}, log));
  EXPECT_EQ(WaitFor(&process).code, 127);
}

TEST(ProcessTest, EndsWithItsOwner) {
  pid_t pid = 0;
  {
    SWERVE_ASSERT_OK_AND_ASSIGN(const Process process, Process::Start({"/bin/sleep", "1000"}, ""));
    pid = process.pid();
    EXPECT_EQ(kill(pid, 0), 0);
  }
  EXPECT_NE(kill(pid, 0), 0);
}

v1::StatusReply Sample() {
  v1::StatusReply status;
  status.set_run_id("run-1");
  status.set_step(15);
  status.set_steps_total(60);
  status.set_elapsed_seconds(120);
  status.mutable_policy()->set_version(15);
  for (const double traj : {0.5, 0.7}) {
    v1::RoleStatus* role = status.add_roles();
    role->set_role(absl::StrCat("rollout-", status.roles_size() - 1));
    (*role->mutable_values())["reward/traj/mean"] = traj;
    (*role->mutable_values())["rollout/weight_version"] = 14;
    (*role->mutable_values())["rollout/total_failure_ratio"] = 0.25;
    (*role->mutable_values())["rollout/tokens_per_second"] = 800;
  }
  return status;
}

TEST(LiveViewTest, ShowsProgressTimeLeftRewardsAndStaleness) {
  const v1::StatusReply status = Sample();
  EXPECT_THAT(ComposeLine(status),
              AllOf(HasSubstr("step 15/60  25%"), HasSubstr("left 6:00"), HasSubstr("trajectory 0.6"),
                    HasSubstr("total failures 25 %"), HasSubstr("staleness 1"), HasSubstr("rollout-1 800"),
                    HasSubstr("refinement success -")));
  const auto lines = ComposeView(status, {{"reward", 2}, {"learner", 0}}, 60);
  for (const std::string& line : lines) EXPECT_LE(line.size(), 60u);
  EXPECT_THAT(lines.back(), AllOf(HasSubstr("reward 2"), testing::Not(HasSubstr("learner"))));
}

TEST(LiveViewTest, SaysWhatKeepsARoleFromItsWork) {
  v1::StatusReply status = Sample();
  EXPECT_THAT(ComposeLine(status), testing::Not(HasSubstr("engine")));
  status.mutable_roles(0)->set_trouble("engine: no inference server could be asked in time");
  EXPECT_THAT(ComposeLine(status), HasSubstr("[" + status.roles(0).role() + ": engine: no inference server"));
  EXPECT_THAT(ComposeView(status, {}, 100).back(), HasSubstr("trouble   " + status.roles(0).role() + ": engine: no inference"));
}

TEST(LiveViewTest, ProgressIsByStepsOrTimeWhicheverIsFurther) {
  v1::StatusReply status = Sample();
  EXPECT_DOUBLE_EQ(RunProgress(status), 0.25);
  status.set_seconds_total(240);
  EXPECT_DOUBLE_EQ(RunProgress(status), 0.5);
  status.set_finished(true);
  EXPECT_DOUBLE_EQ(RunProgress(status), 1);
  EXPECT_DOUBLE_EQ(RunProgress(v1::StatusReply()), 0);
  EXPECT_FALSE(ComposeView(v1::StatusReply(), {}, 80).empty());
}

TEST(TrainTest, RunDirectoryIsNotOverwritten) {
  const RunDir run(Folder("run"));
  SWERVE_ASSERT_OK_AND_ASSIGN(const v1::RunConfig config, LoadRunConfig("", {"deterministic=true", "seed=3"}));
  EXPECT_THAT(PrepareRunDir(run, config, /*resume=*/true),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("no run to resume")));
  ASSERT_OK(PrepareRunDir(run, config, /*resume=*/false));
  EXPECT_THAT(PrepareRunDir(run, config, /*resume=*/false),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("--resume")));
  SWERVE_ASSERT_OK_AND_ASSIGN(const v1::RunConfig kept, LoadRunConfig(run.config()));
  EXPECT_EQ(ToYaml(kept), ToYaml(config));
  SWERVE_ASSERT_OK_AND_ASSIGN(const std::string id, ReadRunId(run));
  const RunDir other(Folder("run_other"));
  ASSERT_OK(PrepareRunDir(other, config, /*resume=*/false));
  EXPECT_EQ(*ReadRunId(other), id);  // the same seed gives the same bytes
  // This process holds the lock still.
  EXPECT_THAT(PrepareRunDir(run, config, /*resume=*/true),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("another process")));
}

TEST(TrainTest, ModelsAreFoundBelowSwerveHomeToo) {
  const std::string home = Folder("home");
  ASSERT_OK(MakeDirectories(home + "/models/own"));
  ASSERT_OK(WriteFileAtomically(home + "/models/own/config.json", "{}"));
  unsetenv("SWERVE_HOME");
  EXPECT_EQ(FindModel("models/own"), "models/own");
  setenv("SWERVE_HOME", home.c_str(), 1);
  EXPECT_EQ(FindModel("models/own"), home + "/models/own");
  EXPECT_EQ(FindModel("models/none"), "models/none");
  EXPECT_EQ(FindModel("/models/own"), "/models/own");
  unsetenv("SWERVE_HOME");
}

TEST(TrainTest, WhatIsMissingIsNamed) {
  TrainOptions options;
  EXPECT_THAT(ResolveTrain(options), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("scenes.train")));
  options.resume = true;
  options.run_dir = Folder("nothing");
  EXPECT_THAT(ResolveTrain(options), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("holds no run")));
}

}  // namespace
}  // namespace swerve
