// What policy/cuda/warp_ops.cuh does, by plain loops over what the lanes of a warp bring (cuda_on_cpu.h). Include before kernels.
#ifndef SWERVE_TESTS_TESTING_WARP_OPS_ON_CPU_H_
#define SWERVE_TESTS_TESTING_WARP_OPS_ON_CPU_H_

#include <array>
#include <cstring>

#include "tests/testing/cuda_on_cpu.h"

#include "policy/cuda/numbers.cuh"

namespace swerve::device {

// Elements of the fragments that lanes hold: the PTX manual's figures for mma.m16n8k16 with .bf16.
inline void Mma(float (&c)[4], uint32_t a0, uint32_t a1, uint32_t a2, uint32_t a3, uint32_t b0, uint32_t b1) {
  struct Fragment {
    uint32_t a[4], b[2];
  };
  const Fragment mine = {{a0, a1, a2, a3}, {b0, b1}};
  const std::array<const Fragment*, 32> all = cuda_on_cpu::Gather(&mine);
  const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
  auto half = [](uint32_t pair, int which) { return FloatOf(which == 0 ? pair << 16 : pair & 0xffff0000u); };
  for (int e = 0; e < 4; ++e) {
    const int row = g + (e >= 2 ? 8 : 0), column = 2 * t + e % 2;
    float sum = 0;
    for (int k = 0; k < 16; ++k) {
      const float a = half(all[row % 8 * 4 + k % 8 / 2]->a[(row >= 8 ? 1 : 0) + (k >= 8 ? 2 : 0)], k % 2);
      const float b = half(all[column * 4 + k % 8 / 2]->b[k >= 8 ? 1 : 0], k % 2);
      sum += a * b;
    }
    c[e] += sum;
  }
  cuda_on_cpu::WarpBarrier();
}

inline void LoadTransposed(uint32_t (&r)[4], const Bf16* row) {
  const auto all = cuda_on_cpu::Gather(row);
  const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
  for (int j = 0; j < 4; ++j) r[j] = all[j * 8 + 2 * t][g].bits | static_cast<uint32_t>(all[j * 8 + 2 * t + 1][g].bits) << 16;
  cuda_on_cpu::WarpBarrier();
}

inline void CopyAside(void* shared, const void* global, bool valid) {
  if (valid) {
    std::memcpy(shared, global, 16);
  } else {
    std::memset(shared, 0, 16);
  }
}
inline void CommitCopies() {}
template <int kLeft>
void WaitCopies() {}
inline void LetNextBegin() {}
inline void WaitForLast() {}

}  // namespace swerve::device

#endif  // SWERVE_TESTS_TESTING_WARP_OPS_ON_CPU_H_
