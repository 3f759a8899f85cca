#include "reward_service/heaps.h"

#include <malloc.h>
#include <pthread.h>

#include <algorithm>

namespace swerve {

void LimitHeaps(int threads) {
#ifdef __GLIBC__
  // One heap for each thread that works, instead of eight for each core.
  mallopt(M_ARENA_MAX, 1 + (threads > 0 ? threads : static_cast<int>(std::max(1u, std::thread::hardware_concurrency()))));
  // Large messages by themselves, and back to the system at once: by default the first to be freed has the next ones, up to
  // 32 MiB, lie in a heap.
  mallopt(M_MMAP_THRESHOLD, 1 << 20);
#endif
}

void TrimHeaps() {
#ifdef __GLIBC__
  malloc_trim(0);
#endif
}

HeapTrimmer::HeapTrimmer(absl::Duration every) {
  thread_ = std::thread([this, every] {
    while (!end_.WaitForNotificationWithTimeout(every)) TrimHeaps();
  });
  pthread_setname_np(thread_.native_handle(), "heap-trimmer");
}

HeapTrimmer::~HeapTrimmer() {
  end_.Notify();
  thread_.join();
}

}  // namespace swerve
