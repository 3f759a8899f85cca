// Time, waiting and chance as a teacher's client needs them, injected so that tests take none.
#ifndef SWERVE_TEACHER_GATEWAY_CLOCK_H_
#define SWERVE_TEACHER_GATEWAY_CLOCK_H_

#include <functional>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "base/random.h"

namespace swerve {

// Thread-safe, all three.
struct TeacherClock {
  std::function<absl::Time()> now = absl::Now;
  std::function<void(absl::Duration)> sleep = absl::SleepFor;
  // Uniform in [0, 1), for jitter.
  std::function<double()> uniform = [] {
    thread_local Random random(StreamSeed(static_cast<uint64_t>(absl::GetCurrentTimeNanos()),
                                          reinterpret_cast<uintptr_t>(&random)));
    return random.Uniform();
  };
};

}  // namespace swerve

#endif  // SWERVE_TEACHER_GATEWAY_CLOCK_H_
