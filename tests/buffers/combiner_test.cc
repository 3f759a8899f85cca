#include "buffers/combiner.h"

#include <gmock/gmock.h>

#include <atomic>
#include <thread>

namespace swerve {
namespace {

struct Item {
  size_t bytes = 1;
  int served = 0;
};

TEST(CombinerTest, ACallerAloneIsServedAtOnceOnLaneZero) {
  std::vector<int> lanes;
  Combiner<Item> combiner({2, 8, 100}, [&](int lane, const std::vector<Item*>& batch) {
    lanes.push_back(lane);
    for (Item* item : batch) ++item->served;
  });
  Item item;
  for (int i = 0; i < 3; ++i) combiner.Run(&item);
  EXPECT_EQ(item.served, 3);
  EXPECT_THAT(lanes, testing::ElementsAre(0, 0, 0));
}

// While the first batch is held, all others queue; then they go in as few batches as the limits allow.
std::vector<size_t> BatchesOf(Combiner<Item>::Limits limits, int callers, size_t bytes) {
  absl::Notification held, release;
  std::atomic<int> started{0};
  std::vector<size_t> sizes;
  Combiner<Item> combiner(limits, [&](int, const std::vector<Item*>& batch) {
    if (sizes.empty()) {
      held.Notify();
      release.WaitForNotification();
    }
    sizes.push_back(batch.size());
    for (Item* item : batch) ++item->served;
  });
  const auto run = [&] {
    Item item;
    item.bytes = bytes;
    ++started;
    combiner.Run(&item);
    EXPECT_EQ(item.served, 1);
  };
  std::vector<std::thread> threads;
  threads.emplace_back(run);
  held.WaitForNotification();
  for (int i = 1; i < callers; ++i) threads.emplace_back(run);
  while (started < callers || combiner.queued() < static_cast<size_t>(callers) - 1) std::this_thread::yield();
  release.Notify();
  for (auto& thread : threads) thread.join();
  return sizes;
}

TEST(CombinerTest, WhoCallsMeanwhileSharesTheNextBatch) {
  EXPECT_THAT(BatchesOf({1, 100, 1000}, 9, 1), testing::ElementsAre(1, 8));
}

TEST(CombinerTest, BatchesKeepTheirLimits) {
  EXPECT_THAT(BatchesOf({1, 3, 1000}, 9, 1), testing::ElementsAre(1, 3, 3, 2));
  EXPECT_THAT(BatchesOf({1, 100, 20}, 6, 10), testing::ElementsAre(1, 2, 2, 1));
  EXPECT_THAT(BatchesOf({1, 100, 20}, 3, 50), testing::ElementsAre(1, 1, 1));  // larger than the limit: alone
}

TEST(CombinerTest, LanesAreServedSideBySideAndEachByOneThread) {
  std::atomic<int> inside[2] = {0, 0};
  std::atomic<bool> both{false};
  Combiner<Item> combiner({2, 4, 1000}, [&](int lane, const std::vector<Item*>& batch) {
    EXPECT_EQ(++inside[lane], 1);
    while (!both) {
      if (inside[0] > 0 && inside[1] > 0) both = true;
      std::this_thread::yield();
    }
    for (Item* item : batch) ++item->served;
    --inside[lane];
  });
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 200; ++i) {
        Item item;
        combiner.Run(&item);
        EXPECT_EQ(item.served, 1);
      }
    });
  }
  for (auto& thread : threads) thread.join();
}

}  // namespace
}  // namespace swerve
