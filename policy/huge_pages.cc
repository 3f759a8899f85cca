#include "policy/huge_pages.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <new>

#include "absl/base/thread_annotations.h"
#include "absl/numeric/bits.h"
#include "absl/synchronization/mutex.h"

namespace swerve {
namespace {

constexpr size_t kHuge = size_t{2} << 20, kLine = 64;
constexpr size_t kLeast = size_t{64} << 10;      // a piece of a slab
constexpr size_t kSlab = 2 * kHuge;              // at least
constexpr size_t kKept = size_t{64} << 20;       // of slabs that nobody uses: fresh pages cost more than what is written to them
#if defined(__SANITIZE_ADDRESS__)
constexpr size_t kMost = 0;  // each piece by itself, so that what is written beyond it is seen
#else
constexpr size_t kMost = 2 * kHuge;  // larger pieces are slabs of their own
#endif

size_t Rounded(size_t bytes, size_t unit) { return (bytes + unit - 1) / unit * unit; }

void* Aligned(size_t bytes, size_t unit) {
  void* const p = std::aligned_alloc(unit, Rounded(std::max<size_t>(1, bytes), unit));
  if (p == nullptr) throw std::bad_alloc();
  if (unit == kHuge) (void)madvise(p, Rounded(bytes, unit), MADV_HUGEPAGE);  // a wish
  return p;
}

bool InSlabs(size_t bytes) { return bytes >= kLeast && bytes < kMost; }

// Slabs of pieces of one size each. Thread-safe.
class Slabs {
 public:
  static Slabs& Get() {
    static Slabs* const slabs = new Slabs;  // outlives what static objects hold
    return *slabs;
  }

  void* Allocate(size_t bytes) {
    const size_t size = SizeOf(bytes);
    absl::MutexLock lock(&mu_);
    auto& begins = open_[size];
    if (begins.empty()) begins.push_back(Make(size));
    char* const begin = begins.back();
    Slab& slab = slabs_[begin];
    if (slab.free.size() == slab.pieces) empty_bytes_ -= slab.pieces * size;
    const size_t piece = slab.free.back();
    slab.free.pop_back();
    if (slab.free.empty()) begins.pop_back();
    return begin + piece * size;
  }

  void Free(void* p, size_t bytes) {
    const size_t size = SizeOf(bytes);
    absl::MutexLock lock(&mu_);
    auto it = std::prev(slabs_.upper_bound(static_cast<char*>(p)));
    Slab& slab = it->second;
    auto& begins = open_[size];
    if (slab.free.empty()) begins.push_back(it->first);
    slab.free.push_back((static_cast<char*>(p) - it->first) / size);
    if (slab.free.size() < slab.pieces) return;
    if (empty_bytes_ + slab.pieces * size <= kKept) {
      empty_bytes_ += slab.pieces * size;
      return;
    }
    begins.erase(std::find(begins.begin(), begins.end(), it->first));
    std::free(it->first);
    slabs_.erase(it);
  }

 private:
  struct Slab {
    size_t pieces = 0;
    std::vector<size_t> free;  // by number
  };

  // Eight sizes between a power of two and the next, so that few slabs serve all.
  static size_t SizeOf(size_t bytes) { return Rounded(bytes, absl::bit_floor(bytes) / 8); }

  char* Make(size_t size) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    const size_t bytes = Rounded(std::max(kSlab, 8 * size), kHuge);
    char* const begin = static_cast<char*>(Aligned(bytes, kHuge));
    Slab& slab = slabs_[begin];
    slab.pieces = bytes / size;
    for (size_t i = slab.pieces; i > 0; --i) slab.free.push_back(i - 1);
    empty_bytes_ += slab.pieces * size;
    return begin;
  }

  absl::Mutex mu_;
  std::map<char*, Slab> slabs_ ABSL_GUARDED_BY(mu_);                     // by where they begin
  std::map<size_t, std::vector<char*>> open_ ABSL_GUARDED_BY(mu_);  // those with free pieces, by their size
  size_t empty_bytes_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace

void* AllocateHuge(size_t bytes) {
  if (InSlabs(bytes)) return Slabs::Get().Allocate(bytes);
  return Aligned(bytes, bytes >= 2 * kHuge ? kHuge : kLine);
}

void FreeHuge(void* p, size_t bytes) {
  if (InSlabs(bytes)) return Slabs::Get().Free(p, bytes);
  std::free(p);
}

}  // namespace swerve
