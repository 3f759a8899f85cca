#include "base/redis_url.h"

#include <gmock/gmock.h>

#include "base/random.h"
#include "base/status_matchers.h"

namespace swerve {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(RedisUrlTest, EveryPartIsRead) {
  SWERVE_ASSERT_OK_AND_ASSIGN(const RedisUrl full, ParseRedisUrl("redis://me:p%40ss%2f:x@db.example:6400/3"));
  EXPECT_EQ(full.user, "me");
  EXPECT_EQ(full.password, "p@ss/:x");
  EXPECT_EQ(full.host, "db.example");
  EXPECT_EQ(full.port, 6400);
  EXPECT_EQ(full.db, 3);
  SWERVE_ASSERT_OK_AND_ASSIGN(const RedisUrl bare, ParseRedisUrl("redis://h"));
  EXPECT_EQ(bare.port, 6379);
  EXPECT_EQ(bare.user, "");
  SWERVE_ASSERT_OK_AND_ASSIGN(const RedisUrl old, ParseRedisUrl("redis://:hush@h/"));
  EXPECT_EQ(old.user, "");
  EXPECT_EQ(old.password, "hush");
  SWERVE_ASSERT_OK_AND_ASSIGN(const RedisUrl v6, ParseRedisUrl("redis://[::1]:7000"));
  EXPECT_EQ(v6.host, "::1");
  EXPECT_EQ(v6.port, 7000);
  SWERVE_ASSERT_OK_AND_ASSIGN(const RedisUrl local, ParseRedisUrl("unix://me:hush@/run/redis/r.sock?db=2"));
  EXPECT_EQ(local.unix_path, "/run/redis/r.sock");
  EXPECT_EQ(local.user, "me");
  EXPECT_EQ(local.db, 2);
}

TEST(RedisUrlTest, WrittenAgainItIsTheSameButForThePassword) {
  for (const std::string url : {"redis://me@h:1/2", "redis://[::1]:7000/0", "unix:///r.sock", "unix://me@/r.sock?db=2",
                                "redis://a%40b@h:6379/0"}) {
    SWERVE_ASSERT_OK_AND_ASSIGN(const RedisUrl parsed, ParseRedisUrl(url));
    EXPECT_EQ(parsed.ToString(), url);
  }
  SWERVE_ASSERT_OK_AND_ASSIGN(const RedisUrl secret, ParseRedisUrl("redis://me:hush@h:1/2"));
  EXPECT_EQ(secret.ToString(), "redis://me@h:1/2");
}

TEST(RedisUrlTest, MalformedUrlsAreRefusedWithoutQuotingThem) {
  for (const std::string url :
       {"", "redis", "redis:/h", "redis://", "redis://:hush@", "redis://h:hush", "redis://h:0", "redis://h:65536",
        "redis://h/hush", "redis://h/-1", "redis://a:hu%sh@h", "redis://a:hush%4@h", "redis://[::1", "redis://[::1]x",
        "redis://a:b:hush", "unix://", "unix://hush", "unix://relative/hush", "unix:///", "unix:///s?hush=1",
        "unix:///s?db=hush", "rediss://a:hush@h", "redis://a:hu sh@h o"}) {
    EXPECT_THAT(ParseRedisUrl(url), StatusIs(absl::StatusCode::kInvalidArgument, Not(HasSubstr("hush")))) << url;
  }
  EXPECT_THAT(ParseRedisUrl("unix:///" + std::string(200, 'x')), StatusIs(absl::StatusCode::kInvalidArgument, testing::_));
}

TEST(RedisUrlTest, AnyBytesAreReadOrRefused) {
  Random random(1);
  const std::string alphabet("redisunx:/@[]%?=.0128a\xff \0", 25);
  for (int i = 0; i < 20000; ++i) {
    std::string url = random.Chance(0.5) ? "redis://" : "unix://";
    for (uint64_t n = random.Below(24); n > 0; --n) url.push_back(alphabet[random.Below(alphabet.size())]);
    const auto parsed = ParseRedisUrl(url);
    if (!parsed.ok()) continue;
    EXPECT_NE(parsed->host.empty(), parsed->unix_path.empty()) << url;
    EXPECT_OK(ParseRedisUrl(parsed->ToString())) << url << " as " << parsed->ToString();
  }
}

TEST(RedisUrlTest, PasswordsAreCutOutOfText) {
  EXPECT_EQ(WithoutPasswords("at redis://me:hush@h:1/2: no"), "at redis://me@h:1/2: no");
  EXPECT_EQ(WithoutPasswords("redis://me:hu/s@h@h"), "redis://me@h");
  EXPECT_EQ(WithoutPasswords("redis://h:1 and http://x:2/y"), "redis://h:1 and http://x:2/y");
  EXPECT_EQ(WithoutPasswords("no url: a@b"), "no url: a@b");
  EXPECT_EQ(WithoutPasswords("redis://:a@b\nredis://c:d@e"), "redis://@b\nredis://c@e");
}

}  // namespace
}  // namespace swerve
