// A token bucket: up to `per_second` things in any second, evenly refilled. Thread-safe; never blocks.
#ifndef SWERVE_BASE_RATE_LIMIT_H_
#define SWERVE_BASE_RATE_LIMIT_H_

#include <algorithm>
#include <functional>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace swerve {

class RateLimit {
 public:
  // `per_second` 0: everything passes.
  explicit RateLimit(double per_second, std::function<absl::Time()> clock = absl::Now)
      : per_second_(per_second), size_(std::max(1.0, per_second)), clock_(std::move(clock)), left_(size_), at_(clock_()) {}

  // False when there is no room now.
  bool Take() ABSL_LOCKS_EXCLUDED(mu_) {
    if (per_second_ <= 0) return true;
    absl::MutexLock lock(&mu_);
    const absl::Time now = clock_();
    left_ = std::min(size_, left_ + per_second_ * absl::ToDoubleSeconds(std::max(now - at_, absl::ZeroDuration())));
    at_ = now;
    if (left_ < 1) return false;
    left_ -= 1;
    return true;
  }

 private:
  const double per_second_, size_;
  const std::function<absl::Time()> clock_;
  absl::Mutex mu_;
  double left_ ABSL_GUARDED_BY(mu_);
  absl::Time at_ ABSL_GUARDED_BY(mu_);
};

}  // namespace swerve

#endif  // SWERVE_BASE_RATE_LIMIT_H_
