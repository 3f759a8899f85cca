// What an append leaves in Redis: in each state that a failure can leave, the next append puts things right.
#include <gmock/gmock.h>

#include <filesystem>

#include "base/status_matchers.h"
#include "buffers/redis_buffers.h"
#include "buffers/redis_scripts.h"
#include "tests/testing/make_episode.h"
#include "tests/testing/redis_server.h"

namespace swerve {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class RedisAppendsTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_OK(server_.Start());
    Open(uint64_t{1} << 30);
  }
  void Open(uint64_t max_waiting_bytes) {
    RedisBuffersOptions options;
    options.client.connection.url = *ParseRedisUrl(server_.url());
    options.client.sleep = [](absl::Duration) {};
    options.run_id = "run";
    options.max_waiting_bytes = max_waiting_bytes;
    auto buffers = OpenRedisBuffers(options);
    ASSERT_OK(buffers);
    buffers_ = *std::move(buffers);
  }
  EpisodeStore& store() { return buffers_->episodes(); }
  std::vector<std::string> Waiting() {  // "GROUP attempt"
    auto read = store().Read(0, 100);
    EXPECT_TRUE(read.ok()) << read.status();
    std::vector<std::string> waiting;
    for (const v1::Episode& e : *read) waiting.push_back(absl::StrCat(e.group(), " ", e.attempt()));
    return waiting;
  }
  static std::string Name(const std::string& rest) { return "swerve:{run}:" + rest; }
  bool Has(const std::string& rest) { return server_.Command({"EXISTS", Name(rest)}) == "1"; }

  RedisServer server_;
  std::unique_ptr<Buffers> buffers_;
};

constexpr char kOne[] = "e:0000000000000001 1 scene", kOther[] = "e:0000000000000001 2 scene";

TEST_F(RedisAppendsTest, WhatIsNotStoredLeavesNoBytes) {
  ASSERT_OK(store().Append(MakeEpisode(1)));
  EXPECT_THAT(store().Append(MakeEpisode(1, "scene", 2)), StatusIs(absl::StatusCode::kAlreadyExists, testing::_));
  EXPECT_TRUE(Has(kOne));
  EXPECT_FALSE(Has(kOther));
  ASSERT_OK(store().Ack({1}));
  ASSERT_OK(store().Append(MakeEpisode(1)));  // the late repeat
  EXPECT_FALSE(Has(kOne));
  EXPECT_EQ(server_.Command({"GET", Name("bytes")}), "0");
  Open(50);
  ASSERT_OK(store().Append(MakeEpisode(2)));
  EXPECT_THAT(store().Append(MakeEpisode(3)), StatusIs(absl::StatusCode::kResourceExhausted, testing::_));
  EXPECT_FALSE(Has("e:0000000000000003 1 scene"));
}

// The bytes went in, the script did not run: the server had forgotten it, and the client died before it sent it again.
TEST_F(RedisAppendsTest, BytesThatNoScriptTookInAreNotReadAndAreTakenOverByTheRepeat) {
  server_.Command({"SET", Name(kOne), MakeEpisode(1).SerializeAsString()});
  EXPECT_THAT(Waiting(), ElementsAre());
  ASSERT_OK(store().Append(MakeEpisode(1)));
  EXPECT_THAT(Waiting(), ElementsAre("1 1"));
  ASSERT_OK(store().Ack({1}));
  EXPECT_FALSE(Has(kOne));
  EXPECT_EQ(server_.Command({"GET", Name("bytes")}), "0");
}

TEST_F(RedisAppendsTest, BytesThatNoScriptTookInDoNotBecomeAnotherAttempts) {
  server_.Command({"SET", Name(kOne), MakeEpisode(1).SerializeAsString()});
  ASSERT_OK(store().Append(MakeEpisode(1, "scene", 2)));
  EXPECT_THAT(Waiting(), ElementsAre("1 2"));
  // The first attempt comes late after all: refused, and its bytes go.
  EXPECT_THAT(store().Append(MakeEpisode(1)), StatusIs(absl::StatusCode::kAlreadyExists, testing::_));
  EXPECT_FALSE(Has(kOne));
  EXPECT_THAT(Waiting(), ElementsAre("1 2"));
}

// The script failed in its middle: the episode is listed, and its identity is not there.
TEST_F(RedisAppendsTest, AScriptThatFailedInItsMiddleIsMadeGoodByTheRepeat) {
  server_.Command({"SET", Name("ids"), "of another program"});
  EXPECT_THAT(store().Append(MakeEpisode(1)),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("WRONGTYPE")));
  server_.Command({"DEL", Name("ids")});
  server_.Command({"SET", Name("bytes"), "many"});
  EXPECT_FALSE(store().Append(MakeEpisode(1)).ok());
  server_.Command({"DEL", Name("bytes")});
  ASSERT_OK(store().Append(MakeEpisode(1)));
  ASSERT_OK(store().Append(MakeEpisode(1)));
  EXPECT_THAT(Waiting(), ElementsAre("1 1"));
  ASSERT_OK(store().Ack({1}));
  EXPECT_EQ(server_.Command({"GET", Name("bytes")}), "0");
}

// One transaction may hold appends of several threads for one group.
TEST_F(RedisAppendsTest, TheFirstOfATransactionWinsItsGroup) {
  for (const char* key : {kOne, kOther}) server_.Command({"SET", Name(key), "bytes"});
  RedisConnection::Options options;
  options.url = *ParseRedisUrl(server_.url());
  SWERVE_ASSERT_OK_AND_ASSIGN(const auto connection, RedisConnection::Open(options));
  const auto take = [&](std::vector<std::string> episodes) {
    RedisCommand command = {"EVAL", kAppendScript, "4", Name("ids"), Name("waiting"), Name("bytes"), Name("e:"), "12"};
    command.insert(command.end(), episodes.begin(), episodes.end());
    std::vector<std::string> answers;
    const auto reply = connection->Run(command);
    EXPECT_TRUE(reply.ok()) << reply.status();
    for (size_t i = 0; reply.ok() && i < (*reply)->elements; ++i) {
      const redisReply& answer = *(*reply)->element[i];
      answers.push_back(answer.type == REDIS_REPLY_STRING    ? std::string(TextOf(answer))
                        : answer.type == REDIS_REPLY_INTEGER ? std::to_string(answer.integer)
                                                             : "full");
    }
    return answers;
  };
  const std::string one = "0000000000000001", two = "0000000000000002";
  EXPECT_THAT(take({one, "1 scene", "5", one, "2 scene", "5", one, "1 scene", "5"}), ElementsAre("1", "1 scene", "0"));
  EXPECT_TRUE(Has(kOne));
  EXPECT_FALSE(Has(kOther));
  // Refused once as too large, a shorter repeat beside it is refused as well: the bytes that are there are the long ones.
  server_.Command({"SET", Name("e:0000000000000002 1 scene"), "long bytes"});
  EXPECT_THAT(take({two, "1 scene", "10", two, "1 scene", "5"}), ElementsAre("full", "full"));
  EXPECT_FALSE(Has("e:0000000000000002 1 scene"));
  EXPECT_EQ(server_.Command({"GET", Name("bytes")}), "5");
}

TEST_F(RedisAppendsTest, MoreGroupsThanLuaUnpacksAreAcknowledgedAtOnceAndCountedOnce) {
  ASSERT_OK(store().Append(MakeEpisode(1)));
  EXPECT_OK(store().Ack(std::vector<uint64_t>(20'000, 1)));
  EXPECT_EQ(server_.Command({"GET", Name("bytes")}), "0");
  SWERVE_ASSERT_OK_AND_ASSIGN(const EpisodeStats stats, store().Stats());
  EXPECT_EQ(stats.acknowledged, 1u);
}

// Power fails while the server writes an append to its file: the server comes up with all of it or nothing of it.
TEST_F(RedisAppendsTest, ATransactionTornInTheFileIsGoneAsAWhole) {
  const auto file = [&] {
    for (const auto& entry : std::filesystem::directory_iterator(server_.dir() + "/appendonlydir")) {
      if (entry.path().string().find(".incr.") != std::string::npos) return entry.path().string();
    }
    return std::string();
  };
  ASSERT_OK(store().Append(MakeEpisode(0)));
  server_.Command({"CONFIG", "SET", "appendfsync", "always"});
  const uintmax_t before = std::filesystem::file_size(file());
  ASSERT_OK(store().Append(MakeEpisode(1)));
  const uintmax_t after = std::filesystem::file_size(file());
  ASSERT_GT(after, before + 100);
  server_.Kill();
  const std::string whole = file(), kept = server_.dir() + "/kept";
  std::filesystem::copy_file(whole, kept);
  for (uintmax_t cut = before + 1; cut < after; cut += 41) {
    std::filesystem::copy_file(kept, whole, std::filesystem::copy_options::overwrite_existing);
    std::filesystem::resize_file(whole, cut);
    ASSERT_OK(server_.Start());
    EXPECT_THAT(Waiting(), ElementsAre("0 1")) << cut;
    EXPECT_FALSE(Has(kOne)) << cut;
    if (cut + 41 >= after) {
      ASSERT_OK(store().Append(MakeEpisode(1)));
      EXPECT_THAT(Waiting(), ElementsAre("0 1", "1 1"));
    }
    server_.Kill();
  }
}

}  // namespace
}  // namespace swerve
