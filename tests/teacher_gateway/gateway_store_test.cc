#include "teacher_gateway/gateway_store.h"

#include <gmock/gmock.h>
#include <unistd.h>

#include <filesystem>

#include "base/files.h"
#include "base/status_matchers.h"

namespace swerve {
namespace {

using ::testing::HasSubstr;

class GatewayStoreTest : public testing::Test {
 protected:
  GatewayStoreTest() : path_(absl::StrCat(testing::TempDir(), "/store-", getpid(), ".sqlite")) { Remove(); }
  ~GatewayStoreTest() override { Remove(); }
  void Remove() {
    for (const char* end : {"", "-wal", "-shm"}) std::filesystem::remove(path_ + end);
  }
  std::unique_ptr<GatewayStore> Open(int64_t max_bytes = 1 << 20) {
    auto store = GatewayStore::Open(path_, max_bytes);
    EXPECT_TRUE(store.ok()) << store.status();
    return *std::move(store);
  }
  const std::string path_;
};

v1::Feedback Says(const std::string& text) {
  v1::Feedback f;
  f.set_prompt_text(text);
  return f;
}

TEST_F(GatewayStoreTest, ReportsAndSpendingOutliveTheProcess) {
  {
    auto store = Open();
    store->Put("k", Says("brake"));
    store->AddSpent("vlm", {100, 0.25});
    store->AddSpent("vlm", {11, 0.0000005});
  }
  auto store = Open();
  ASSERT_TRUE(store->Get("k").has_value());
  EXPECT_EQ(store->Get("k")->prompt_text(), "brake");
  EXPECT_FALSE(store->Get("other").has_value());
  EXPECT_EQ(store->Spent("vlm").tokens, 111);
  EXPECT_NEAR(store->Spent("vlm").money, 0.2500005, 1e-9);
  EXPECT_EQ(store->Spent("nobody").tokens, 0);
  EXPECT_GT(store->bytes(), 0);
}

TEST_F(GatewayStoreTest, TheLeastRecentlyUsedGoFirst) {
  const int64_t one = static_cast<int64_t>(Says(std::string(100, 'x')).ByteSizeLong()) + 64;
  auto store = Open(3 * one);
  for (const char* key : {"a", "b", "c"}) store->Put(key, Says(std::string(100, 'x')));
  EXPECT_EQ(store->bytes(), 3 * one);
  EXPECT_TRUE(store->Get("a").has_value());  // now b is the oldest
  store->Put("d", Says(std::string(100, 'x')));
  EXPECT_FALSE(store->Get("b").has_value());
  EXPECT_TRUE(store->Get("a").has_value());
  EXPECT_LE(store->bytes(), 3 * one);
  store->Put("a", Says("short"));  // replaced, not added
  EXPECT_EQ(store->Get("a")->prompt_text(), "short");
  EXPECT_LT(store->bytes(), 3 * one);
  store->Put("huge", Says(std::string(1000, 'x')));
  EXPECT_FALSE(store->Get("huge").has_value());
  EXPECT_TRUE(store->Get("d").has_value());
}

TEST_F(GatewayStoreTest, ASmallerBoundIsKeptFromTheStart) {
  for (int i = 0; i < 10; ++i) Open()->Put(absl::StrCat(i), Says(std::string(100, 'x')));
  auto store = Open(400);
  EXPECT_LE(store->bytes(), 400);
  EXPECT_TRUE(store->Get("9").has_value());
}

TEST_F(GatewayStoreTest, ZeroRemembersNothingButSpending) {
  auto store = Open(0);
  store->Put("k", Says("brake"));
  store->AddSpent("vlm", {5, 0});
  EXPECT_FALSE(store->Get("k").has_value());
  EXPECT_EQ(store->Spent("vlm").tokens, 5);
}

TEST_F(GatewayStoreTest, AFileThatIsNoDatabaseIsRefusedByName) {
  ASSERT_OK(WriteFileAtomically(path_, std::string(4096, 'z')));
  EXPECT_THAT(GatewayStore::Open(path_, 100).status(), StatusIs(absl::StatusCode::kDataLoss, HasSubstr("move the file away")));
}

}  // namespace
}  // namespace swerve
