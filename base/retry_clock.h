// Time, waiting and chance as clients of remote servers need them, injected so that tests take none.
#ifndef SWERVE_BASE_RETRY_CLOCK_H_
#define SWERVE_BASE_RETRY_CLOCK_H_

#include <algorithm>
#include <functional>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "base/random.h"

namespace swerve {

// Thread-safe, all three.
struct RetryClock {
  std::function<absl::Time()> now = absl::Now;
  std::function<void(absl::Duration)> sleep = absl::SleepFor;
  // Uniform in [0, 1), for jitter.
  std::function<double()> uniform = [] {
    thread_local Random random(StreamSeed(static_cast<uint64_t>(absl::GetCurrentTimeNanos()),
                                          reinterpret_cast<uintptr_t>(&random)));
    return random.Uniform();
  };
};

// Pauses between tries: doubling, with jitter of a half either way. One per exchange; not thread-safe.
class Backoff {
 public:
  absl::Duration Next(const RetryClock& clock) {
    const absl::Duration wait = pause_ * (0.5 + clock.uniform());
    pause_ = std::min(2 * pause_, absl::Seconds(8));
    return wait;
  }

 private:
  absl::Duration pause_ = absl::Milliseconds(250);
};

}  // namespace swerve

#endif  // SWERVE_BASE_RETRY_CLOCK_H_
