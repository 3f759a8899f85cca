#include "policy/kernels.h"

#include <cstdlib>
#include <string_view>

namespace swerve::kernels {

extern const Table kPortableTable;
#if defined(__x86_64__)
extern const Table kAvx2Table, kAvx512Table, kAvx512Bf16Table;
#endif

const Table& Portable() { return kPortableTable; }

std::vector<const Table*> Supported() {
  std::vector<const Table*> tables = {&kPortableTable};
#if defined(__x86_64__)
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
  if (avx2) tables.push_back(&kAvx2Table);
  if (avx512) tables.push_back(&kAvx512Table);
  if (avx512 && __builtin_cpu_supports("avx512bf16")) tables.push_back(&kAvx512Bf16Table);
#endif
  return tables;
}

const Table& Best() {
  static const Table* const best = [] {
    const std::vector<const Table*> tables = Supported();
    const char* wanted = std::getenv("SWERVE_KERNELS");
    for (const Table* table : tables) {
      if (wanted != nullptr && table->name == std::string_view(wanted)) return table;
    }
    return tables.back();
  }();
  return *best;
}

void Pack(const float* w, int n, int k, float* packed) { Best().pack_rows(w, k, n, k, packed); }

void PackBf16(const float* w, int n, int k, uint16_t* packed) {
  std::vector<uint16_t> rows(static_cast<size_t>(kLanes) * k);
  for (int64_t j = 0; j < Padded(n); j += kLanes) {
    const int64_t here = n - j < kLanes ? (n - j < 0 ? 0 : n - j) : kLanes;
    rows.assign(rows.size(), 0);
    Best().to_bf16(w + j * k, here * k, rows.data());
    for (int p = 0; p < k; p += 2) {
      for (int l = 0; l < kLanes; ++l) {
        *packed++ = rows[static_cast<size_t>(l) * k + p];
        *packed++ = rows[static_cast<size_t>(l) * k + p + 1];
      }
    }
  }
}

}  // namespace swerve::kernels
