#include "policy/kernels.h"

namespace swerve::kernels {

extern const Table kPortableTable;
#if defined(__x86_64__)
extern const Table kAvx2Table;
#endif

const Table& Portable() { return kPortableTable; }

const Table& Best() {
#if defined(__x86_64__)
  static const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (avx2) return kAvx2Table;
#endif
  return kPortableTable;
}

void Pack(const float* w, int n, int k, float* packed) {
  for (int64_t j = 0; j < Padded(n); j += kLanes) {
    for (int p = 0; p < k; ++p) {
      for (int l = 0; l < kLanes; ++l) *packed++ = j + l < n ? w[(j + l) * k + p] : 0.0f;
    }
  }
}

}  // namespace swerve::kernels
