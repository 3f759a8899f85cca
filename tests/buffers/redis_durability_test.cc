// What each appendfsync setting keeps when the server dies (SIGKILL: what it had written stays with the kernel) and
// when power is lost (the append-only file is cut where it was last fsynced, as fsync_recorder.c noted).
#include <gmock/gmock.h>

#include <atomic>
#include <fstream>
#include <set>
#include <thread>

#include "base/status_matchers.h"
#include "buffers/redis_buffers.h"
#include "tests/testing/make_episode.h"
#include "tests/testing/redis_server.h"

namespace swerve {
namespace {

class RedisDurabilityTest : public testing::Test {
 protected:
  void StartWith(const std::string& appendfsync) {
    RedisServer::Options options;
    options.arguments = {"--appendfsync", appendfsync, "--auto-aof-rewrite-percentage", "0"};
    options.preload = SWERVE_FSYNC_RECORDER;
    server_ = std::make_unique<RedisServer>(options);
    ASSERT_OK(server_->Start());
    RedisBuffersOptions store;
    store.client.connection.url = *ParseRedisUrl(server_->url());
    store.client.patience = absl::Seconds(60);
    store.run_id = "run";
    auto buffers = OpenRedisBuffers(store);
    ASSERT_OK(buffers);
    buffers_ = *std::move(buffers);
  }
  EpisodeStore& store() { return buffers_->episodes(); }
  void Append(uint64_t from, uint64_t to) {
    for (uint64_t g = from; g < to; ++g) ASSERT_OK(store().Append(MakeEpisode(g)));
  }
  std::vector<uint64_t> Waiting() {
    auto read = store().Read(0, 100000);
    EXPECT_TRUE(read.ok()) << read.status();
    return read.ok() ? GroupsOf(*read) : std::vector<uint64_t>{};
  }

  // The incremental append-only files; what was loaded at start lies in the base file.
  std::vector<std::string> Files() const {
    std::vector<std::string> files;
    for (const auto& entry : std::filesystem::directory_iterator(server_->dir() + "/appendonlydir")) {
      if (entry.path().extension() == ".aof") files.push_back(entry.path());
    }
    return files;
  }
  static uintmax_t Synced(const std::string& file) {
    std::ifstream in(file + ".synced");
    uintmax_t size = 0;
    return in >> size ? size : 0;
  }
  bool AllSynced() const {
    // While a sync is under way, what comes next may still be in the server's buffer.
    if (server_->Command({"INFO", "persistence"}).find("aof_buffer_length:0\r") == std::string::npos) return false;
    for (const std::string& file : Files()) {
      if (Synced(file) < std::filesystem::file_size(file)) return false;
    }
    return true;
  }
  void LosePower() {
    server_->Kill();
    for (const std::string& file : Files()) std::filesystem::resize_file(file, Synced(file));
    ASSERT_OK(server_->Start());
  }

  std::unique_ptr<RedisServer> server_;
  std::unique_ptr<Buffers> buffers_;
};

TEST_F(RedisDurabilityTest, AlwaysLosesNothingToALossOfPower) {
  StartWith("always");
  Append(0, 20);
  ASSERT_OK(store().Ack({0, 3}));
  ASSERT_OK(buffers_->difficulty().Update("s", {{0.5}, {1.0}, 1}));
  LosePower();
  EXPECT_EQ(Waiting().size(), 18u);
  SWERVE_ASSERT_OK_AND_ASSIGN(const EpisodeStats stats, store().Stats());
  EXPECT_EQ(stats.appended, 20u);
  EXPECT_EQ(stats.acknowledged, 2u);
  EXPECT_OK(buffers_->difficulty().Get("s"));
}

TEST_F(RedisDurabilityTest, EverysecLosesToALossOfPowerOnlyWhatCameAfterTheLastSync) {
  StartWith("everysec");
  Append(0, 10);
  const absl::Time until = absl::Now() + absl::Seconds(30);
  while (!AllSynced() && absl::Now() < until) absl::SleepFor(absl::Milliseconds(5));  // Redis does it by its own clock
  ASSERT_TRUE(AllSynced());
  Append(10, 20);
  LosePower();
  const std::vector<uint64_t> kept = Waiting();
  ASSERT_GE(kept.size(), 10u);
  for (uint64_t g = 0; g < kept.size(); ++g) EXPECT_EQ(kept[g], g);  // a beginning, nothing torn
}

TEST_F(RedisDurabilityTest, NoSyncsNothingSoALossOfPowerMayTakeAll) {
  StartWith("no");
  Append(0, 10);
  LosePower();
  EXPECT_THAT(Waiting(), testing::IsEmpty());
}

TEST_F(RedisDurabilityTest, EverysecKeepsABeginningWhenTheServerIsKilled) {
  StartWith("everysec");
  Append(0, 50);
  server_->Kill();
  ASSERT_OK(server_->Start());
  const std::vector<uint64_t> kept = Waiting();
  for (uint64_t g = 0; g < kept.size(); ++g) EXPECT_EQ(kept[g], g);
}

class RedisDeathTest : public RedisDurabilityTest, public testing::WithParamInterface<const char*> {};

// Threads append while the server is killed and started again three times; they only see a pause.
TEST_P(RedisDeathTest, NothingAcknowledgedIsLostWhenTheServerIsKilledAmidAppends) {
  StartWith(GetParam());
  constexpr uint64_t kThreads = 4, kEach = 60;
  std::atomic<uint64_t> appended{0};
  std::vector<std::thread> threads;
  for (uint64_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (uint64_t i = 0; i < kEach; ++i) {
        EXPECT_OK(store().Append(MakeEpisode(i * kThreads + t)));
        ++appended;
      }
    });
  }
  for (uint64_t kill : {1, 2, 3}) {
    while (appended < kill * kThreads * kEach / 4) std::this_thread::yield();
    server_->Kill();
    EXPECT_OK(server_->Start());
  }
  for (auto& thread : threads) thread.join();
  const std::vector<uint64_t> waiting = Waiting();
  EXPECT_EQ(std::set<uint64_t>(waiting.begin(), waiting.end()).size(), kThreads * kEach);
  EXPECT_EQ(waiting.size(), kThreads * kEach);
}
INSTANTIATE_TEST_SUITE_P(Appendfsync, RedisDeathTest, testing::Values("always", "no"));

}  // namespace
}  // namespace swerve
