// Products of few rows with large bfloat16 matrices: decoding streams the weights once, straight into the registers that
// multiply them. What is k-th in a product is arbitrary as long as both factors agree, so a lane loads 16 neighbouring bytes of a row
// of weights and takes them for what the instruction wants of two steps of k; the rows lie in that order too (FragmentIndex).
#ifndef SWERVE_POLICY_CUDA_PRODUCT_KERNELS_CUH_
#define SWERVE_POLICY_CUDA_PRODUCT_KERNELS_CUH_

#include <cstdint>

#include "policy/cuda/fragments.cuh"
#include "policy/cuda/warp_ops.cuh"

namespace swerve::device {

inline constexpr int kStep = 64;   // of k, that a warp multiplies at a time; k is a multiple of it
inline constexpr int kStages = 5;  // steps of the rows in shared memory

// Weights of a warp's 8 · kColumns outputs over one step: of each 8 the lane's row g.
template <int kColumns>
struct WeightStep {
  Vector w[kColumns][2];
};

template <int kColumns>
__device__ inline void LoadWeights(const Bf16* const (&rows)[kColumns], int k, WeightStep<kColumns>* s) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
#pragma unroll
    for (int n = 0; n < kColumns; ++n) s->w[n][half] = LoadOnce(rows[n] + k + half * 32);
  }
}

template <int kTiles>
struct StagedRows {
  Bf16 step[kStages][kTiles * 16 * kStep];
};

// A step of 16 · kTiles rows from column `from` on. One commit, whether there is anything left or not.
template <int kTiles, int kThreads>
__device__ inline void StageRows(const Bf16* x, int k, int from, int end, Bf16* shared) {
  constexpr int kEach = 16 * kStep / 8;  // of 16 bytes, in a tile
  if (from < end) {
#pragma unroll
    for (int i = threadIdx.x; i < kTiles * kEach; i += kThreads) {
      CopyAside(shared + i * 8, x + static_cast<int64_t>(i / kEach) * 16 * k + from * 16 + i % kEach * 8, true);
    }
  }
  CommitCopies();
}

template <int kTiles, int kColumns>
__device__ inline void MultiplyStep(const WeightStep<kColumns>& w, const Bf16* rows, float (*acc)[kColumns][4]) {
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int step = 0; step < 4; ++step) {
#pragma unroll
    for (int m = 0; m < kTiles; ++m) {
      const Vector a = *reinterpret_cast<const Vector*>(rows + ((m * 4 + step) * 32 + lane) * 8);
#pragma unroll
      for (int n = 0; n < kColumns; ++n) {
        const Vector& b = w.w[n][step / 2];
        Mma(acc[m][n], a.w[0], a.w[1], a.w[2], a.w[3], b.w[step % 2 * 2], b.w[step % 2 * 2 + 1]);
      }
    }
  }
}

// acc: a warp's outputs for 16 · kTiles rows, over columns [from, to) of k, multiples of kStep. `weights`: where the lane's rows begin.
// All warps of the block together.
template <int kTiles, int kColumns, int kThreads>
__device__ inline void Accumulate(const Bf16* const (&weights)[kColumns], const Bf16* x, int k, int from, int to, StagedRows<kTiles>* rows, float (*acc)[kColumns][4]) {
  constexpr int kAhead = kColumns == 2 ? 4 : 3;  // steps of weights under way
  WeightStep<kColumns> ahead[kAhead];
#pragma unroll
  for (int i = 0; i < kAhead; ++i) {
    if (from + i * kStep < to) LoadWeights<kColumns>(weights, from + i * kStep, &ahead[i]);
  }
  WaitForLast();
#pragma unroll
  for (int i = 0; i < kStages - 1; ++i) StageRows<kTiles, kThreads>(x, k, from + i * kStep, to, rows->step[i]);
  int stage = 0;
  for (int begin = from; begin < to; begin += kAhead * kStep) {
#pragma unroll
    for (int i = 0; i < kAhead; ++i) {
      const int at = begin + i * kStep;
      if (at >= to) break;
      WaitCopies<kStages - 2>();
      __syncthreads();  // this step is there, and the one before is read
      StageRows<kTiles, kThreads>(x, k, at + (kStages - 1) * kStep, to, rows->step[stage == 0 ? kStages - 1 : stage - 1]);
      MultiplyStep<kTiles, kColumns>(ahead[i], rows->step[stage], acc);
      if (at + kAhead * kStep < to) LoadWeights<kColumns>(weights, at + kAhead * kStep, &ahead[i]);
      stage = stage + 1 == kStages ? 0 : stage + 1;
    }
  }
}

// Grid (blocks of 64 outputs, splits of k), 128 threads. out [splits, 16 · kTiles, n] in float, split s over columns
// [s, s + 1) · depth of k; x in the order of FragmentIndex.
template <int kTiles>
__global__ void __launch_bounds__(128) ProductKernel(const Bf16* w, const Bf16* x, int n, int k, int depth, float* out) {
  alignas(16) __shared__ StagedRows<kTiles> rows;
  LetNextBegin();
  const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4, first = (blockIdx.x * 4 + threadIdx.x / 32) * 16;
  // Warps beyond the end compute the last rows once more, and tell nobody.
  const Bf16* const weights[2] = {w + static_cast<int64_t>(min(first + g, n - 1)) * k + t * 8, w + static_cast<int64_t>(min(first + g + 8, n - 1)) * k + t * 8};
  const int from = blockIdx.y * depth;
  float acc[kTiles][2][4] = {};
  Accumulate<kTiles, 2, 128>(weights, x, k, from, min(k, from + depth), &rows, acc);
  float* to_split = out + static_cast<int64_t>(blockIdx.y) * kTiles * 16 * n;
#pragma unroll
  for (int m = 0; m < kTiles; ++m) {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int output = first + i * 8 + 2 * t;
      if (output >= n) continue;
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        *reinterpret_cast<Two*>(to_split + static_cast<int64_t>(m * 16 + g + 8 * r) * n + output) = {{acc[m][i][2 * r], acc[m][i][2 * r + 1]}};
      }
    }
  }
}

// Grid (blocks of 64 outputs), 128 threads. out = silu(x · gateᵀ) · (x · upᵀ) of w [2 · mlp, k], gate first; x and out, of mlp columns, in
// the order of FragmentIndex.
template <int kTiles>
__global__ void __launch_bounds__(128) GatedProductKernel(const Bf16* w, const Bf16* x, int mlp, int k, Bf16* out) {
  alignas(16) __shared__ StagedRows<kTiles> rows;
  LetNextBegin();
  const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4, first = (blockIdx.x * 4 + threadIdx.x / 32) * 16;
  const Bf16 *low = w + static_cast<int64_t>(min(first + g, mlp - 1)) * k + t * 8, *high = w + static_cast<int64_t>(min(first + g + 8, mlp - 1)) * k + t * 8;
  const Bf16* const weights[4] = {low, high, low + static_cast<int64_t>(mlp) * k, high + static_cast<int64_t>(mlp) * k};
  float acc[kTiles][4][4] = {};
  Accumulate<kTiles, 4, 128>(weights, x, k, 0, k, &rows, acc);
#pragma unroll
  for (int m = 0; m < kTiles; ++m) {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int output = first + i * 8 + 2 * t;
      if (output >= mlp) continue;
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        float v[2];
        for (int e = 0; e < 2; ++e) {
          const float gate = acc[m][i][2 * r + e], up = acc[m][i + 2][2 * r + e];
          v[e] = gate / (1 + expf(-gate)) * up;
        }
        *reinterpret_cast<uint32_t*>(out + FragmentIndex(m * 16 + g + 8 * r, output, mlp)) = Pair(v[0], v[1]);
      }
    }
  }
}

}  // namespace swerve::device

#endif  // SWERVE_POLICY_CUDA_PRODUCT_KERNELS_CUH_
