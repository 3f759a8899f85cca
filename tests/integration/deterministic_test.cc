// Deterministic mode with the roles for real, on loopback: the same seed gives the same weights to the last byte, also
// when the run is interrupted on the way. Needs the whole binary ($SWERVE_BINARY) and models/tiny.
#include <signal.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>

#include "tests/integration/run_fixture.h"

namespace swerve {
namespace {

constexpr int kSteps = 4;

class DeterministicTest : public RunFixture {
 protected:
  RunDir run(const std::string& name) const { return RunDir(absl::StrCat(root(), "/", name)); }
  std::string log(const std::string& name) const { return absl::StrCat(root(), "/", name, ".log"); }

  Process Start(const std::string& name, bool resume) {
    // Without the outcome gate any difference in format or goal teaches, and at this rate every step shows.
    return Train(run(name), log(name),
                 {"deterministic=true", "seed=3", absl::StrCat("scenes.train=[", root(), "/scenes]"),
                  absl::StrCat("policy.model=", Model()), absl::StrCat("learner.steps=", kSteps),
                  "learner.batch_groups=2", "learner.gate=none", "learner.learning_rate=1e-3", "learner.warmup_ratio=0",
                  "rollout.num_generations=3", "rollout.max_new_tokens=160", "rollout.threads=1"},
                 resume);
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
