// Memory for weights, keys and values: on huge pages where the system has them, since a pass over a model touches every page
// of it.
#ifndef SWERVE_POLICY_HUGE_PAGES_H_
#define SWERVE_POLICY_HUGE_PAGES_H_

#include <cstddef>
#include <vector>

namespace swerve {

// Thread-safe. Begins on a cache line. Pieces of 64 KiB to 4 MiB share slabs of huge pages with others of about their size (an
// eighth more at most); larger ones begin on a huge page. Up to 64 MiB of what is freed are kept for the next. Throws std::bad_alloc.
void* AllocateHuge(size_t bytes);
void FreeHuge(void* p, size_t bytes);  // as many as were allocated

template <typename T>
struct HugePageAllocator {
  using value_type = T;
  HugePageAllocator() = default;
  template <typename U>
  HugePageAllocator(const HugePageAllocator<U>&) {}

  T* allocate(size_t n) { return static_cast<T*>(AllocateHuge(n * sizeof(T))); }
  void deallocate(T* p, size_t n) { FreeHuge(p, n * sizeof(T)); }
  template <typename U>
  bool operator==(const HugePageAllocator<U>&) const { return true; }
};

template <typename T>
using BigVector = std::vector<T, HugePageAllocator<T>>;

}  // namespace swerve

#endif  // SWERVE_POLICY_HUGE_PAGES_H_
