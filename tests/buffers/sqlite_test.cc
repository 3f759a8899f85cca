// Durability and several processes: what only the SQLite store promises.
#include "buffers/sqlite_buffers.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <gmock/gmock.h>

#include <fstream>

#include "base/files.h"
#include "base/status_matchers.h"
#include "tests/testing/make_episode.h"

namespace swerve {
namespace {

std::string FreshDir(const std::string& name) {
  const std::string dir = absl::StrCat(testing::TempDir(), "/sqlite-", getpid(), "-", name);
  EXPECT_TRUE(MakeDirectories(dir).ok());
  return dir;
}

// Runs `body` in a child process and returns its pid. The child ends by _exit, without destructors.
template <typename Body>
pid_t InChild(Body body) {
  const pid_t pid = fork();
  if (pid == 0) _exit(body());
  return pid;
}

int ExitCodeOf(pid_t pid) {
  int status = 0;
  waitpid(pid, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

TEST(OpenBuffersTest, UrlsThatCannotBeServedSayWhatCan) {
  const std::string dir = FreshDir("urls");
  EXPECT_THAT(OpenBuffers("rediss://me:hush@localhost", dir, "run"),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       testing::AllOf(testing::HasSubstr("stunnel"), testing::Not(testing::HasSubstr("hush")))));
  EXPECT_THAT(OpenBuffers("mysql://x", dir, "run"),
              StatusIs(absl::StatusCode::kInvalidArgument, testing::HasSubstr("sqlite:///")));
  EXPECT_OK(OpenBuffers("sqlite", dir + "/made/on/the/way", "run"));
  EXPECT_OK(OpenBuffers("sqlite://" + dir + "/x.sqlite", dir, "run"));
  EXPECT_THAT(OpenBuffers("sqlite:///no/such/directory/x.sqlite", dir, "run"),
              StatusIs(absl::StatusCode::kNotFound, testing::HasSubstr("directory")));
}

TEST(SqliteBuffersTest, AFileHoldsOneRun) {
  const std::string path = FreshDir("one-run") + "/b.sqlite";
  EXPECT_OK(OpenSqliteBuffers(path, "run"));
  EXPECT_THAT(OpenSqliteBuffers(path, "other"),
              StatusIs(absl::StatusCode::kFailedPrecondition, testing::HasSubstr("run")));
}

TEST(SqliteBuffersTest, ADamagedFileIsNamedNotTrusted) {
  const std::string path = FreshDir("damaged") + "/b.sqlite";
  std::ofstream(path) << std::string(8192, 'x');
  EXPECT_THAT(OpenSqliteBuffers(path, "run"), StatusIs(absl::StatusCode::kDataLoss, testing::HasSubstr("b.sqlite")));
}

TEST(SqliteBuffersTest, WhatWasStoredOutlivesAKilledProcess) {
  const std::string path = FreshDir("killed") + "/b.sqlite";
  const pid_t pid = InChild([&] {
    auto buffers = OpenSqliteBuffers(path, "run");
    if (!buffers.ok()) return 1;
    for (uint64_t g = 0; g < 5; ++g) {
      if (!(*buffers)->episodes().Append(MakeEpisode(g)).ok()) return 2;
    }
    if (!(*buffers)->episodes().Ack({0, 1}).ok()) return 3;
    if (!(*buffers)->difficulty().Update("s", {{0.5}, {1.0}, 1}).ok()) return 4;
    return kill(getpid(), SIGKILL);
  });
  ASSERT_EQ(ExitCodeOf(pid), 1000 + SIGKILL);
  SWERVE_ASSERT_OK_AND_ASSIGN(auto buffers, OpenSqliteBuffers(path, "run"));
  SWERVE_ASSERT_OK_AND_ASSIGN(auto waiting, buffers->episodes().Read(0, 100));
  EXPECT_THAT(GroupsOf(waiting), testing::ElementsAre(2, 3, 4));
  SWERVE_ASSERT_OK_AND_ASSIGN(auto record, buffers->difficulty().Get("s"));
  EXPECT_EQ(record.attempts(), 1u);
}

TEST(SqliteBuffersTest, ProcessesRaceForTheSameGroupsAndOneWinsEach) {
  const std::string path = FreshDir("race") + "/b.sqlite";
  std::vector<pid_t> children;
  for (uint32_t child = 0; child < 3; ++child) {
    children.push_back(InChild([&, child] {
      auto buffers = OpenSqliteBuffers(path, "run");
      if (!buffers.ok()) return 100;
      int won = 0;
      for (uint64_t g = 0; g < 15; ++g) {
        const absl::Status s = (*buffers)->episodes().Append(MakeEpisode(g, "scene", child));
        if (!s.ok() && !absl::IsAlreadyExists(s)) return 101;
        won += s.ok() ? 1 : 0;
        if (!(*buffers)->difficulty().Update("s", {{1.0}, {1.0}, 0}).ok()) return 102;
      }
      return won;
    }));
  }
  int won = 0;
  for (const pid_t pid : children) {
    const int code = ExitCodeOf(pid);
    ASSERT_LT(code, 100);
    won += code;
  }
  EXPECT_EQ(won, 15);
  SWERVE_ASSERT_OK_AND_ASSIGN(auto buffers, OpenSqliteBuffers(path, "run"));
  SWERVE_ASSERT_OK_AND_ASSIGN(auto waiting, buffers->episodes().Read(0, 100));
  EXPECT_EQ(waiting.size(), 15u);
  SWERVE_ASSERT_OK_AND_ASSIGN(auto record, buffers->difficulty().Get("s"));
  EXPECT_EQ(record.attempts(), 45u);
}

}  // namespace
}  // namespace swerve
