// Keeps the memory of a process that large messages pass through where it is, however long the load lasts. glibc gives the
// end of a heap back; what is free below something that lives on stays. With 64 callers that were 80 to 150 MiB in heaps of
// which 2 MiB were used.
#ifndef SWERVE_REWARD_SERVICE_HEAPS_H_
#define SWERVE_REWARD_SERVICE_HEAPS_H_

#include <thread>

#include "absl/synchronization/notification.h"
#include "absl/time/time.h"

namespace swerve {

// Of this process, for `threads` that work (0: one per core); before they begin. Does nothing where the C library is not glibc.
void LimitHeaps(int threads);

// Gives free memory back to the system, now and then, on a thread of its own until it is destroyed. Thread-safe; its
// destructor does not wait for `every`.
class HeapTrimmer {
 public:
  explicit HeapTrimmer(absl::Duration every);
  ~HeapTrimmer();

 private:
  absl::Notification end_;
  std::thread thread_;
};

// Once. Threads that allocate wait meanwhile: half a millisecond, and 15 to 50 where a hundred MiB go back.
void TrimHeaps();

}  // namespace swerve

#endif  // SWERVE_REWARD_SERVICE_HEAPS_H_
