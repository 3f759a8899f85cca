// Attention of decoding in bfloat16: a warp takes 16 queries over a stretch of keys, by matrix instructions. Rows that continue the
// same prompt attend over it together, so that its keys are read once for them; each row then attends over its own tokens.
#ifndef SWERVE_POLICY_CUDA_ATTEND_KERNELS_CUH_
#define SWERVE_POLICY_CUDA_ATTEND_KERNELS_CUH_

#include <cmath>
#include <cstdint>

#include "policy/cuda/decode_kernels.cuh"
#include "policy/cuda/warp_ops.cuh"

namespace swerve::device {

inline constexpr int kKeys = 32;  // at a time
inline constexpr int kParts = kPromptParts + kOwnParts;

// Which stretch of a sequence's tokens, [from, to), is part number `part` of `parts`, in whole tiles.
__device__ inline void PartOf(int begin, int end, int part, int parts, int* from, int* to) {
  const int tiles = (end - begin + kKeys - 1) / kKeys;
  *from = begin + tiles * part / parts * kKeys;
  *to = min(end, begin + tiles * (part + 1) / parts * kKeys);
}

// A warp's 16 queries and what it has of them: sums of values [dimension tiles][rows g and g + 8], largest scores, sums of weights.
template <int D>
struct Queries {
  Vector low[D / 32], high[D / 32];  // rows g and g + 8, the lane's 8 of 32 dimensions
  float mixed[D / 8][4] = {};
  float top[2] = {-INFINITY, -INFINITY}, sum[2] = {0, 0};
};

// Scores of kKeys keys from token `at` on, to `end`; the lane's columns are keys 2t and 2t + 1 of each eight.
template <int D>
__device__ inline void ScoreKeys(const Queries<D>& q, const StepRow& row, const int32_t* tables, const Bf16* keys, int64_t stride, int at, int end,
                                 float (*scores)[4]) {
  const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
  Vector k[kKeys / 8][D / 32];
#pragma unroll
  for (int n = 0; n < kKeys / 8; ++n) {
    const int token = at + n * 8 + g;
    const Bf16* from = keys + (token < end ? SlotOf(row, tables, token) : 0) * stride + t * 8;
#pragma unroll
    for (int c = 0; c < D / 32; ++c) k[n][c] = token < end ? *reinterpret_cast<const Vector*>(from + c * 32) : Vector{};
  }
#pragma unroll
  for (int n = 0; n < kKeys / 8; ++n) {
    for (int e = 0; e < 4; ++e) scores[n][e] = 0;
#pragma unroll
    for (int c = 0; c < D / 32; ++c) {
      const Vector &a = q.low[c], &b = q.high[c], &x = k[n][c];
      Mma(scores[n], a.w[0], b.w[0], a.w[1], b.w[1], x.w[0], x.w[1]);
      Mma(scores[n], a.w[2], b.w[2], a.w[3], b.w[3], x.w[2], x.w[3]);
    }
  }
  const float scale = rsqrtf(static_cast<float>(D));
#pragma unroll
  for (int n = 0; n < kKeys / 8; ++n) {
#pragma unroll
    for (int e = 0; e < 4; ++e) scores[n][e] = at + n * 8 + 2 * t + e % 2 < end ? scores[n][e] * scale : -INFINITY;
  }
}

// Scores to weights against the largest so far, of rows g (e < 2) and g + 8.
template <int D>
__device__ inline void WeighKeys(Queries<D>* q, float (*scores)[4]) {
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    float top = q->top[r];
#pragma unroll
    for (int n = 0; n < kKeys / 8; ++n) top = fmaxf(top, fmaxf(scores[n][2 * r], scores[n][2 * r + 1]));
    for (int s = 1; s < 4; s *= 2) top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, s));
    const float shrink = expf(q->top[r] - top);
    float sum = 0;
#pragma unroll
    for (int n = 0; n < kKeys / 8; ++n) {
#pragma unroll
      for (int e = 2 * r; e < 2 * r + 2; ++e) sum += scores[n][e] = expf(scores[n][e] - top);
    }
    q->sum[r] = q->sum[r] * shrink + sum;  // the lane's keys; lanes add up at the end
    q->top[r] = top;
#pragma unroll
    for (int i = 0; i < D / 8; ++i) q->mixed[i][2 * r] *= shrink, q->mixed[i][2 * r + 1] *= shrink;
  }
}

__device__ inline uint32_t Pair(float first, float second) {
  return static_cast<uint32_t>(FromFloat<Bf16>(first).bits) | static_cast<uint32_t>(FromFloat<Bf16>(second).bits) << 16;
}

// values: kKeys rows of D + 8 elements in shared memory.
template <int D>
__device__ inline void MixValues(Queries<D>* q, const float (*scores)[4], const Bf16* values) {
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int k = 0; k < kKeys / 16; ++k) {
    const float(*s)[4] = scores + 2 * k;
    const uint32_t a0 = Pair(s[0][0], s[0][1]), a1 = Pair(s[0][2], s[0][3]), a2 = Pair(s[1][0], s[1][1]), a3 = Pair(s[1][2], s[1][3]);
#pragma unroll
    for (int i = 0; i < D / 8; i += 2) {
      // Keys 0 … 7 and 8 … 15 of dimensions i · 8 …, then of the next eight.
      uint32_t v[4];
      LoadTransposed(v, values + (k * 16 + lane % 16) * (D + 8) + i * 8 + lane / 16 * 8);
      Mma(q->mixed[i], a0, a1, a2, a3, v[0], v[1]);
      Mma(q->mixed[i + 1], a0, a1, a2, a3, v[2], v[3]);
    }
  }
}

// All of a warp's queries over tokens [from, to) of a row's sequence. `shared`: of the warp, for kKeys values.
template <int D>
__device__ inline void AttendStretch(Queries<D>* q, const StepRow& row, const int32_t* tables, const Bf16* keys, const Bf16* values, int64_t stride, int from, int to,
                                     Bf16* shared) {
  const int lane = threadIdx.x % 32;
  for (int at = from; at < to; at += kKeys) {
#pragma unroll 4
    for (int i = lane; i < kKeys * (D / 8); i += 32) {
      const int token = at + i / (D / 8), j = i % (D / 8) * 8;
      const bool valid = token < to;
      CopyAside(shared + (token - at) * (D + 8) + j, values + (valid ? SlotOf(row, tables, token) * stride + j : 0), valid);
    }
    CommitCopies();
    float scores[kKeys / 8][4];
    ScoreKeys<D>(*q, row, tables, keys, stride, at, to, scores);
    WeighKeys<D>(q, scores);
    WaitCopies<0>();
    __syncwarp();
    MixValues<D>(q, scores, shared);
    __syncwarp();
  }
}

// Writes a query's part, [mixed (D), top, sum], as row r (0: g, 1: g + 8) of the warp has it.
template <int D>
__device__ inline void TellPart(const Queries<D>& q, int r, float sum, float* part) {
  const int t = threadIdx.x % 4;
  if (t == 0) part[D] = q.top[r], part[D + 1] = sum;
  if (q.top[r] == -INFINITY) return;  // an empty part
#pragma unroll
  for (int i = 0; i < D / 8; ++i) part[i * 8 + 2 * t] = q.mixed[i][2 * r], part[i * 8 + 2 * t + 1] = q.mixed[i][2 * r + 1];
}

struct AttendSizesOf {
  int heads, kv_heads, width;
};

// Where the parts of a row's query head lie.
template <int D>
__device__ inline float* PartsOf(float* partial, const AttendSizesOf& z, int row, int head) {
  return partial + (static_cast<int64_t>(row) * z.heads + head) * kParts * (D + 2);
}

// A warp: 16 of the (row, head) pairs of `rows` (of `count`), which share tokens [from, to) of `sequence`; their part number `part`.
template <int D>
__device__ inline void AttendWarp(const StepRow& sequence, const int32_t* tables, const Bf16* qkv, const Bf16* keys, const Bf16* values, const AttendSizesOf& z,
                                  int key_head, const int32_t* rows, int count, int first, int from, int to, int part, Bf16* shared, float* partial) {
  const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4, group = z.heads / z.kv_heads, all = count * group;
  if (first >= all) return;
  int row[2], head[2];
  Queries<D> q;
  for (int r = 0; r < 2; ++r) {
    const int pair = min(first + g + 8 * r, all - 1);
    row[r] = rows[pair / group], head[r] = key_head * group + pair % group;
    const Bf16* at = qkv + (static_cast<int64_t>(row[r]) * (z.heads + 2 * z.kv_heads) + head[r]) * D + t * 8;
#pragma unroll
    for (int c = 0; c < D / 32; ++c) (r == 0 ? q.low : q.high)[c] = *reinterpret_cast<const Vector*>(at + c * 32);
  }
  const int64_t stride = static_cast<int64_t>(z.kv_heads) * D, offset = static_cast<int64_t>(key_head) * D;
  AttendStretch<D>(&q, sequence, tables, keys + offset, values + offset, stride, from, to, shared);
  for (int r = 0; r < 2; ++r) {
    float sum = q.sum[r];
    for (int s = 1; s < 4; s *= 2) sum += __shfl_xor_sync(0xffffffffu, sum, s);
    if (first + g + 8 * r < all) TellPart<D>(q, r, sum, PartsOf<D>(partial, z, row[r], head[r]) + part * (D + 2));
  }
}

// Grid (kPromptParts, key heads, kCohortBlocks + ⌈width / kOwnRows⌉), 128 threads. The first blocks: cohorts (rows of one prompt) over a
// part of the prompt. The others: four rows, a warp each, over a part of their own tokens. CombineKernel puts the parts together.
inline constexpr int kCohortBlocks = 16;                        // cohorts beside each other; more take turns
inline constexpr int kOwnRows = 4 * kPromptParts / kOwnParts;  // rows of the blocks of one z

template <int D>
__global__ void __launch_bounds__(128) AttendCohortsKernel(const StepRow* steps, const int32_t* tables, const int32_t* cohorts, const Bf16* qkv, const Bf16* keys,
                                                           const Bf16* values, AttendSizesOf z, float* partial) {
  alignas(16) __shared__ Bf16 shared[4][kKeys * (D + 8)];
  __shared__ int32_t rows[kCohortRows];
  LetNextBegin();
  const int warp = threadIdx.x / 32, key_head = blockIdx.y, group = z.heads / z.kv_heads;
  if (static_cast<int>(blockIdx.z) >= kCohortBlocks) {
    const int part = blockIdx.x % kOwnParts, first = (blockIdx.z - kCohortBlocks) * kOwnRows + blockIdx.x / kOwnParts * 4, count = min(4, z.width - first);
    const StepRow row = warp < count ? steps[first + warp] : StepRow{};
    WaitForLast();
    if (count <= 0) return;
    if (threadIdx.x < 4) rows[threadIdx.x] = first + threadIdx.x;
    __syncthreads();
    if (row.token >= 0) {
      int from, to;
      PartOf(row.prompt, row.prompt + row.own + 1, part, kOwnParts, &from, &to);
      for (int head = 0; head < group; head += 16) {
        AttendWarp<D>(row, tables, qkv, keys, values, z, key_head, rows + warp, 1, head, from, to, kPromptParts + part, shared[warp], partial);
      }
    }
    return;
  }
  int count = static_cast<int>(blockIdx.z) < z.width ? cohorts[2 * z.width + blockIdx.z] : 0;
  WaitForLast();
  for (int cohort = blockIdx.z; count > 0; cohort += kCohortBlocks, count = cohort < z.width ? cohorts[2 * z.width + cohort] : 0) {
    const int first = cohorts[z.width + cohort];
    for (int i = threadIdx.x; i < count; i += 128) rows[i] = cohorts[first + i];
    __syncthreads();
    const StepRow row = steps[rows[0]];
    int from, to;
    PartOf(0, row.prompt, blockIdx.x, kPromptParts, &from, &to);
    AttendWarp<D>(row, tables, qkv, keys, values, z, key_head, rows, count, warp * 16, from, to, blockIdx.x, shared[warp], partial);
    __syncthreads();
  }
}

// Grid (heads, rows), D threads: a query's parts put together.
template <int D>
__global__ void CombineKernel(const StepRow* steps, const float* partial, Bf16* out) {
  LetNextBegin();
  const bool active = steps[blockIdx.y].token >= 0;
  WaitForLast();
  if (!active) return;
  const int64_t query = static_cast<int64_t>(blockIdx.y) * gridDim.x + blockIdx.x;
  const float* parts = partial + query * kParts * (D + 2);
  float tops[kParts], sums[kParts], mixed[kParts], top = -INFINITY, sum = 0, all = 0;
  // Of an empty part only the first is written.
#pragma unroll
  for (int s = 0; s < kParts; ++s) {
    tops[s] = parts[s * (D + 2) + D], sums[s] = parts[s * (D + 2) + D + 1], mixed[s] = parts[s * (D + 2) + threadIdx.x];
    top = fmaxf(top, tops[s]);
  }
#pragma unroll
  for (int s = 0; s < kParts; ++s) {
    const float w = expf(tops[s] - top);
    sum += tops[s] == -INFINITY ? 0 : w * sums[s];
    all += tops[s] == -INFINITY ? 0 : w * mixed[s];
  }
  out[query * D + threadIdx.x] = FromFloat<Bf16>(all / sum);
}

}  // namespace swerve::device

#endif  // SWERVE_POLICY_CUDA_ATTEND_KERNELS_CUH_
