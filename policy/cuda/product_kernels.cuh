// Products of few rows with large bfloat16 matrices: decoding streams the weights once, straight into the registers that
// multiply them, while the rows lie in shared memory. What is k-th in a product is arbitrary as long as both factors agree, so
// lanes load 16 neighbouring bytes and take them for what the instruction wants.
#ifndef SWERVE_POLICY_CUDA_PRODUCT_KERNELS_CUH_
#define SWERVE_POLICY_CUDA_PRODUCT_KERNELS_CUH_

#include <cstdint>

#include "policy/cuda/warp_ops.cuh"

namespace swerve::device {

inline constexpr int kStep = 64;   // of k, that a warp multiplies at a time
inline constexpr int kStages = 5;  // steps of the rows in shared memory

// Weights of a warp's 16 · kTall outputs over one step: of each 16 the lane's rows g and g + 8.
template <int kTall>
struct WeightStep {
  Vector low[kTall][2], high[kTall][2];
};

// Where the rows of weights begin that a lane loads.
template <int kTall>
struct WeightRows {
  const Bf16 *low[kTall], *high[kTall];
};

template <int kTall>
__device__ inline void LoadWeights(const WeightRows<kTall>& rows, int k, int end, WeightStep<kTall>* s) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int at = k + half * 32 + threadIdx.x % 4 * 8;
#pragma unroll
    for (int m = 0; m < kTall; ++m) {
      s->low[m][half] = at < end ? LoadOnce(rows.low[m] + at) : Vector{};
      s->high[m][half] = at < end ? LoadOnce(rows.high[m] + at) : Vector{};
    }
  }
}

// Where 16 bytes number `j` of a row's step lie: the halves of odd rows change places, so that eight lanes fall on all banks.
__device__ inline int PlaceOf(int row, int j) { return row * kStep + (j ^ (row % 2 * 4)) * 8; }

// A step of the rows x [8 · kTiles, k] from column `from` on; zeros from `end` on. One commit, whether there is anything left.
template <int kTiles, int kThreads>
__device__ inline void StageRows(const Bf16* x, int64_t k, int from, int end, Bf16* shared) {
  if (from < end) {
    for (int i = threadIdx.x; i < kTiles * 8 * (kStep / 8); i += kThreads) {
      const int row = i / (kStep / 8), j = i % (kStep / 8), at = from + j * 8;
      CopyAside(shared + PlaceOf(row, j), x + row * k + (at < end ? at : 0), at < end);
    }
  }
  CommitCopies();
}

template <int kTiles, int kTall>
__device__ inline void MultiplyStep(const WeightStep<kTall>& w, const Bf16* rows, float (*acc)[kTiles][4]) {
  const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
#pragma unroll
    for (int n = 0; n < kTiles; ++n) {
      const Vector x = *reinterpret_cast<const Vector*>(rows + PlaceOf(n * 8 + g, half * 4 + t));
#pragma unroll
      for (int m = 0; m < kTall; ++m) {
        const Vector &a = w.low[m][half], &b = w.high[m][half];
        Mma(acc[m][n], a.w[0], b.w[0], a.w[1], b.w[1], x.w[0], x.w[1]);
        Mma(acc[m][n], a.w[2], b.w[2], a.w[3], b.w[3], x.w[2], x.w[3]);
      }
    }
  }
}

template <int kTiles>
struct StagedRows {
  Bf16 step[kStages][kTiles * 8 * kStep];
};

// acc: a warp's outputs for 8 · kTiles rows, over columns [from, to) of k, both multiples of 8. All warps of the block together.
template <int kTiles, int kTall, int kThreads>
__device__ inline void Accumulate(const WeightRows<kTall>& weights, const Bf16* x, int k, int from, int to, StagedRows<kTiles>* rows, float (*acc)[kTiles][4]) {
  constexpr int kAhead = kTall == 1 ? 4 : 3;  // steps of weights under way
  WeightStep<kTall> ahead[kAhead];
#pragma unroll
  for (int i = 0; i < kAhead; ++i) LoadWeights<kTall>(weights, from + i * kStep, to, &ahead[i]);
  WaitForLast();
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
      MultiplyStep<kTiles, kTall>(ahead[i], rows->step[stage], acc);
      LoadWeights<kTall>(weights, at + kAhead * kStep, to, &ahead[i]);
      stage = stage + 1 == kStages ? 0 : stage + 1;
    }
  }
}

// Grid (blocks of 64 outputs, splits of k), 128 threads. out [splits, 8 · kTiles, n] in float, split s over columns
// [s, s + 1) · depth of k.
template <int kTiles>
__global__ void __launch_bounds__(128) ProductKernel(const Bf16* w, const Bf16* x, int n, int k, int depth, float* out) {
  alignas(16) __shared__ StagedRows<kTiles> rows;
  LetNextBegin();
  const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4, first = (blockIdx.x * 4 + threadIdx.x / 32) * 16;
  // Warps beyond the end compute the last rows once more, and tell nobody.
  const WeightRows<1> weights = {{w + static_cast<int64_t>(min(first + g, n - 1)) * k}, {w + static_cast<int64_t>(min(first + g + 8, n - 1)) * k}};
  const int from = blockIdx.y * depth;
  float acc[1][kTiles][4] = {};
  Accumulate<kTiles, 1, 128>(weights, x, k, from, min(k, from + depth), &rows, acc);
  float* to_split = out + static_cast<int64_t>(blockIdx.y) * kTiles * 8 * n;
#pragma unroll
  for (int i = 0; i < kTiles; ++i) {
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const int output = first + g + (e >= 2 ? 8 : 0);
      if (output < n) to_split[static_cast<int64_t>(i * 8 + 2 * t + e % 2) * n + output] = acc[0][i][e];
    }
  }
}

// Grid (blocks of 64 outputs), 128 threads. out [8 · kTiles, mlp] = silu(x · gateᵀ) · (x · upᵀ) of w [2 · mlp, k], gate first: rows g of a
// 16 are the gate's and rows g + 8 the other's.
template <int kTiles>
__global__ void __launch_bounds__(128) GatedProductKernel(const Bf16* w, const Bf16* x, int mlp, int k, Bf16* out) {
  alignas(16) __shared__ StagedRows<kTiles> rows;
  LetNextBegin();
  const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4, first = (blockIdx.x * 4 + threadIdx.x / 32) * 16 + g;
  WeightRows<2> weights;
#pragma unroll
  for (int m = 0; m < 2; ++m) {
    const int row = min(first + m * 8, mlp - 1);
    weights.low[m] = w + static_cast<int64_t>(row) * k;
    weights.high[m] = w + static_cast<int64_t>(mlp + row) * k;
  }
  float acc[2][kTiles][4] = {};
  Accumulate<kTiles, 2, 128>(weights, x, k, 0, k, &rows, acc);
#pragma unroll
  for (int m = 0; m < 2; ++m) {
    const int output = first + m * 8;
    if (output >= mlp) continue;
#pragma unroll
    for (int i = 0; i < kTiles; ++i) {
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        const float gate = acc[m][i][e], up = acc[m][i][e + 2];
        out[static_cast<int64_t>(i * 8 + 2 * t + e) * mlp + output] = FromFloat<Bf16>(gate / (1 + expf(-gate)) * up);
      }
    }
  }
}

}  // namespace swerve::device

#endif  // SWERVE_POLICY_CUDA_PRODUCT_KERNELS_CUH_
