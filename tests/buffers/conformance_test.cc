#include <unistd.h>

#include <atomic>

#include "base/files.h"
#include "buffers/redis_buffers.h"
#include "buffers/sqlite_buffers.h"
#include "tests/testing/episode_store_conformance.h"
#include "tests/testing/fake_buffers.h"
#include "tests/testing/redis_server.h"

namespace swerve {
namespace {

std::unique_ptr<Buffers> FreshSqlite() {
  static std::atomic<int> number{0};
  const std::string path =
      absl::StrCat(testing::TempDir(), "/conformance-", getpid(), "-", number.fetch_add(1), ".sqlite");
  auto buffers = OpenSqliteBuffers(path, "run");
  EXPECT_TRUE(buffers.ok()) << buffers.status();
  return *std::move(buffers);
}

// With the settings and the rights that deploy/redis ships; one server for the suite, emptied for each test.
struct ShippedRedis {
  ShippedRedis() : server({std::string(SWERVE_SOURCE_DIR) + "/deploy/redis/redis.conf", {}, {}}) {
    auto acl = ReadFile(std::string(SWERVE_SOURCE_DIR) + "/deploy/redis/users.acl");
    EXPECT_TRUE(acl.ok()) << acl.status();
    const std::string file = server.dir() + "/users.acl";
    *acl += "user tester on >admin ~* &* +@all\n";
    acl->replace(acl->find("user swerve on"), 14, "user swerve on >hush");
    EXPECT_TRUE(WriteFileAtomically(file, *acl).ok());
    server.AddArguments({"--aclfile", file});
    const absl::Status started = server.Start();
    EXPECT_TRUE(started.ok()) << started;
  }
  void Flush() {
    RedisConnection::Options options;
    options.url = *ParseRedisUrl("unix://tester:admin@" + server.socket());
    auto connection = RedisConnection::Open(options);
    ASSERT_TRUE(connection.ok()) << connection.status();
    const auto reply = (*connection)->Run({"FLUSHALL"});
    ASSERT_TRUE(reply.ok()) << reply.status();
  }
  RedisServer server;
};

std::unique_ptr<Buffers> FreshRedis() {
  static ShippedRedis redis;
  redis.Flush();
  RedisBuffersOptions options;
  options.client.connection.url = *ParseRedisUrl("unix://swerve:hush@" + redis.server.socket());
  options.run_id = "run";
  options.owner = "here";
  auto buffers = OpenRedisBuffers(options);
  EXPECT_TRUE(buffers.ok()) << buffers.status();
  return *std::move(buffers);
}

INSTANTIATE_TEST_SUITE_P(Redis, BuffersConformance, testing::Values(BuffersFactory(FreshRedis)));
INSTANTIATE_TEST_SUITE_P(Sqlite, BuffersConformance, testing::Values(BuffersFactory(FreshSqlite)));
INSTANTIATE_TEST_SUITE_P(Fake, BuffersConformance,
                         testing::Values(BuffersFactory([] { return std::make_unique<FakeBuffers>(); })));

}  // namespace
}  // namespace swerve
