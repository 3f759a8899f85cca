#include "policy/team.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace swerve {
namespace {

constexpr int kSpins = 1000;  // some ten microseconds: a member that sleeps costs more to wake

// Until `value` is no longer `known`.
void WaitWhile(const std::atomic<uint32_t>& value, uint32_t known) {
  for (int i = 0; i < kSpins; ++i) {
    if (value.load(std::memory_order_acquire) != known) return;
#if defined(__x86_64__)
    _mm_pause();
#endif
  }
  value.wait(known, std::memory_order_acquire);
}

}  // namespace

Team::Team(int size) {
  for (int member = 1; member < size; ++member) others_.emplace_back([this, member] { Serve(member); });
}

Team::~Team() {
  ended_.store(true);
  round_.fetch_add(1);
  round_.notify_all();
  for (std::thread& t : others_) t.join();
}

void Team::Run(absl::FunctionRef<void(int)> work) {
  if (!others_.empty()) {
    work_ = &work;
    busy_.store(static_cast<uint32_t>(others_.size()), std::memory_order_relaxed);
    round_.fetch_add(1, std::memory_order_release);
    round_.notify_all();
  }
  work(0);
  for (uint32_t busy = busy_.load(std::memory_order_acquire); busy != 0; busy = busy_.load(std::memory_order_acquire)) WaitWhile(busy_, busy);
}

void Team::Serve(int member) {
  for (uint32_t round = 0;;) {
    WaitWhile(round_, round);
    ++round;  // none is left out: the next begins when all have ended this one
    if (ended_.load()) return;
    (*work_)(member);
    if (busy_.fetch_sub(1, std::memory_order_acq_rel) == 1) busy_.notify_one();
  }
}

}  // namespace swerve
