#include "policy/huge_pages.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <thread>

#include "base/random.h"

namespace swerve {
namespace {

// Pieces of every kind come and go; each keeps what was written to it from its first to its last byte.
TEST(HugePages, PiecesAreTheirOwners) {
  auto churn = [](uint64_t seed) {
    struct Piece {
      unsigned char* at;
      size_t bytes;
      unsigned char mark;
    };
    Random random(seed);
    std::vector<Piece> held;
    for (int i = 0; i < 600; ++i) {
      if (held.size() > 24 || (!held.empty() && random.Uniform() < 0.4)) {
        const size_t which = random.Below(held.size());
        const Piece p = held[which];
        held[which] = held.back();
        held.pop_back();
        for (size_t b = 0; b < p.bytes; b += 4093) ASSERT_EQ(p.at[b], p.mark);
        ASSERT_EQ(p.at[p.bytes - 1], p.mark);
        FreeHuge(p.at, p.bytes);
        continue;
      }
      // Most about the least and the largest piece of a slab.
      constexpr size_t kAround[] = {100, 64 << 10, 200 << 10, 4 << 20};
      const size_t around = kAround[random.Below(4)];
      Piece p{nullptr, 1 + around / 2 + random.Below(around), static_cast<unsigned char>(1 + i % 251)};
      p.at = static_cast<unsigned char*>(AllocateHuge(p.bytes));
      ASSERT_EQ(reinterpret_cast<uintptr_t>(p.at) % 64, 0u);
      std::memset(p.at, p.mark, p.bytes);
      held.push_back(p);
    }
    for (const Piece& p : held) FreeHuge(p.at, p.bytes);
  };
  std::thread other(churn, 1);
  churn(2);
  other.join();
}

}  // namespace
}  // namespace swerve
