// Deterministic mode with the roles for real, on loopback: the same seed gives the same weights to the last byte, also
// when the run is interrupted on the way. Needs the whole binary ($SWERVE_BINARY) and models/tiny.
#include <signal.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>

#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "base/files.h"
#include "base/role_files.h"
#include "base/status_matchers.h"
#include "orchestrator/process.h"

namespace swerve {
namespace {

constexpr absl::Duration kPatience = absl::Minutes(5);
constexpr int kSteps = 4;

std::string Model() { return std::string(SWERVE_SOURCE_DIR) + "/models/tiny"; }
const char* Binary() { return std::getenv("SWERVE_BINARY"); }

std::optional<ProcessEnd> Await(Process* process) {
  const absl::Time until = absl::Now() + kPatience;
  while (absl::Now() < until) {
    if (auto end = process->Poll()) return end;
    absl::SleepFor(absl::Milliseconds(20));
  }
  return std::nullopt;
}

class DeterministicTest : public testing::Test {
 protected:
  void SetUp() override {
    if (Binary() == nullptr) GTEST_SKIP() << "SWERVE_BINARY is not set; ctest sets it";
    if (!std::filesystem::exists(Model() + "/model.safetensors")) GTEST_SKIP() << Model() << " is not there";
    root_ = absl::StrCat(testing::TempDir(), "/deterministic", getpid());
    std::filesystem::remove_all(root_);
    ASSERT_OK(MakeDirectories(root_));
    SWERVE_ASSERT_OK_AND_ASSIGN(
        Process generate, Process::Start({Binary(), "scenes", "generate", "--family", "mix", "--mix", "common", "--count",
                                          "6", "--seed", "5", "--out", root_ + "/scenes"},
                                         root_ + "/commands.log"));
    const auto end = Await(&generate);
    ASSERT_TRUE(end && end->ok()) << absl::StrJoin(LogTail(root_ + "/commands.log", 20), "\n");
  }
  void TearDown() override {
    if (!HasFailure() && !root_.empty()) std::filesystem::remove_all(root_);
  }

  RunDir run(const std::string& name) const { return RunDir(absl::StrCat(root_, "/", name)); }
  std::string log(const std::string& name) const { return absl::StrCat(root_, "/", name, ".log"); }

  Process Start(const std::string& name, bool resume) {
    std::vector<std::string> argv = {Binary(), "train", "--run", run(name).root()};
    if (resume) argv.push_back("--resume");
    // Without the outcome gate any difference in format or goal teaches, and at this rate every step shows.
    for (const std::string& set : std::vector<std::string>{
             "deterministic=true", "seed=3", absl::StrCat("scenes.train=[", root_, "/scenes]"),
             absl::StrCat("policy.model=", Model()), absl::StrCat("learner.steps=", kSteps), "learner.batch_groups=2",
             "learner.gate=none", "learner.learning_rate=1e-3", "learner.warmup_ratio=0", "rollout.num_generations=3",
             "rollout.max_new_tokens=160", "rollout.threads=1"}) {
      argv.push_back("--set");
      argv.push_back(set);
    }
    auto process = Process::Start(argv, log(name));
    EXPECT_TRUE(process.ok()) << process.status();
    return process.ok() ? *std::move(process) : Process();
  }

  // Weights are on disk, their checkpoint with them; they may not be announced yet.
  bool HasVersion(const std::string& name, int version) const {
    return std::filesystem::exists(run(name).weights(version) + "/model.safetensors");
  }

  std::string Words(const std::string& name) const {
    std::string text = absl::StrJoin(LogTail(log(name), 30), "\n");
    for (const char* role : {"learner", "rollout-0"}) {
      absl::StrAppend(&text, "\n--- ", role, "\n", absl::StrJoin(LogTail(run(name).log_file(role), 10), "\n"));
    }
    return text;
  }

  // The final weights. The run must have ended well.
  absl::StatusOr<std::string> Weights(const std::string& name) const {
    SWERVE_ASSIGN_OR_RETURN(const std::string text, ReadFile(run(name).root() + "/result.json"));
    const nlohmann::json result = nlohmann::json::parse(text, nullptr, false);
    if (!result.is_object() || result.value("steps", 0) != kSteps) return absl::InternalError(text);
    return ReadFile(result["policy"]["directory"].get<std::string>() + "/model.safetensors");
  }

  void RunToTheEnd(const std::string& name, bool resume = false) {
    Process train = Start(name, resume);
    const auto end = Await(&train);
    ASSERT_TRUE(end && end->ok()) << (end ? end->ToString() : "it hangs") << "\n" << Words(name);
  }

  std::string root_;
};

TEST_F(DeterministicTest, SameSeedSameWeightsInterruptedOrNot) {
  RunToTheEnd("first");
  SWERVE_ASSERT_OK_AND_ASSIGN(const std::string first, Weights("first"));
  // Against another version of this run: it has the starting policy's layout, whoever wrote that.
  SWERVE_ASSERT_OK_AND_ASSIGN(const std::string earlier, ReadFile(run("first").weights(1) + "/model.safetensors"));
  EXPECT_FALSE(first == earlier) << "nothing was learnt, so nothing is shown\n" << Words("first");

  RunToTheEnd("second");
  SWERVE_ASSERT_OK_AND_ASSIGN(const std::string second, Weights("second"));
  EXPECT_TRUE(first == second) << "two uninterrupted runs differ";

  Process train = Start("interrupted", /*resume=*/false);
  const absl::Time until = absl::Now() + kPatience;
  std::optional<ProcessEnd> early;
  while (!HasVersion("interrupted", 2) && !(early = train.Poll()) && absl::Now() < until) {
    absl::SleepFor(absl::Milliseconds(5));
  }
  ASSERT_FALSE(early) << early->ToString() << "\n" << Words("interrupted");
  train.Signal(SIGTERM);
  const auto stopped = Await(&train);
  ASSERT_TRUE(stopped) << "the drain hangs\n" << Words("interrupted");
  ASSERT_FALSE(stopped->ok()) << "it ended before it was interrupted: the test needs more steps";
  RunToTheEnd("interrupted", /*resume=*/true);
  SWERVE_ASSERT_OK_AND_ASSIGN(const std::string resumed, Weights("interrupted"));
  EXPECT_TRUE(first == resumed) << "the interrupted run ends with other weights\n" << Words("interrupted");
}

}  // namespace
}  // namespace swerve
