// CPU time of a piece of work on this thread, and how fast the machine is just now.
#ifndef SWERVE_BENCH_MEASURE_H_
#define SWERVE_BENCH_MEASURE_H_

#include <time.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <vector>

namespace swerve::bench {

inline double CpuSeconds(clockid_t clock = CLOCK_THREAD_CPUTIME_ID) {
  timespec t;
  clock_gettime(clock, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

template <class T>
inline void Keep(const T& value) {
  asm volatile("" : : "g"(&value) : "memory");
}

// Least CPU seconds of one call over `repeats` rounds of about `round` seconds each: what the work takes undisturbed.
template <class F>
double LeastSeconds(F work, int repeats, double round) {
  long calls = 1;
  double seconds = 0;
  while (true) {  // also warms up
    const double begin = CpuSeconds();
    for (long i = 0; i < calls; ++i) work();
    seconds = CpuSeconds() - begin;
    if (seconds > round / 4) break;
    calls *= 2;
  }
  calls = std::max(1L, static_cast<long>(calls * round / seconds));
  double least = std::numeric_limits<double>::infinity();
  for (int r = 0; r < repeats; ++r) {
    const double begin = CpuSeconds();
    for (long i = 0; i < calls; ++i) work();
    least = std::min(least, (CpuSeconds() - begin) / static_cast<double>(calls));
  }
  return least;
}

struct Calibration {
  double chain_ns;    // one addition of doubles that waits for the one before: 3 cycles on most cores
  double memcpy_gbs;  // 16 MiB to 16 MiB
};

inline Calibration Calibrate() {
  Calibration out;
  constexpr int kAdds = 100000;
  volatile double given = 1e-9, kept = 0;
  out.chain_ns = LeastSeconds([&] {
                   double sum = 0;  // in a register; floating-point sums are not reordered
                   for (double step = given, i = 0; i < kAdds; i += 1) sum += step;
                   kept = sum;
                 }, 9, 5e-3) * 1e9 / kAdds;
  std::vector<char> a(16 << 20, 1), b(16 << 20, 2);
  out.memcpy_gbs = static_cast<double>(a.size()) * 1e-9 / LeastSeconds([&] {
                     std::memcpy(a.data(), b.data(), a.size());
                     Keep(a);
                   }, 5, 1e-2);
  return out;
}

}  // namespace swerve::bench

#endif  // SWERVE_BENCH_MEASURE_H_
