// What the tests with real roles share: the binary, the policy, scenes to train on, and processes that are waited for
// with patience instead of for ever. Header of tests; not thread-safe.
#ifndef SWERVE_TESTS_INTEGRATION_RUN_FIXTURE_H_
#define SWERVE_TESTS_INTEGRATION_RUN_FIXTURE_H_

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "base/files.h"
#include "base/role_files.h"
#include "base/status_matchers.h"
#include "orchestrator/process.h"

namespace swerve {

inline constexpr absl::Duration kPatience = absl::Minutes(8);

inline std::string Model() { return std::string(SWERVE_SOURCE_DIR) + "/models/tiny"; }
inline const char* Binary() { return std::getenv("SWERVE_BINARY"); }

// The exit of a child; nothing after kPatience.
inline std::optional<ProcessEnd> Await(Process* process) {
  const absl::Time until = absl::Now() + kPatience;
  while (absl::Now() < until) {
    if (auto end = process->Poll()) return end;
    absl::SleepFor(absl::Milliseconds(20));
  }
  return std::nullopt;
}

// A directory of its own with a few scenes in root()/scenes; removed when the test passes. Skips where the binary or the
// shipped policy is absent.
class RunFixture : public testing::Test {
 protected:
  void SetUp() override {
    if (Binary() == nullptr) GTEST_SKIP() << "SWERVE_BINARY is not set; ctest sets it";
    if (!std::filesystem::exists(Model() + "/model.safetensors")) GTEST_SKIP() << Model() << " is not there";
    root_ = absl::StrCat(testing::TempDir(), "/run", getpid(), "_",
                         testing::UnitTest::GetInstance()->current_test_info()->name());
    std::filesystem::remove_all(root_);
    ASSERT_OK(MakeDirectories(root_));
    Command({"scenes", "generate", "--family", "mix", "--mix", "common", "--count", "8", "--seed", "5", "--out",
             root_ + "/scenes"});
  }
  void TearDown() override {
    if (!HasFailure() && !root_.empty()) std::filesystem::remove_all(root_);
  }

  const std::string& root() const { return root_; }

  // `swerve` with these arguments has to end well.
  void Command(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), Binary());
    SWERVE_ASSERT_OK_AND_ASSIGN(Process process, Process::Start(arguments, root_ + "/commands.log"));
    const auto end = Await(&process);
    ASSERT_TRUE(end && end->ok()) << absl::StrJoin(LogTail(root_ + "/commands.log", 20), "\n");
  }

  // `swerve train --run DIR --set …` in the background, its output in `log`.
  Process Train(const RunDir& run, const std::string& log, const std::vector<std::string>& sets, bool resume) {
    std::vector<std::string> argv = {Binary(), "train", "--run", run.root()};
    if (resume) argv.push_back("--resume");
    for (const std::string& set : sets) {
      argv.push_back("--set");
      argv.push_back(set);
    }
    auto process = Process::Start(argv, log);
    EXPECT_TRUE(process.ok()) << process.status();
    return process.ok() ? *std::move(process) : Process();
  }

 private:
  std::string root_;
};

}  // namespace swerve

#endif  // SWERVE_TESTS_INTEGRATION_RUN_FIXTURE_H_
