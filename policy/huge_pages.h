// Memory for weights: on huge pages where the system has them, since a pass over a model touches every page of it.
#ifndef SWERVE_POLICY_HUGE_PAGES_H_
#define SWERVE_POLICY_HUGE_PAGES_H_

#include <sys/mman.h>

#include <cstdlib>
#include <new>
#include <vector>

namespace swerve {

// Stateless. Large pieces begin on a huge page, all on a cache line.
template <typename T>
struct HugePageAllocator {
  using value_type = T;
  HugePageAllocator() = default;
  template <typename U>
  HugePageAllocator(const HugePageAllocator<U>&) {}

  T* allocate(size_t n) {
    constexpr size_t kHuge = size_t{2} << 20, kLine = 64;
    const size_t bytes = n * sizeof(T), unit = bytes >= 2 * kHuge ? kHuge : kLine;
    const size_t room = (bytes + unit - 1) / unit * unit;
    void* p = std::aligned_alloc(unit, room == 0 ? unit : room);
    if (p == nullptr) throw std::bad_alloc();
    if (unit == kHuge) (void)madvise(p, room, MADV_HUGEPAGE);  // a wish
    return static_cast<T*>(p);
  }
  void deallocate(T* p, size_t) { std::free(p); }
  template <typename U>
  bool operator==(const HugePageAllocator<U>&) const { return true; }
};

template <typename T>
using BigVector = std::vector<T, HugePageAllocator<T>>;

}  // namespace swerve

#endif  // SWERVE_POLICY_HUGE_PAGES_H_
