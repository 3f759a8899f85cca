#include "reward_service/target_cache.h"

#include <malloc.h>

#include <atomic>

#include "base/status_matchers.h"
#include "tests/pdm/golden_files.h"

namespace swerve {
namespace {

std::shared_ptr<const v1::Scene> Golden(int i) { return std::make_shared<v1::Scene>(testing::PublicScenes().scenes[i]); }

TEST(TargetCacheTest, DropsTheLeastRecentlyUsedWithinItsBytes) {
  std::vector<std::string> looked_up;
  const auto lookup = [&](const std::string& id) -> absl::StatusOr<std::shared_ptr<const v1::Scene>> {
    looked_up.push_back(id);
    return Golden(0);  // the same scene under every id: all of one size
  };
  const size_t one = PrepareTarget(*Golden(0)).value()->bytes;
  ASSERT_GT(one, 1000u);
  TargetCache cache(lookup, 2 * one + one / 2);
  for (const char* id : {"a", "b", "a", "c", "a", "b"}) ASSERT_OK(cache.Get(id));
  // c pushed b out, since a had been used after it.
  EXPECT_EQ(looked_up, (std::vector<std::string>{"a", "b", "c", "b"}));
  EXPECT_EQ(cache.bytes(), 2 * one);
}

TEST(TargetCacheTest, WhatDoesNotFitIsUsedButNotKept) {
  int lookups = 0;
  TargetCache cache(
      [&](const std::string&) -> absl::StatusOr<std::shared_ptr<const v1::Scene>> {
        ++lookups;
        return Golden(0);
      },
      100);
  ASSERT_OK(cache.Get("a"));
  ASSERT_OK(cache.Get("a"));
  EXPECT_EQ(lookups, 2);
  EXPECT_EQ(cache.bytes(), 0u);
}

TEST(TargetCacheTest, ErrorsAreNotRemembered) {
  bool there = false;
  TargetCache cache(
      [&](const std::string&) -> absl::StatusOr<std::shared_ptr<const v1::Scene>> {
        if (!there) return absl::NotFoundError("no such scene");
        return Golden(0);
      },
      1 << 30);
  EXPECT_THAT(cache.Get("a"), StatusIs(absl::StatusCode::kNotFound, ::testing::HasSubstr("no such scene")));
  there = true;
  EXPECT_OK(cache.Get("a"));
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SWERVE_OTHER_HEAP
#elif defined(__has_feature)  // Clang
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SWERVE_OTHER_HEAP
#endif
#endif
#ifndef SWERVE_OTHER_HEAP
// The memory bound is only as good as the estimate.
TEST(TargetCacheTest, TheEstimateIsNearWhatTheHeapSays) {
  const auto& scenes = testing::PublicScenes().scenes;
  std::vector<std::shared_ptr<const RewardTarget>> targets;
  targets.reserve(scenes.size());
  size_t estimated = 0;
  const size_t before = mallinfo2().uordblks;
  for (const v1::Scene& scene : scenes) {
    targets.push_back(PrepareTarget(scene).value());
    estimated += targets.back()->bytes;
  }
  const double heap = static_cast<double>(mallinfo2().uordblks - before);
  std::printf("%zu scenes: heap %.0f kB, estimated %.0f kB\n", scenes.size(), heap / 1e3, estimated / 1e3);
  EXPECT_GT(estimated, 0.6 * heap);
  EXPECT_LT(estimated, 1.6 * heap);
}
#endif

}  // namespace
}  // namespace swerve
