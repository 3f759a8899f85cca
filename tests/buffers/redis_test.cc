// What only the Redis store promises: settings, secrets, bounds, several processes, owners.
#include "buffers/redis_buffers.h"

#include <gmock/gmock.h>

#include <cstdlib>
#include <thread>

#include "base/files.h"
#include "base/status_matchers.h"
#include "buffers/metrics.h"
#include "buffers/redis_settings.h"
#include "tests/testing/make_episode.h"
#include "tests/testing/redis_server.h"

namespace swerve {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

std::map<std::string, std::string> Good() {
  return {{"maxmemory", "1"}, {"maxmemory-policy", "noeviction"}, {"appendonly", "yes"}, {"appendfsync", "always"}};
}

TEST(RedisSettingsTest, WhatLosesEpisodesIsRefusedAndSaysWhatToSet) {
  std::vector<std::string> warnings;
  EXPECT_OK(CheckRedisSettings(Good(), false, &warnings));
  EXPECT_THAT(warnings, testing::IsEmpty());
  for (const char* policy : {"allkeys-lru", "volatile-ttl", "allkeys-random", ""}) {
    auto settings = Good();
    settings["maxmemory-policy"] = policy;
    EXPECT_THAT(CheckRedisSettings(settings, /*allow_volatile=*/true, &warnings),
                StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("set maxmemory-policy noeviction")));
  }
  auto settings = Good();
  settings["appendonly"] = "no";
  EXPECT_THAT(CheckRedisSettings(settings, false, &warnings),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       AllOf(HasSubstr("appendonly yes"), HasSubstr("buffers.allow_volatile"))));
  EXPECT_OK(CheckRedisSettings(settings, true, &warnings));
  ASSERT_EQ(warnings.size(), 1u);
  EXPECT_THAT(warnings[0], HasSubstr("loses episodes"));
  settings.erase("appendfsync");
  EXPECT_THAT(CheckRedisSettings(settings, true, &warnings),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("appendfsync")));
}

TEST(RedisSettingsTest, WhatWeakensAPromiseIsSaid) {
  const auto warned = [](const char* name, const char* value) {
    auto settings = Good();
    settings[name] = value;
    std::vector<std::string> warnings;
    EXPECT_OK(CheckRedisSettings(settings, false, &warnings));
    return warnings.empty() ? std::string() : warnings[0];
  };
  EXPECT_THAT(warned("appendfsync", "everysec"), HasSubstr("two seconds"));
  EXPECT_THAT(warned("appendfsync", "no"), HasSubstr("loss of power"));
  EXPECT_THAT(warned("maxmemory", "0"), HasSubstr("max_waiting_mb"));
}

v1::BuffersConfig At(const std::string& url) {
  v1::BuffersConfig config;
  config.set_url(url);
  config.set_patience_seconds(0.01);
  return config;
}

TEST(OpenRedisTest, DangerousServersAreRefusedAtStart) {
  RedisServer server;
  ASSERT_OK(server.Start());
  EXPECT_OK(OpenBuffers(At(server.url()), server.dir() + "/run", "run"));
  server.Command({"CONFIG", "SET", "maxmemory-policy", "allkeys-lru"});
  EXPECT_THAT(OpenBuffers(At(server.url()), server.dir() + "/run", "run"),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("allkeys-lru")));
  server.Command({"CONFIG", "SET", "maxmemory-policy", "noeviction", "appendonly", "no"});
  v1::BuffersConfig config = At(server.url());
  EXPECT_THAT(OpenBuffers(config, server.dir() + "/run", "run"),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("append-only")));
  config.set_allow_volatile(true);
  EXPECT_OK(OpenBuffers(config, server.dir() + "/run", "run"));
}

TEST(OpenRedisTest, ARunIdOfAnotherDirectoryIsNotMixedIn) {
  RedisServer server;
  ASSERT_OK(server.Start());
  SWERVE_ASSERT_OK_AND_ASSIGN(auto first, OpenBuffers(At(server.url()), server.dir() + "/a", "run"));
  ASSERT_OK(first->episodes().Append(MakeEpisode(1)));
  SWERVE_ASSERT_OK_AND_ASSIGN(auto again, OpenBuffers(At(server.url()), server.dir() + "/a", "run"));
  EXPECT_THAT(again->episodes().Read(0, 9), IsOk());
  EXPECT_THAT(OpenBuffers(At(server.url()), server.dir() + "/b", "run"),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("another run directory")));
  SWERVE_ASSERT_OK_AND_ASSIGN(auto other, OpenBuffers(At(server.url()), server.dir() + "/b", "other"));
  SWERVE_ASSERT_OK_AND_ASSIGN(const auto none, other->episodes().Read(0, 9));
  EXPECT_TRUE(none.empty());
  SWERVE_ASSERT_OK_AND_ASSIGN(auto db1, OpenBuffers(At(server.url() + "?db=1"), server.dir() + "/b", "run"));
  EXPECT_THAT(db1->difficulty().All(), IsOk());
}

// By TCP with a login; the password from each of its three places, and in no message.
TEST(OpenRedisTest, PasswordsComeFromUrlFileOrEnvironmentAndAreNeverShown) {
  RedisServer server;
  const int port = RedisServer::FreePort();
  server.AddArguments({"--port", std::to_string(port), "--bind", "127.0.0.1", "--user", "me", "on", ">hush-hush", "~*",
                       "&*", "+@all", "--user", "default", "off"});
  ASSERT_OK(server.Start());
  const std::string run = server.dir() + "/run", host = "127.0.0.1:" + std::to_string(port);
  unsetenv(kRedisPasswordVariable);
  EXPECT_OK(OpenBuffers(At("redis://me:hush-hush@" + host + "/0"), run, "run"));
  EXPECT_OK(OpenBuffers(At("unix://me:hush-hush@" + server.socket()), run, "run"));
  ASSERT_OK(WriteFileAtomically(server.dir() + "/pw", "hush-hush\n"));
  v1::BuffersConfig by_file = At("redis://me@" + host);
  by_file.set_password_file(server.dir() + "/pw");
  EXPECT_OK(OpenBuffers(by_file, run, "run"));
  by_file.set_password_file(server.dir() + "/none");
  EXPECT_THAT(OpenBuffers(by_file, run, "run"), StatusIs(absl::StatusCode::kNotFound, HasSubstr("password_file")));

  EXPECT_THAT(OpenBuffers(At("redis://me@" + host), run, "run"),
              StatusIs(absl::StatusCode::kPermissionDenied, HasSubstr("SWERVE_REDIS_PASSWORD")));
  EXPECT_THAT(OpenBuffers(At("redis://me:wrong-hush@" + host), run, "run"),
              StatusIs(absl::StatusCode::kPermissionDenied, Not(HasSubstr("wrong-hush"))));
  EXPECT_THAT(OpenBuffers(At("redis://me:hush-hush@127.0.0.1:1"), run, "run"),
              StatusIs(absl::StatusCode::kUnavailable, AllOf(HasSubstr("127.0.0.1:1"), Not(HasSubstr("hush")))));

  v1::BuffersConfig exported = At("redis://me:hush-hush@" + host + "/0");
  ExportRedisPassword(&exported);
  EXPECT_EQ(exported.url(), "redis://me@" + host + "/0");
  EXPECT_OK(OpenBuffers(exported, run, "run"));  // as a child process would
  unsetenv(kRedisPasswordVariable);
}

class RedisBuffersTest : public testing::Test {
 protected:
  void SetUp() override { ASSERT_OK(server_.Start()); }
  RedisBuffersOptions Options() {
    RedisBuffersOptions options;
    options.client.connection.url = *ParseRedisUrl(server_.url());
    options.run_id = "run";
    return options;
  }
  std::unique_ptr<Buffers> Open(RedisBuffersOptions options) {
    auto buffers = OpenRedisBuffers(std::move(options));
    EXPECT_TRUE(buffers.ok()) << buffers.status();
    return *std::move(buffers);
  }
  static v1::Episode Big(uint64_t group, size_t bytes) {
    v1::Episode e = MakeEpisode(group);
    e.mutable_samples(0)->mutable_response()->set_text(std::string(bytes, 'x'));
    return e;
  }
  RedisServer server_;
};

TEST_F(RedisBuffersTest, AFullStoreRefusesAndLosesNothingUntilAcknowledgementsMakeRoom) {
  RedisBuffersOptions options = Options();
  options.max_waiting_bytes = 100'000;
  const auto buffers = Open(options);
  EpisodeStore& store = buffers->episodes();
  for (uint64_t g = 0; g < 3; ++g) ASSERT_OK(store.Append(Big(g, 30'000)));
  EXPECT_THAT(store.Append(Big(3, 30'000)),
              StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("max_waiting_mb")));
  EXPECT_OK(store.Append(Big(2, 30'000)));  // stored before: that it is full is no matter
  SWERVE_ASSERT_OK_AND_ASSIGN(const auto waiting, store.Read(0, 9));
  EXPECT_THAT(GroupsOf(waiting), ElementsAre(0, 1, 2));
  ASSERT_OK(store.Ack({1}));
  ASSERT_OK(store.Ack({1}));  // room is made once
  EXPECT_OK(store.Append(Big(3, 30'000)));
  EXPECT_THAT(store.Append(Big(4, 30'000)), StatusIs(absl::StatusCode::kResourceExhausted, testing::_));
  EXPECT_THAT(store.Append(Big(5, 200'000)),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("max_waiting_mb")));
}

TEST_F(RedisBuffersTest, AServerAtMaxmemoryTakesAcknowledgementsAndEvictsNothing) {
  const auto buffers = Open(Options());
  EpisodeStore& store = buffers->episodes();
  ASSERT_OK(store.Append(Big(0, 1000)));
  server_.Command({"CONFIG", "SET", "maxmemory", "6mb"});
  uint64_t stored = 1;
  absl::Status status;
  while (stored < 500 && (status = store.Append(Big(stored, 64'000))).ok()) ++stored;
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("maxmemory")));
  ASSERT_GT(stored, 10u);
  SWERVE_ASSERT_OK_AND_ASSIGN(const auto waiting, store.Read(0, 1000));
  EXPECT_EQ(waiting.size(), stored);
  std::vector<uint64_t> groups = GroupsOf(waiting);
  ASSERT_OK(store.Ack(groups));
  EXPECT_OK(store.Append(Big(stored, 64'000)));
}

TEST_F(RedisBuffersTest, GroupsBeyondWhatADoubleHoldsKeepTheirOrder) {
  const auto buffers = Open(Options());
  const uint64_t big = uint64_t{1} << 63;
  for (uint64_t g : {big + 1, big, uint64_t{9007199254740993}, uint64_t{9007199254740992}}) {
    ASSERT_OK(buffers->episodes().Append(MakeEpisode(g)));
  }
  SWERVE_ASSERT_OK_AND_ASSIGN(const auto read, buffers->episodes().Read(9007199254740993, 9));
  EXPECT_THAT(GroupsOf(read), ElementsAre(9007199254740993, big, big + 1));
}

TEST_F(RedisBuffersTest, DamageIsNamedNotSkipped) {
  const auto buffers = Open(Options());
  ASSERT_OK(buffers->episodes().Append(MakeEpisode(1)));
  server_.Command({"SET", "swerve:{run}:e:0000000000000001 1 scene", "\xff\xff nonsense"});
  EXPECT_THAT(buffers->episodes().Read(0, 9), StatusIs(absl::StatusCode::kDataLoss, HasSubstr("0000000000000001")));
  server_.Command({"DEL", "swerve:{run}:e:0000000000000001 1 scene"});
  EXPECT_THAT(buffers->episodes().Read(0, 9), StatusIs(absl::StatusCode::kDataLoss, HasSubstr("not there")));
  server_.Command({"DEL", "swerve:{run}:waiting"});
  server_.Command({"SET", "swerve:{run}:waiting", "of another program"});
  EXPECT_THAT(buffers->episodes().Append(MakeEpisode(2)),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("WRONGTYPE")));
}

// A learner that dies between reading and acknowledging holds nothing back.
TEST_F(RedisBuffersTest, AnotherConsumerTakesOverWhatADeadOneHadRead) {
  const auto buffers = Open(Options());
  for (uint64_t g = 0; g < 4; ++g) ASSERT_OK(buffers->episodes().Append(MakeEpisode(g)));
  const pid_t pid = fork();
  if (pid == 0) {
    auto mine = OpenRedisBuffers(Options());
    if (!mine.ok() || !(*mine)->episodes().Read(0, 4).ok() || !(*mine)->episodes().Ack({0}).ok()) _exit(1);
    if (!(*mine)->episodes().Read(0, 4).ok()) _exit(2);
    kill(getpid(), SIGKILL);
  }
  int status = 0;
  waitpid(pid, &status, 0);
  ASSERT_TRUE(WIFSIGNALED(status)) << status;
  SWERVE_ASSERT_OK_AND_ASSIGN(const auto taken, Open(Options())->episodes().Read(0, 9));
  EXPECT_THAT(GroupsOf(taken), ElementsAre(1, 2, 3));
}

TEST_F(RedisBuffersTest, ProcessesRaceForTheSameGroupsAndOneWinsEach) {
  std::vector<pid_t> children;
  for (uint32_t child = 0; child < 3; ++child) {
    const pid_t pid = fork();
    if (pid == 0) {
      auto buffers = OpenRedisBuffers(Options());
      if (!buffers.ok()) _exit(100);
      int won = 0;
      for (uint64_t g = 0; g < 15; ++g) {
        const absl::Status s = (*buffers)->episodes().Append(MakeEpisode(g, "scene", child));
        if (!s.ok() && !absl::IsAlreadyExists(s)) _exit(101);
        won += s.ok() ? 1 : 0;
        if (!(*buffers)->difficulty().Update("s", {{1.0}, {1.0}, 0}).ok()) _exit(102);
      }
      _exit(won);
    }
    children.push_back(pid);
  }
  int won = 0;
  for (const pid_t pid : children) {
    int status = 0;
    waitpid(pid, &status, 0);
    ASSERT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) < 100) << status;
    won += WEXITSTATUS(status);
  }
  EXPECT_EQ(won, 15);
  SWERVE_ASSERT_OK_AND_ASSIGN(const auto record, Open(Options())->difficulty().Get("s"));
  EXPECT_EQ(record.attempts(), 45u);
}

// Threads that append at once share round trips: with appendfsync always this is what makes it fast.
TEST_F(RedisBuffersTest, ThreadsShareAPipeline) {
  const auto buffers = Open(Options());
  RedisMetrics& metrics = RedisMetrics::Get();
  const double pipelines = metrics.pipelines.Value();
  std::vector<std::thread> threads;
  for (uint64_t t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      for (uint64_t g = 0; g < 50; ++g) EXPECT_OK(buffers->episodes().Append(MakeEpisode(t * 1000 + g)));
    });
  }
  for (auto& t : threads) t.join();
  EXPECT_LT(metrics.pipelines.Value() - pipelines, 400);
  SWERVE_ASSERT_OK_AND_ASSIGN(const EpisodeStats stats, buffers->episodes().Stats());
  EXPECT_EQ(stats.appended, 400u);
}

}  // namespace
}  // namespace swerve
