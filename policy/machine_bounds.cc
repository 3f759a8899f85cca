#include "policy/machine_bounds.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <thread>

#include "policy/huge_pages.h"
#include "policy/kernels.h"

namespace swerve {
namespace {

constexpr int kRounds = 5;  // the best counts
constexpr size_t kWords = size_t{32} << 20;  // of 8 bytes, a thread
constexpr int64_t kPeakRounds = 4'000'000;

// The least seconds of a round in which every thread does `work(thread)` once, begun together.
double LeastSeconds(int threads, const std::function<void(int)>& work) {
  double least = 1e30;
  for (int round = 0; round < kRounds; ++round) {
    std::atomic<int> ready{0};
    std::atomic<int64_t> first{INT64_MAX}, last{0};
    std::vector<std::thread> all;
    for (int t = 0; t < threads; ++t) {
      all.emplace_back([&, t] {
        auto now = [] { return std::chrono::steady_clock::now().time_since_epoch() / std::chrono::nanoseconds(1); };
        for (++ready; ready.load() < threads;) {
        }
        const int64_t begin = now();
        work(t);
        const int64_t end = now();
        for (int64_t held = first.load(); begin < held && !first.compare_exchange_weak(held, begin);) {
        }
        for (int64_t held = last.load(); end > held && !last.compare_exchange_weak(held, end);) {
        }
      });
    }
    for (std::thread& t : all) t.join();
    least = std::min(least, 1e-9 * static_cast<double>(last.load() - first.load()));
  }
  return least;
}

}  // namespace

double ReadBytesPerSecond(int threads) {
  std::vector<BigVector<uint64_t>> memory(threads);
  for (auto& part : memory) part.resize(kWords, 1);
  std::atomic<uint64_t> sink{0};
  const double seconds = LeastSeconds(threads, [&](int thread) {
    const uint64_t* p = memory[thread].data();
    uint64_t sums[16] = {};
    for (size_t i = 0; i < kWords; i += 16) {
      for (int j = 0; j < 16; ++j) sums[j] += p[i + j];
    }
    for (const uint64_t sum : sums) sink += sum;
  });
  return static_cast<double>(threads) * kWords * sizeof(uint64_t) / seconds;
}

double FlopsPerSecond(int threads, bool bf16) {
  std::vector<double> done(threads);
  const double seconds = LeastSeconds(threads, [&](int thread) {
    alignas(64) float sink[32];
    std::fill(std::begin(sink), std::end(sink), 0.5f);
    const kernels::Table& table = kernels::Best();
    done[thread] = (bf16 ? table.peak16 : table.peak)(kPeakRounds, sink);
  });
  double all = 0;
  for (const double one : done) all += one;
  return all / seconds;
}

}  // namespace swerve
