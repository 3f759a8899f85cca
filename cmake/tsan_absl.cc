// Only in ThreadSanitizer builds. Debian's Abseil is not instrumented, so ThreadSanitizer does not see that absl::Mutex
// orders anything and reports a race on every member a mutex guards. These functions take the place of the shared
// library's (the dynamic linker finds the executable's first, also for gRPC's own calls), tell ThreadSanitizer what
// happens, and do the real thing. Names are those of Debian 12's Abseil (inline namespace debian3).
#include <dlfcn.h>
#include <sanitizer/tsan_interface.h>

#include <cstdint>

namespace {

struct Span12 {  // absl::Duration and absl::Time as they are passed: 12 bytes in two registers
  int64_t seconds;
  uint32_t ticks;
};

template <typename F>
F Real(const char* name) {
  return reinterpret_cast<F>(dlsym(RTLD_NEXT, name));
}

// Above 0 inside a wait: the library calls its own functions through these, and they must stay silent.
thread_local int waiting = 0;

// A wait gives the mutex up and takes it again. Conditions evaluated inside, on whichever thread, are ignored.
template <typename Wait>
auto Waiting(void* mu, Wait wait) -> decltype(wait()) {
  if (waiting > 0) return wait();
  __tsan_mutex_pre_unlock(mu, 0);
  ++waiting;
  const auto result = wait();
  --waiting;
  __tsan_mutex_post_unlock(mu, 0);
  __tsan_mutex_pre_lock(mu, 0);
  __tsan_mutex_post_lock(mu, 0, 0);
  return result;
}

}  // namespace

#define MUTEX "_ZN4absl7debian35Mutex"
#define CONDVAR "_ZN4absl7debian37CondVar"
#define NAMED(symbol) __asm__(symbol) __attribute__((visibility("default"), no_sanitize("thread")))

#define LOCKING(function, symbol, flags)                              \
  extern "C" void function(void* mu) NAMED(symbol);                   \
  void function(void* mu) {                                           \
    static const auto real = Real<void (*)(void*)>(symbol);           \
    if (waiting > 0) return real(mu);                                 \
    __tsan_mutex_pre_lock(mu, flags);                                 \
    real(mu);                                                         \
    __tsan_mutex_post_lock(mu, flags, 0);                             \
  }
#define UNLOCKING(function, symbol, flags)                            \
  extern "C" void function(void* mu) NAMED(symbol);                   \
  void function(void* mu) {                                           \
    static const auto real = Real<void (*)(void*)>(symbol);           \
    if (waiting > 0) return real(mu);                                 \
    __tsan_mutex_pre_unlock(mu, flags);                               \
    real(mu);                                                         \
    __tsan_mutex_post_unlock(mu, flags);                              \
  }
LOCKING(SwerveTsanLock, MUTEX "4LockEv", 0)
UNLOCKING(SwerveTsanUnlock, MUTEX "6UnlockEv", 0)
LOCKING(SwerveTsanReaderLock, MUTEX "10ReaderLockEv", __tsan_mutex_read_lock)
UNLOCKING(SwerveTsanReaderUnlock, MUTEX "12ReaderUnlockEv", __tsan_mutex_read_lock)

#define DESTROYING(function, symbol)                                  \
  extern "C" void function(void* mu) NAMED(symbol);                   \
  void function(void* mu) {                                           \
    static const auto real = Real<void (*)(void*)>(symbol);           \
    real(mu);                                                         \
    __tsan_mutex_destroy(mu, __tsan_mutex_not_static);                \
  }
DESTROYING(SwerveTsanDestroy1, MUTEX "D1Ev")
DESTROYING(SwerveTsanDestroy2, MUTEX "D2Ev")

extern "C" bool SwerveTsanTryLock(void* mu) NAMED(MUTEX "7TryLockEv");
bool SwerveTsanTryLock(void* mu) {
  static const auto real = Real<bool (*)(void*)>(MUTEX "7TryLockEv");
  __tsan_mutex_pre_lock(mu, __tsan_mutex_try_lock);
  const bool locked = real(mu);
  __tsan_mutex_post_lock(mu, __tsan_mutex_try_lock | (locked ? 0 : __tsan_mutex_try_lock_failed), 0);
  return locked;
}

extern "C" void SwerveTsanAwait(void* mu, const void* condition) NAMED(MUTEX "5AwaitERKNS0_9ConditionE");
void SwerveTsanAwait(void* mu, const void* condition) {
  static const auto real = Real<void (*)(void*, const void*)>(MUTEX "5AwaitERKNS0_9ConditionE");
  Waiting(mu, [&] { return real(mu, condition), 0; });
}

#define AWAITING(function, symbol)                                                        \
  extern "C" bool function(void* mu, const void* condition, Span12 limit) NAMED(symbol);  \
  bool function(void* mu, const void* condition, Span12 limit) {                          \
    static const auto real = Real<bool (*)(void*, const void*, Span12)>(symbol);          \
    return Waiting(mu, [&] { return real(mu, condition, limit); });                       \
  }
AWAITING(SwerveTsanAwaitTimeout, MUTEX "16AwaitWithTimeoutERKNS0_9ConditionENS0_8DurationE")
AWAITING(SwerveTsanAwaitDeadline, MUTEX "17AwaitWithDeadlineERKNS0_9ConditionENS0_4TimeE")

extern "C" void SwerveTsanLockWhen(void* mu, const void* condition) NAMED(MUTEX "8LockWhenERKNS0_9ConditionE");
void SwerveTsanLockWhen(void* mu, const void* condition) {
  static const auto real = Real<void (*)(void*, const void*)>(MUTEX "8LockWhenERKNS0_9ConditionE");
  __tsan_mutex_pre_lock(mu, 0);
  real(mu, condition);
  __tsan_mutex_post_lock(mu, 0, 0);
}

// Also the way of LockWhenWithTimeout, which calls it. Locked afterwards, whatever became of the condition.
#define LOCK_WHEN_DEADLINE MUTEX "20LockWhenWithDeadlineERKNS0_9ConditionENS0_4TimeE"
extern "C" bool SwerveTsanLockWhenDeadline(void* mu, const void* condition, Span12 limit) NAMED(LOCK_WHEN_DEADLINE);
bool SwerveTsanLockWhenDeadline(void* mu, const void* condition, Span12 limit) {
  static const auto real = Real<bool (*)(void*, const void*, Span12)>(LOCK_WHEN_DEADLINE);
  __tsan_mutex_pre_lock(mu, 0);
  const bool held = real(mu, condition, limit);
  __tsan_mutex_post_lock(mu, 0, 0);
  return held;
}

extern "C" void SwerveTsanWait(void* cv, void* mu) NAMED(CONDVAR "4WaitEPNS0_5MutexE");
void SwerveTsanWait(void* cv, void* mu) {
  static const auto real = Real<void (*)(void*, void*)>(CONDVAR "4WaitEPNS0_5MutexE");
  Waiting(mu, [&] { return real(cv, mu), 0; });
}
#define CV_WAITING(function, symbol)                                               \
  extern "C" bool function(void* cv, void* mu, Span12 limit) NAMED(symbol);        \
  bool function(void* cv, void* mu, Span12 limit) {                                \
    static const auto real = Real<bool (*)(void*, void*, Span12)>(symbol);         \
    return Waiting(mu, [&] { return real(cv, mu, limit); });                       \
  }
CV_WAITING(SwerveTsanWaitTimeout, CONDVAR "15WaitWithTimeoutEPNS0_5MutexENS0_8DurationE")
CV_WAITING(SwerveTsanWaitDeadline, CONDVAR "16WaitWithDeadlineEPNS0_5MutexENS0_4TimeE")

// A notification orders what comes before Notify with what comes after a successful wait.
#define NOTIFICATION "4absl7debian312Notification"
extern "C" void SwerveTsanNotify(void* n) NAMED("_ZN" NOTIFICATION "6NotifyEv");
void SwerveTsanNotify(void* n) {
  static const auto real = Real<void (*)(void*)>("_ZN" NOTIFICATION "6NotifyEv");
  __tsan_release(n);
  real(n);
}
extern "C" void SwerveTsanAwaitNotification(void* n) NAMED("_ZNK" NOTIFICATION "19WaitForNotificationEv");
void SwerveTsanAwaitNotification(void* n) {
  static const auto real = Real<void (*)(void*)>("_ZNK" NOTIFICATION "19WaitForNotificationEv");
  real(n);
  __tsan_acquire(n);
}
extern "C" bool SwerveTsanAwaitNotificationFor(void* n, Span12 limit)
    NAMED("_ZNK" NOTIFICATION "30WaitForNotificationWithTimeoutENS0_8DurationE");
bool SwerveTsanAwaitNotificationFor(void* n, Span12 limit) {
  static const auto real =
      Real<bool (*)(void*, Span12)>("_ZNK" NOTIFICATION "30WaitForNotificationWithTimeoutENS0_8DurationE");
  const bool notified = real(n, limit);
  if (notified) __tsan_acquire(n);
  return notified;
}

// Every decrement orders what comes before it with what comes after the wait.
#define BLOCKING_COUNTER "_ZN4absl7debian315BlockingCounter"
extern "C" bool SwerveTsanDecrement(void* counter) NAMED(BLOCKING_COUNTER "14DecrementCountEv");
bool SwerveTsanDecrement(void* counter) {
  static const auto real = Real<bool (*)(void*)>(BLOCKING_COUNTER "14DecrementCountEv");
  __tsan_release(counter);
  return real(counter);
}
extern "C" void SwerveTsanAwaitCounter(void* counter) NAMED(BLOCKING_COUNTER "4WaitEv");
void SwerveTsanAwaitCounter(void* counter) {
  static const auto real = Real<void (*)(void*)>(BLOCKING_COUNTER "4WaitEv");
  real(counter);
  __tsan_acquire(counter);
}
