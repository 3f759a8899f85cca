// Products of few rows with large bfloat16 matrices: decoding streams the weights once, straight into the registers that
// multiply them. What is k-th in a product is arbitrary as long as both factors agree, so a lane loads 16 neighbouring bytes of a row
// of weights and takes them for what the instruction wants of two steps of k; the rows lie in that order too (FragmentIndex).
#ifndef SWERVE_POLICY_CUDA_PRODUCT_KERNELS_CUH_
#define SWERVE_POLICY_CUDA_PRODUCT_KERNELS_CUH_

#include <cstdint>

#include "policy/cuda/fragments.cuh"
#include "policy/cuda/warp_ops.cuh"

namespace swerve::device {

inline constexpr int kStep = 64;       // of k, that a warp multiplies at a time; k is a multiple of it
inline constexpr int kProductWarps = 4;  // of a block

// One step in shared memory: the rows, of which all warps have need, and each warp's weights, 16 bytes a lane, which no other lane reads.
template <int kTiles, int kColumns>
struct ProductStage {
  Bf16 rows[kTiles * 16 * kStep];
  Bf16 weights[kProductWarps][kColumns * 2][32 * 8];
};

// As many as two blocks of a processor have room for. Copies, not registers, hold what is under way: the compiler has one mark for
// all loads of weights and would wait for the last of them before it used the first.
template <int kTiles, int kColumns>
struct ProductStages {
  static constexpr int kCount = kColumns == 2 ? 6 : 4;
  ProductStage<kTiles, kColumns> stage[kCount];
};

template <int kTiles, int kColumns>
__device__ inline void StageWeights(const Bf16* const (&rows)[kColumns], int k, ProductStage<kTiles, kColumns>* s) {
#pragma unroll
  for (int n = 0; n < kColumns; ++n) {
#pragma unroll
    for (int half = 0; half < 2; ++half) CopyAside(s->weights[threadIdx.x / 32][n * 2 + half] + threadIdx.x % 32 * 8, rows[n] + k + half * 32, true);
  }
}

// 16 · kTiles rows from column `from` on: a tile's step is 2 kB, 16 bytes for each thread.
template <int kTiles, int kColumns>
__device__ inline void StageRows(const Bf16* x, int k, int from, ProductStage<kTiles, kColumns>* s) {
#pragma unroll
  for (int m = 0; m < kTiles; ++m) CopyAside(s->rows + (m * 128 + threadIdx.x) * 8, x + static_cast<int64_t>(m) * 16 * k + from * 16 + threadIdx.x * 8, true);
}

template <int kTiles, int kColumns>
__device__ inline void MultiplyStep(const ProductStage<kTiles, kColumns>& s, float (*acc)[kColumns][4]) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    Vector b[kColumns];
#pragma unroll
    for (int n = 0; n < kColumns; ++n) b[n] = *reinterpret_cast<const Vector*>(s.weights[warp][n * 2 + half] + lane * 8);
#pragma unroll
    for (int part = 0; part < 2; ++part) {
#pragma unroll
      for (int m = 0; m < kTiles; ++m) {
        const Vector a = *reinterpret_cast<const Vector*>(s.rows + ((m * 4 + half * 2 + part) * 32 + lane) * 8);
#pragma unroll
        for (int n = 0; n < kColumns; ++n) Mma(acc[m][n], a.w[0], a.w[1], a.w[2], a.w[3], b[n].w[part * 2], b[n].w[part * 2 + 1]);
      }
    }
  }
}

// acc: a warp's outputs for 16 · kTiles rows, over columns [from, to) of k, multiples of kStep. `weights`: where the lane's rows begin.
// All warps of the block together.
template <int kTiles, int kColumns>
__device__ inline void Accumulate(const Bf16* const (&weights)[kColumns], const Bf16* x, int k, int from, int to, ProductStages<kTiles, kColumns>* stages,
                                  float (*acc)[kColumns][4]) {
  constexpr int kCount = ProductStages<kTiles, kColumns>::kCount;
#pragma unroll
  for (int i = 0; i < kCount - 1; ++i) {
    if (from + i * kStep < to) StageWeights<kTiles, kColumns>(weights, from + i * kStep, &stages->stage[i]);
  }
  WaitForLast();
#pragma unroll
  for (int i = 0; i < kCount - 1; ++i) {
    if (from + i * kStep < to) StageRows<kTiles, kColumns>(x, k, from + i * kStep, &stages->stage[i]);
    CommitCopies();
  }
  int stage = 0;
  for (int at = from; at < to; at += kStep) {
    WaitCopies<kCount - 2>();
    __syncthreads();  // this step is there, and the one before is read
    const int next = at + (kCount - 1) * kStep;
    if (next < to) {
      ProductStage<kTiles, kColumns>* to_stage = &stages->stage[stage == 0 ? kCount - 1 : stage - 1];
      StageWeights<kTiles, kColumns>(weights, next, to_stage);
      StageRows<kTiles, kColumns>(x, k, next, to_stage);
    }
    CommitCopies();
    MultiplyStep<kTiles, kColumns>(stages->stage[stage], acc);
    stage = stage + 1 == kCount ? 0 : stage + 1;
  }
}

// Grid (blocks of 64 outputs, splits of k), 128 threads. out [splits, 16 · kTiles, n] in float, split s over columns
// [s, s + 1) · depth of k; x in the order of FragmentIndex.
template <int kTiles>
__global__ void __launch_bounds__(128) ProductKernel(const Bf16* w, const Bf16* x, int n, int k, int depth, float* out) {
  SWERVE_DYNAMIC_SHARED(bytes);
  auto* stages = reinterpret_cast<ProductStages<kTiles, 2>*>(bytes);
  LetNextBegin();
  const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4, first = (blockIdx.x * 4 + threadIdx.x / 32) * 16;
  // Warps beyond the end compute the last rows once more, and tell nobody.
  const Bf16* const weights[2] = {w + static_cast<int64_t>(min(first + g, n - 1)) * k + t * 8, w + static_cast<int64_t>(min(first + g + 8, n - 1)) * k + t * 8};
  const int from = blockIdx.y * depth;
  float acc[kTiles][2][4] = {};
  Accumulate<kTiles, 2>(weights, x, k, from, min(k, from + depth), stages, acc);
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
  SWERVE_DYNAMIC_SHARED(bytes);
  auto* stages = reinterpret_cast<ProductStages<kTiles, 4>*>(bytes);
  LetNextBegin();
  const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4, first = (blockIdx.x * 4 + threadIdx.x / 32) * 16;
  const Bf16 *low = w + static_cast<int64_t>(min(first + g, mlp - 1)) * k + t * 8, *high = w + static_cast<int64_t>(min(first + g + 8, mlp - 1)) * k + t * 8;
  const Bf16* const weights[4] = {low, high, low + static_cast<int64_t>(mlp) * k, high + static_cast<int64_t>(mlp) * k};
  float acc[kTiles][4][4] = {};
  Accumulate<kTiles, 4>(weights, x, k, 0, k, stages, acc);
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
