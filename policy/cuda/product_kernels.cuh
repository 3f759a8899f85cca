// Products of few rows with large bfloat16 matrices: decoding streams the weights once, straight into the registers that
// multiply them. What is k-th in a product is arbitrary as long as both factors agree, so a lane loads 16 neighbouring bytes of a row
// of weights and takes them for what the instruction wants of two steps of k; the rows lie in that order too (FragmentIndex).
#ifndef SWERVE_POLICY_CUDA_PRODUCT_KERNELS_CUH_
#define SWERVE_POLICY_CUDA_PRODUCT_KERNELS_CUH_

#include <cstdint>

#include "policy/cuda/fragments.cuh"
#include "policy/cuda/warp_ops.cuh"

namespace swerve::device {

inline constexpr int kStep = 64;         // of k, that a block multiplies at a time; k is a multiple of it

// Outputs of a block are in kGroups groups, each of which a pair of warps computes, one for each half of a step.
//
// One step in shared memory: the rows, of which all warps have need, and each warp's weights, 16 bytes a lane, which no other lane reads.
template <int kTiles, int kColumns, int kGroups>
struct ProductStage {
  Bf16 rows[kTiles * 16 * kStep];
  Bf16 weights[2 * kGroups][kColumns][32 * 8];
};

// Copies, not registers, hold what is under way: the compiler has one mark for all loads of weights and would wait for the last of
// them before it used the first.
template <int kTiles, int kColumns, int kGroups, int kCount>
struct ProductStages {
  union {
    ProductStage<kTiles, kColumns, kGroups> stage[kCount];
    float sums[kTiles * kColumns * 4][32 * kGroups];  // of the second halves, at the end
  };
};

// `rows`: where the lane's weights of the warp's half of a step begin.
template <int kTiles, int kColumns, int kGroups>
__device__ inline void StageWeights(const Bf16* const (&rows)[kColumns], int k, ProductStage<kTiles, kColumns, kGroups>* s) {
#pragma unroll
  for (int n = 0; n < kColumns; ++n) CopyAside(s->weights[threadIdx.x / 32][n] + threadIdx.x % 32 * 8, rows[n] + k, true);
}

// 16 · kTiles rows from column `from` on: a tile's step is 2 kB.
template <int kTiles, int kColumns, int kGroups>
__device__ inline void StageRows(const Bf16* x, int k, int from, ProductStage<kTiles, kColumns, kGroups>* s) {
  constexpr int kThreads = 64 * kGroups, kPieces = kTiles * 128;
#pragma unroll
  for (int i = 0; i < (kPieces + kThreads - 1) / kThreads; ++i) {
    const int piece = i * kThreads + threadIdx.x;
    if (piece < kPieces) CopyAside(s->rows + piece * 8, x + static_cast<int64_t>(piece / 128) * 16 * k + from * 16 + piece % 128 * 8, true);
  }
}

template <int kTiles, int kColumns, int kGroups>
__device__ inline void MultiplyStep(const ProductStage<kTiles, kColumns, kGroups>& s, float (*acc)[kColumns][4]) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, half = warp / kGroups;
  Vector b[kColumns];
#pragma unroll
  for (int n = 0; n < kColumns; ++n) b[n] = *reinterpret_cast<const Vector*>(s.weights[warp][n] + lane * 8);
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

// acc, in the first kGroups warps: 8 · kColumns outputs for 16 · kTiles rows, over columns [from, to) of k, multiples of kStep. `rows`:
// where the weights begin that are the lane's in the first half of a step. All warps of the block together.
template <int kTiles, int kColumns, int kGroups, int kCount>
__device__ inline void Accumulate(const Bf16* const (&rows)[kColumns], const Bf16* x, int k, int from, int to, ProductStages<kTiles, kColumns, kGroups, kCount>* stages,
                                  float (*acc)[kColumns][4]) {
  const int warp = threadIdx.x / 32, half = warp / kGroups, place = threadIdx.x % (32 * kGroups);
  const Bf16* weights[kColumns];
#pragma unroll
  for (int n = 0; n < kColumns; ++n) weights[n] = rows[n] + half * 32;
#pragma unroll
  for (int i = 0; i < kCount - 1; ++i) {
    if (from + i * kStep < to) StageWeights<kTiles, kColumns, kGroups>(weights, from + i * kStep, &stages->stage[i]);
  }
  WaitForLast();
#pragma unroll
  for (int i = 0; i < kCount - 1; ++i) {
    if (from + i * kStep < to) StageRows<kTiles, kColumns, kGroups>(x, k, from + i * kStep, &stages->stage[i]);
    CommitCopies();
  }
  int stage = 0;
  for (int at = from; at < to; at += kStep) {
    WaitCopies<kCount - 2>();
    __syncthreads();  // this step is there, and the one before is read
    const int next = at + (kCount - 1) * kStep;
    if (next < to) {
      ProductStage<kTiles, kColumns, kGroups>* to_stage = &stages->stage[stage == 0 ? kCount - 1 : stage - 1];
      StageWeights<kTiles, kColumns, kGroups>(weights, next, to_stage);
      StageRows<kTiles, kColumns, kGroups>(x, k, next, to_stage);
    }
    CommitCopies();
    MultiplyStep<kTiles, kColumns, kGroups>(stages->stage[stage], acc);
    stage = stage + 1 == kCount ? 0 : stage + 1;
  }
  WaitCopies<0>();
  __syncthreads();
#pragma unroll
  for (int i = 0; i < kTiles * kColumns * 4; ++i) {
    if (half == 1) stages->sums[i][place] = acc[i / (kColumns * 4)][i / 4 % kColumns][i % 4];
  }
  __syncthreads();
#pragma unroll
  for (int i = 0; i < kTiles * kColumns * 4; ++i) {
    if (half == 0) acc[i / (kColumns * 4)][i / 4 % kColumns][i % 4] += stages->sums[i][place];
  }
}

// Grid (blocks of 64 outputs, splits of k), 256 threads. out [splits, 16 · kTiles, n] in float, split s over columns
// [s, s + 1) · depth of k; x in the order of FragmentIndex.
template <int kTiles>
using SplitStages = ProductStages<kTiles, 2, 4, 6>;

template <int kTiles>
__global__ void __launch_bounds__(256) ProductKernel(const Bf16* w, const Bf16* x, int n, int k, int depth, float* out) {
  SWERVE_DYNAMIC_SHARED(bytes);
  auto* stages = reinterpret_cast<SplitStages<kTiles>*>(bytes);
  LetNextBegin();
  const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4, first = (blockIdx.x * 4 + threadIdx.x / 32 % 4) * 16;
  // Warps beyond the end compute the last rows once more, and tell nobody.
  const Bf16* const weights[2] = {w + static_cast<int64_t>(min(first + g, n - 1)) * k + t * 8, w + static_cast<int64_t>(min(first + g + 8, n - 1)) * k + t * 8};
  const int from = blockIdx.y * depth;
  float acc[kTiles][2][4] = {};
  Accumulate<kTiles, 2, 4, 6>(weights, x, k, from, min(k, from + depth), stages, acc);
  if (threadIdx.x >= 32 * 4) return;
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

// Grid (blocks of 16 · kGroups outputs), 64 · kGroups threads. out = silu(x · gateᵀ) · (x · upᵀ) of w [2 · mlp, k], gate first; x and out, of mlp columns, in
// the order of FragmentIndex.
template <int kTiles, int kGroups>
using GatedStages = ProductStages<kTiles, 4, kGroups, 4>;

template <int kTiles, int kGroups>
__global__ void __launch_bounds__(64 * kGroups) GatedProductKernel(const Bf16* w, const Bf16* x, int mlp, int k, Bf16* out) {
  SWERVE_DYNAMIC_SHARED(bytes);
  auto* stages = reinterpret_cast<GatedStages<kTiles, kGroups>*>(bytes);
  LetNextBegin();
  const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4, first = (blockIdx.x * kGroups + threadIdx.x / 32 % kGroups) * 16;
  const Bf16 *low = w + static_cast<int64_t>(min(first + g, mlp - 1)) * k + t * 8, *high = w + static_cast<int64_t>(min(first + g + 8, mlp - 1)) * k + t * 8;
  const Bf16* const weights[4] = {low, high, low + static_cast<int64_t>(mlp) * k, high + static_cast<int64_t>(mlp) * k};
  float acc[kTiles][4][4] = {};
  Accumulate<kTiles, 4, kGroups, 4>(weights, x, k, 0, k, stages, acc);
  if (threadIdx.x >= 32 * kGroups) return;
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
