#include "policy/torch_memory.h"

#include <c10/core/CPUAllocator.h>
#include <c10/util/Exception.h>
#include <malloc.h>
#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <limits>

namespace swerve {
namespace {

constexpr size_t kHuge = size_t{2} << 20, kLine = 64;
constexpr size_t kLarge = kHuge / 2;
constexpr size_t kMost = std::numeric_limits<ptrdiff_t>::max();

// Not AllocateHuge's pieces, which begin on huge pages of their own: the demo's training took 1.3 to 1.6 times the memory.
class HugePagesAllocator final : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t n) override {
    if (n == 0) return {nullptr, nullptr, &std::free, c10::Device(c10::kCPU)};
    void* const p = n > kMost ? nullptr : std::aligned_alloc(kLine, (n + kLine - 1) / kLine * kLine);
    TORCH_CHECK(p != nullptr, "out of memory: ", n, " bytes for a tensor");  // as LibTorch's own, a c10::Error
    if (n >= kLarge) {
      // Up to whole pages: what else lies there may be on a huge one as well. A wish, that the system may refuse.
      const uintptr_t begin = reinterpret_cast<uintptr_t>(p) / kHuge * kHuge;
      const uintptr_t end = (reinterpret_cast<uintptr_t>(p) + n + kHuge - 1) / kHuge * kHuge;
      (void)madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
    }
    return {p, p, &std::free, c10::Device(c10::kCPU)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &std::free; }
  void copy_data(void* to, const void* from, std::size_t n) const override { default_copy_data(to, from, n); }
};

}  // namespace

void KeepTorchMemory() {
  [[maybe_unused]] static const bool once = [] {
    mallopt(M_TRIM_THRESHOLD, std::numeric_limits<int>::max());
    mallopt(M_MMAP_THRESHOLD, 32 << 20);  // the most that glibc takes; what is larger comes fresh each time
    c10::SetCPUAllocator(new HugePagesAllocator);  // LibTorch's from here on
    return true;
  }();
}

}  // namespace swerve
