#include "reward_service/heaps.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <memory>
#include <vector>

namespace swerve {
namespace {

double ResidentMiB() {
  std::ifstream in("/proc/self/statm");
  double pages = 0;
  in >> pages >> pages;
  return pages * static_cast<double>(sysconf(_SC_PAGESIZE)) / (1 << 20);
}

// What the service keeps from one request to the next lies above what a large request has left.
TEST(HeapsTest, WhatIsFreeBelowSomethingThatStaysGoesBackToTheSystem) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || !defined(__GLIBC__)
  GTEST_SKIP() << "not glibc's heap";
#endif
  constexpr size_t kBlock = 64 << 10, kBlocks = 1024;
  std::vector<std::unique_ptr<char[]>> blocks;
  for (size_t i = 0; i < kBlocks; ++i) {
    blocks.push_back(std::make_unique<char[]>(kBlock));
    std::memset(blocks.back().get(), 1, kBlock);
  }
  const double full = ResidentMiB();
  const std::unique_ptr<char[]> stays = std::move(blocks.back());
  blocks.clear();
  EXPECT_GT(ResidentMiB(), full - 8);
  TrimHeaps();
  EXPECT_LT(ResidentMiB(), full - 56);
  EXPECT_EQ(stays[0], 1);
}

// It waits for the trimmer's thread, not for an hour.
TEST(HeapsTest, ATrimmerEndsAtOnce) { HeapTrimmer trimmer(absl::Hours(1)); }

}  // namespace
}  // namespace swerve
