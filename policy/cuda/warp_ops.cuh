// What a warp of a CUDA device does at once, in machine instructions: products of small bfloat16 matrices, transposed loads, copies
// that run beside the program, and the start of a kernel before the last one has ended. tests/testing/warp_ops_on_cpu.h has
// the same by plain loops, after the layouts of the PTX manual (mma.m16n8k16, ldmatrix).
#ifndef SWERVE_POLICY_CUDA_WARP_OPS_CUH_
#define SWERVE_POLICY_CUDA_WARP_OPS_CUH_

#include <cstdint>

#include "policy/cuda/numbers.cuh"

#ifdef __CUDACC__

namespace swerve::device {

// c [16, 8] += a [16, 16] · b [16, 8]. A lane is 4 · g + t. c: rows g, g, g + 8, g + 8 of columns 2t, 2t + 1, 2t, 2t + 1. a: pairs of
// neighbours, (g, 2t), (g + 8, 2t), (g, 2t + 8), (g + 8, 2t + 8). b: pairs of one column g, from rows 2t and 2t + 8.
__device__ inline void Mma(float (&c)[4], uint32_t a0, uint32_t a1, uint32_t a2, uint32_t a3, uint32_t b0, uint32_t b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}

// Four 8 × 8 matrices from shared memory, transposed: lane i brings where row i % 8 of matrix i / 8 begins, 16 bytes; register j gets
// elements (2t, g) and (2t + 1, g) of matrix j.
__device__ inline void LoadTransposed(uint32_t (&r)[4], const Bf16* row) {
  const uint32_t at = static_cast<uint32_t>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];" : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(at) : "memory");
}

// 16 bytes from global to shared memory, or zeros. Done for this thread after WaitCopies.
__device__ inline void CopyAside(void* shared, const void* global, bool valid) {
  const uint32_t to = static_cast<uint32_t>(__cvta_generic_to_shared(shared));
  asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;" ::"r"(to), "l"(global), "r"(valid ? 16 : 0) : "memory");
}
__device__ inline void CommitCopies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// All but the last `kLeft` commits of this thread.
template <int kLeft>
__device__ inline void WaitCopies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kLeft) : "memory");
}

// Lets the next kernel of the stream begin as soon as there is room; it waits for this one where it says so.
__device__ inline void LetNextBegin() {
#if __CUDA_ARCH__ >= 900
  cudaTriggerProgrammaticLaunchCompletion();
#endif
}
// What the kernels before this one wrote is there.
__device__ inline void WaitForLast() {
#if __CUDA_ARCH__ >= 900
  cudaGridDependencySynchronize();
#endif
}

}  // namespace swerve::device

#endif  // __CUDACC__

#endif  // SWERVE_POLICY_CUDA_WARP_OPS_CUH_
