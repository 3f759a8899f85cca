// The connection fails: reconnecting, lost replies, a frozen server, a server that is none.
#include <gmock/gmock.h>
#include <sys/un.h>

#include <atomic>
#include <mutex>
#include <thread>

#include "base/status_matchers.h"
#include "buffers/redis_buffers.h"
#include "tests/testing/make_episode.h"
#include "tests/testing/redis_server.h"

namespace swerve {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

RedisBuffersOptions OptionsFor(const std::string& url) {
  RedisBuffersOptions options;
  options.client.connection.url = *ParseRedisUrl(url);
  options.run_id = "run";
  return options;
}

// Time that passes only in pauses; what was paused is kept.
struct FakeTime {
  void Install(RedisClient::Options* options) {
    options->now = [this] { return now; };
    options->sleep = [this](absl::Duration d) {
      pauses.push_back(d);
      now += d;
      if (at_pause) at_pause();
    };
  }
  absl::Time now = absl::UnixEpoch();
  std::vector<absl::Duration> pauses;
  std::function<void()> at_pause;
};

TEST(BackoffTest, PausesDoubleToABoundWithJitter) {
  Backoff backoff(1);
  absl::Duration expected = absl::Milliseconds(50);
  for (int i = 0; i < 12; ++i) {
    const absl::Duration pause = backoff.Next();
    EXPECT_GE(pause, expected * 0.5);
    EXPECT_LE(pause, expected * 1.5);
    expected = std::min(2 * expected, absl::Seconds(2));
  }
  backoff.Reset();
  EXPECT_LE(backoff.Next(), absl::Milliseconds(75));
  EXPECT_NE(Backoff(1).Next(), Backoff(2).Next());
}

TEST(RedisFaultsTest, GivesUpAfterItsPatienceAndNamesTheServerWithoutThePassword) {
  RedisBuffersOptions options = OptionsFor("unix://me:hush@/nonexistent/s");
  FakeTime time;
  time.Install(&options.client);
  EXPECT_THAT(OpenRedisBuffers(options),
              StatusIs(absl::StatusCode::kUnavailable,
                       AllOf(HasSubstr("unix://me@/nonexistent/s"), HasSubstr("20s"), Not(HasSubstr("hush")))));
  EXPECT_GT(time.pauses.size(), 8u);
  EXPECT_LE(time.now - absl::UnixEpoch(), absl::Seconds(20));
}

TEST(RedisFaultsTest, AServerThatComesBackIsFoundAndASettingThatTurnedBadIsRefused) {
  RedisServer server;
  ASSERT_OK(server.Start());
  RedisBuffersOptions options = OptionsFor(server.url());
  FakeTime time;
  time.Install(&options.client);
  SWERVE_ASSERT_OK_AND_ASSIGN(const auto buffers, OpenRedisBuffers(options));
  ASSERT_OK(buffers->episodes().Append(MakeEpisode(1)));
  server.Kill();
  time.at_pause = [&] {
    if (time.pauses.size() == 3) {
      EXPECT_OK(server.Start());
    }
  };
  EXPECT_OK(buffers->episodes().Append(MakeEpisode(2)));
  EXPECT_EQ(time.pauses.size(), 3u);
  // Scripts gone (SCRIPT FLUSH by hand): loaded again.
  server.Command({"SCRIPT", "FLUSH"});
  EXPECT_OK(buffers->episodes().Append(MakeEpisode(3)));
  SWERVE_ASSERT_OK_AND_ASSIGN(const auto read, buffers->episodes().Read(0, 9));
  EXPECT_THAT(GroupsOf(read), testing::ElementsAre(1, 2, 3));
  server.Kill();
  server.AddArguments({"--maxmemory-policy", "allkeys-lru"});
  ASSERT_OK(server.Start());
  EXPECT_THAT(buffers->episodes().Append(MakeEpisode(4)),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("allkeys-lru")));
}

// Stands between client and server on a socket of its own and forwards bytes, until told to lose a reply.
class Relay {
 public:
  Relay(std::string path, std::string to) : path_(std::move(path)), to_(std::move(to)) {
    listen_ = ::socket(AF_UNIX, SOCK_STREAM, 0);
    const sockaddr_un address = Address(path_);
    EXPECT_EQ(bind(listen_, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(listen(listen_, 8), 0);
    thread_ = std::thread([this] { Run(); });
  }
  ~Relay() {
    shutdown(listen_, SHUT_RDWR);
    thread_.join();
    close(listen_);
  }
  // The next request that contains `text` is carried out, and the connection closed instead of the reply.
  void LoseReplyTo(const std::string& text) {
    std::lock_guard lock(mu_);
    lose_ = text;
  }
  int lost() const { return lost_; }

 private:
  static sockaddr_un Address(const std::string& path) {
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    std::copy(path.begin(), path.end(), address.sun_path);
    return address;
  }
  void Run() {
    for (int client; (client = accept(listen_, nullptr, nullptr)) >= 0;) {
      const int server = ::socket(AF_UNIX, SOCK_STREAM, 0);
      const sockaddr_un address = Address(to_);
      if (connect(server, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) Forward(client, server);
      close(server);
      close(client);
    }
  }
  // Requests of these tests fit one read, and a reply is awaited before the next request.
  void Forward(int client, int server) {
    std::vector<char> bytes(1 << 20);
    while (true) {
      const ssize_t n = read(client, bytes.data(), bytes.size());
      if (n <= 0 || write(server, bytes.data(), n) != n) return;
      const ssize_t m = read(server, bytes.data() + n, bytes.size() - n);
      if (m <= 0) return;
      {
        std::lock_guard lock(mu_);
        if (!lose_.empty() && std::string_view(bytes.data(), n).find(lose_) != std::string_view::npos) {
          lose_.clear();
          ++lost_;
          return;
        }
      }
      if (write(client, bytes.data() + n, m) != m) return;
    }
  }
  const std::string path_, to_;
  int listen_ = -1;
  std::mutex mu_;
  std::string lose_;
  std::atomic<int> lost_{0};
  std::thread thread_;
};

TEST(RedisFaultsTest, ALostReplyMakesNothingHappenTwice) {
  RedisServer server;
  ASSERT_OK(server.Start());
  Relay relay(server.dir() + "/relay", server.socket());
  RedisBuffersOptions options = OptionsFor("unix://" + server.dir() + "/relay");
  options.client.sleep = [](absl::Duration) {};
  SWERVE_ASSERT_OK_AND_ASSIGN(auto buffers, OpenRedisBuffers(options));
  relay.LoseReplyTo("response of group 7");
  EXPECT_OK(buffers->episodes().Append(MakeEpisode(7)));
  SWERVE_ASSERT_OK_AND_ASSIGN(EpisodeStats stats, buffers->episodes().Stats());
  EXPECT_EQ(stats.appended, 1u);
  relay.LoseReplyTo("e:0000000000000007 1 scene");
  SWERVE_ASSERT_OK_AND_ASSIGN(const auto read, buffers->episodes().Read(0, 9));
  EXPECT_THAT(GroupsOf(read), testing::ElementsAre(7));
  ASSERT_OK(buffers->difficulty().Update("s", {{1.0}, {1.0}, 0}));
  relay.LoseReplyTo("done:");
  EXPECT_OK(buffers->difficulty().Update("s", {{1.0}, {1.0}, 0}));
  SWERVE_ASSERT_OK_AND_ASSIGN(const auto record, buffers->difficulty().Get("s"));
  EXPECT_EQ(record.attempts(), 2u);
  relay.LoseReplyTo("0000000000000007");
  EXPECT_OK(buffers->episodes().Ack({7}));
  SWERVE_ASSERT_OK_AND_ASSIGN(stats, buffers->episodes().Stats());
  EXPECT_EQ(stats.acknowledged, 1u);
  EXPECT_EQ(relay.lost(), 4);
  buffers.reset();  // closes the connection that the relay serves
}

TEST(RedisFaultsTest, AFrozenServerTimesOutAndIsUsedAgainWhenItThaws) {
  RedisServer server;
  ASSERT_OK(server.Start());
  RedisBuffersOptions options = OptionsFor(server.url());
  options.client.connection.reply_timeout = absl::Milliseconds(200);
  options.client.connection.connect_timeout = absl::Milliseconds(200);
  FakeTime time;
  time.Install(&options.client);
  SWERVE_ASSERT_OK_AND_ASSIGN(const auto buffers, OpenRedisBuffers(options));
  kill(server.pid(), SIGSTOP);
  time.at_pause = [&] {
    if (time.pauses.size() == 2) kill(server.pid(), SIGCONT);
  };
  // The first, unanswered request runs too when the server thaws.
  EXPECT_OK(buffers->difficulty().Update("s", {{1.0}, {1.0}, 0}));
  EXPECT_OK(buffers->episodes().Append(MakeEpisode(1)));
  SWERVE_ASSERT_OK_AND_ASSIGN(const auto record, buffers->difficulty().Get("s"));
  EXPECT_EQ(record.attempts(), 1u);
  EXPECT_GE(time.pauses.size(), 2u);
}

TEST(RedisFaultsTest, WhatDoesNotSpeakRedisIsAnErrorNotACrash) {
  for (const std::string answer : {"HTTP/1.1 400 Bad Request\r\n\r\n", "$99999999999999\r\n", "*-7\r\n", "+OK\r\n+OK\r\n",
                                   "*100000\r\n", ":abc\r\n", "$5\r\nab", "-\r\n", "*1\r\n*1\r\n*1\r\n"}) {
    char dir[] = "/tmp/swerve-fake-XXXXXX";
    ASSERT_NE(mkdtemp(dir), nullptr);
    const std::string path = std::string(dir) + "/s";
    const int listening = ::socket(AF_UNIX, SOCK_STREAM, 0);
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    std::copy(path.begin(), path.end(), address.sun_path);
    ASSERT_EQ(bind(listening, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    ASSERT_EQ(listen(listening, 8), 0);
    std::thread server([&] {
      for (int client; (client = accept(listening, nullptr, nullptr)) >= 0; close(client)) {
        char bytes[4096];
        if (read(client, bytes, sizeof bytes) > 0) {
          EXPECT_GT(write(client, answer.data(), answer.size()), 0);
        }
      }
    });
    RedisBuffersOptions options = OptionsFor("unix://" + path);
    FakeTime time;
    time.Install(&options.client);
    options.client.patience = absl::Milliseconds(100);
    EXPECT_FALSE(OpenRedisBuffers(options).ok()) << answer;
    shutdown(listening, SHUT_RDWR);
    server.join();
    close(listening);
    std::filesystem::remove_all(dir);
  }
}

}  // namespace
}  // namespace swerve
