#include <unistd.h>

#include <atomic>

#include "buffers/sqlite_buffers.h"
#include "tests/testing/episode_store_conformance.h"
#include "tests/testing/fake_buffers.h"

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

INSTANTIATE_TEST_SUITE_P(Sqlite, BuffersConformance, testing::Values(BuffersFactory(FreshSqlite)));
INSTANTIATE_TEST_SUITE_P(Fake, BuffersConformance,
                         testing::Values(BuffersFactory([] { return std::make_unique<FakeBuffers>(); })));

}  // namespace
}  // namespace swerve
