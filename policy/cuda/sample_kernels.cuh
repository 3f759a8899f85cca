// Drawing tokens from logits: first what each chunk of the vocabulary weighs, then the chunk, then the entry.
#ifndef SWERVE_POLICY_CUDA_SAMPLE_KERNELS_CUH_
#define SWERVE_POLICY_CUDA_SAMPLE_KERNELS_CUH_

#include <cmath>
#include <cstdint>

#include "policy/cuda/decode_kernels.cuh"

namespace swerve::device {

// What a chunk of the vocabulary says: [largest, sum of exp(· − largest), where the largest is (its bits), unused].
struct ChunkMass {
  float top, sum;
  int32_t where, unused;
};

inline constexpr int kSampleThreads = 256, kSampleEach = kSampleChunk / kSampleThreads;

// The largest over a block, the first of equals.
__device__ inline void BlockTop(float* top, int32_t* where, float* tops, int32_t* wheres) {
  for (int s = 16; s > 0; s /= 2) {
    const float t = __shfl_xor_sync(0xffffffffu, *top, s);
    const int32_t w = __shfl_xor_sync(0xffffffffu, *where, s);
    if (t > *top || (t == *top && w < *where)) *top = t, *where = w;
  }
  if (threadIdx.x % 32 == 0) tops[threadIdx.x / 32] = *top, wheres[threadIdx.x / 32] = *where;
  __syncthreads();
  for (int i = 0; i < kSampleThreads / 32; ++i) {
    if (tops[i] > *top || (tops[i] == *top && wheres[i] < *where)) *top = tops[i], *where = wheres[i];
  }
}

__device__ inline float ScaleOf(const DrawRow& draw) { return draw.scale > 0 ? draw.scale : 1.0f; }

// Grid (chunks, draws), kSampleThreads.
__global__ inline void SampleChunkKernel(const DrawRow* draws, const float* logits, int64_t stride, int vocab, ChunkMass* masses) {
  __shared__ float tops[8], sums[8];
  __shared__ int32_t wheres[8];
  LetNextBegin();
  WaitForLast();
  const DrawRow draw = draws[blockIdx.y];
  if (draw.logits < 0) return;
  const float* row = logits + draw.logits * stride;
  const float scale = ScaleOf(draw);
  const int from = blockIdx.x * kSampleChunk;
  float v[kSampleEach], top = -INFINITY;
  int32_t where = vocab;
  for (int j = 0; j < kSampleEach; ++j) {
    const int i = from + j * kSampleThreads + threadIdx.x;
    v[j] = i < vocab ? row[i] * scale : -INFINITY;
    if (v[j] > top) top = v[j], where = i;
  }
  BlockTop(&top, &where, tops, wheres);
  float sum = 0;
  for (int j = 0; j < kSampleEach; ++j) sum += expf(v[j] - top);
  sum = WarpSum(sum);
  if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = sum;
  __syncthreads();
  if (threadIdx.x != 0) return;
  sum = 0;
  for (int i = 0; i < 8; ++i) sum += sums[i];
  masses[static_cast<int64_t>(blockIdx.y) * gridDim.x + blockIdx.x] = {top, sum, where, 0};
}

// Grid (draws), kSampleThreads: which chunk, then which entry of it.
__global__ inline void SampleKernel(const DrawRow* draws, const float* logits, int64_t stride, int vocab, const ChunkMass* masses, int chunks, DrawnRow* drawn) {
  __shared__ float tops[8];
  __shared__ int32_t wheres[8];
  __shared__ double before[kSampleThreads + 1];
  __shared__ int chosen;
  __shared__ double total, below;
  LetNextBegin();
  WaitForLast();
  const DrawRow draw = draws[blockIdx.x];
  if (draw.logits < 0) return;
  const ChunkMass* mass = masses + static_cast<int64_t>(blockIdx.x) * chunks;
  float top = -INFINITY;
  int32_t where = vocab;
  for (int c = threadIdx.x; c < chunks; c += blockDim.x) {
    if (mass[c].top > top) top = mass[c].top, where = mass[c].where;
  }
  BlockTop(&top, &where, tops, wheres);
  if (threadIdx.x == 0) {
    double all = 0;
    for (int c = 0; c < chunks; ++c) all += static_cast<double>(mass[c].sum) * expf(mass[c].top - top);
    const double target = draw.uniform * all;
    double sum = 0;
    chosen = chunks;
    int last = 0;  // with any mass: taken where rounding leaves nothing above the target
    double before_last = 0;
    for (int c = 0; c < chunks && chosen == chunks; ++c) {
      const double here = static_cast<double>(mass[c].sum) * expf(mass[c].top - top);
      if (here > 0) last = c, before_last = sum;
      if (sum + here > target) chosen = c, before_last = sum;
      sum += here;
    }
    if (chosen == chunks) chosen = last;
    below = before_last;
    total = all;
  }
  __syncthreads();
  const float* row = logits + draw.logits * stride;
  const float scale = ScaleOf(draw);
  if (draw.scale <= 0) {
    if (threadIdx.x == 0) drawn[blockIdx.x] = {where, static_cast<float>(static_cast<double>(row[where] * scale) - top - log(total))};
    return;
  }
  const double target = draw.uniform * total;
  const int from = chosen * kSampleChunk + threadIdx.x * kSampleEach;
  double mine = 0;
  for (int j = 0; j < kSampleEach; ++j) mine += from + j < vocab ? expf(row[from + j] * scale - top) : 0.0f;
  before[threadIdx.x + 1] = mine;
  __syncthreads();
  if (threadIdx.x == 0) {
    before[0] = below;
    for (int i = 0; i < kSampleThreads; ++i) before[i + 1] += before[i];
    int i = 0;
    while (i + 1 < kSampleThreads && before[i + 1] <= target) ++i;
    double sum = before[i];
    const int begin = chosen * kSampleChunk + i * kSampleEach;
    int token = -1;
    for (int j = 0; j < kSampleEach && begin + j < vocab && token < 0; ++j) {
      sum += expf(row[begin + j] * scale - top);
      if (sum > target) token = begin + j;
    }
    // Rounding left nothing above the target: the chunk's last with any mass.
    if (token < 0) token = min(vocab, (chosen + 1) * kSampleChunk) - 1;
    while (token > chosen * kSampleChunk && expf(row[token] * scale - top) <= 0) --token;
    drawn[blockIdx.x] = {token, static_cast<float>(static_cast<double>(row[token] * scale) - top - log(total))};
  }
}

}  // namespace swerve::device

#endif  // SWERVE_POLICY_CUDA_SAMPLE_KERNELS_CUH_
