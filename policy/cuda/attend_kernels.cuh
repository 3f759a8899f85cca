// Attention of decoding in bfloat16: a warp takes 16 queries over a stretch of keys, by matrix instructions. Rows that continue the
// same prompt attend over it together, so that its keys are read once for them; each row then attends over its own tokens.
#ifndef SWERVE_POLICY_CUDA_ATTEND_KERNELS_CUH_
#define SWERVE_POLICY_CUDA_ATTEND_KERNELS_CUH_

#include <cmath>
#include <cstdint>

#include "policy/cuda/decode_kernels.cuh"
#include "policy/cuda/warp_ops.cuh"

namespace swerve::device {

inline constexpr int kKeys = 32;  // at a time; stretches are cut so that they lie on one page
static_assert(kPage % kKeys == 0, "");
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
  Vector q[D / 32][2];  // what the instruction takes of 32 dimensions, in two steps
  float mixed[D / 8][4] = {};
  float top[2] = {-INFINITY, -INFINITY}, sum[2] = {0, 0};
};

// Of kKeys keys, the lane's: of each eight key g, its 8 of 32 dimensions, `stride` apart. Zeros from `count` on.
template <int D>
__device__ inline void LoadKeys(const Bf16* keys, int64_t stride, int count, Vector (*k)[D / 32]) {
  const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
#pragma unroll
  for (int n = 0; n < kKeys / 8; ++n) {
    const Bf16* from = keys + (n * 8 + g) * stride + t * 8;
#pragma unroll
    for (int c = 0; c < D / 32; ++c) k[n][c] = n * 8 + g < count ? *reinterpret_cast<const Vector*>(from + c * 32) : Vector{};
  }
}

// Scores of the first `count` of kKeys keys; the lane's columns are keys 2t and 2t + 1 of each eight.
template <int D>
__device__ inline void ScoreKeys(const Queries<D>& q, const Vector (*k)[D / 32], int count, float (*scores)[4]) {
  const int t = threadIdx.x % 4;
#pragma unroll
  for (int n = 0; n < kKeys / 8; ++n) {
    for (int e = 0; e < 4; ++e) scores[n][e] = 0;
  }
#pragma unroll
  for (int c = 0; c < D / 32; ++c) {
#pragma unroll
    for (int step = 0; step < 2; ++step) {
      const Vector& a = q.q[c][step];
#pragma unroll
      for (int n = 0; n < kKeys / 8; ++n) Mma(scores[n], a.w[0], a.w[1], a.w[2], a.w[3], k[n][c].w[2 * step], k[n][c].w[2 * step + 1]);
    }
  }
  const float scale = rsqrtf(static_cast<float>(D));
#pragma unroll
  for (int n = 0; n < kKeys / 8; ++n) {
#pragma unroll
    for (int e = 0; e < 4; ++e) scores[n][e] = n * 8 + 2 * t + e % 2 < count ? scores[n][e] * scale : -INFINITY;
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

// A warp's queries over tokens [from, to) of a row's sequence, by itself. `shared`: for kKeys values.
template <int D>
__device__ inline void AttendAlone(Queries<D>* q, const StepRow& row, const int32_t* tables, const Bf16* keys, const Bf16* values, int64_t stride, int from, int to,
                                   Bf16* shared) {
  const int lane = threadIdx.x % 32;
  for (int at = from; at < to; at += kKeys) {
    const int64_t slot = SlotOf(row, tables, at);
#pragma unroll
    for (int i = 0; i < kKeys * (D / 8) / 32; ++i) {
      const int in = (i * 32 + lane) / (D / 8), j = (i * 32 + lane) % (D / 8) * 8;
      const bool valid = at + in < to;
      CopyAside(shared + in * (D + 8) + j, values + (slot + (valid ? in : 0)) * stride + j, valid);
    }
    CommitCopies();
    Vector k[kKeys / 8][D / 32];
    float scores[kKeys / 8][4];
    LoadKeys<D>(keys + slot * stride, stride, to - at, k);
    ScoreKeys<D>(*q, k, to - at, scores);
    WeighKeys<D>(q, scores);
    WaitCopies<0>();
    __syncwarp();
    MixValues<D>(q, scores, shared);
    __syncwarp();
  }
}

// A tile of keys and values that the warps of a block share; rows are apart so that eight lanes fall on all banks.
template <int D>
struct SharedTile {
  Bf16 keys[kKeys * (D + 32)], values[kKeys * (D + 8)];
};

// 128 threads. One commit.
template <int D>
__device__ inline void StageTile(const StepRow& row, const int32_t* tables, const Bf16* keys, const Bf16* values, int64_t stride, int at, int to, SharedTile<D>* tile) {
  const int64_t slot = SlotOf(row, tables, at);
#pragma unroll
  for (int i = 0; i < (kKeys * (D / 8) + 127) / 128; ++i) {
    const int in = (i * 128 + threadIdx.x) / (D / 8), j = (i * 128 + threadIdx.x) % (D / 8) * 8;
    const bool valid = at + in < to;
    const int64_t from = (slot + (valid ? in : 0)) * stride + j;
    CopyAside(tile->keys + in * (D + 32) + j, keys + from, valid);
    CopyAside(tile->values + in * (D + 8) + j, values + from, valid);
  }
  CommitCopies();
}

// Writes a query's part, [mixed (D), top, sum], as row r (0: g, 1: g + 8) of the warp has it.
template <int D>
__device__ inline void TellPart(const Queries<D>& q, int r, float sum, float* part) {
  const int t = threadIdx.x % 4;
  if (t == 0) part[D] = q.top[r], part[D + 1] = sum;
  if (q.top[r] == -INFINITY) return;  // an empty part
#pragma unroll
  for (int i = 0; i < D / 8; ++i) *reinterpret_cast<Two*>(part + i * 8 + 2 * t) = {{q.mixed[i][2 * r], q.mixed[i][2 * r + 1]}};
}

struct AttendSizesOf {
  int heads, kv_heads, width;
};

// Where the parts of a row's query head lie.
template <int D>
__device__ inline float* PartsOf(float* partial, const AttendSizesOf& z, int row, int head) {
  return partial + (static_cast<int64_t>(row) * z.heads + head) * kParts * (D + 2);
}

// The queries of a warp: 16 of the (row, head) pairs of `count` rows, from number `first` on; the last once more where there are fewer.
template <int D>
struct Pairs {
  int row[2], head[2];
  bool valid[2];
  __device__ void Set(const AttendSizesOf& z, int key_head, const int32_t* rows, int count, int first) {
    const int group = z.heads / z.kv_heads, all = count * group;
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const int pair = first + threadIdx.x % 32 / 4 + 8 * r, known = min(pair, all - 1);
      row[r] = rows[known / group], head[r] = key_head * group + known % group, valid[r] = pair < all;
    }
  }
  __device__ void Load(const AttendSizesOf& z, const Bf16* qkv, Queries<D>* q) const {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const Bf16* at = qkv + (static_cast<int64_t>(row[r]) * (z.heads + 2 * z.kv_heads) + head[r]) * D + threadIdx.x % 4 * 8;
#pragma unroll
      for (int c = 0; c < D / 32; ++c) {
        const Vector v = *reinterpret_cast<const Vector*>(at + c * 32);
        for (int pair = 0; pair < 4; ++pair) q->q[c][pair / 2].w[r + 2 * (pair % 2)] = v.w[pair];
      }
    }
  }
  __device__ void Tell(const AttendSizesOf& z, const Queries<D>& q, int part, float* partial) const {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      float sum = q.sum[r];
      for (int s = 1; s < 4; s *= 2) sum += __shfl_xor_sync(0xffffffffu, sum, s);
      if (valid[r]) TellPart<D>(q, r, sum, PartsOf<D>(partial, z, row[r], head[r]) + part * (D + 2));
    }
  }
};

// Block: part number `part` of the prompt that `rows` share. What is the step's own (queries) is read after WaitForLast.
template <int D>
__device__ inline void AttendCohort(const StepRow* steps, const int32_t* tables, const Bf16* qkv, const Bf16* keys, const Bf16* values, const AttendSizesOf& z, int key_head,
                                    const int32_t* rows, int count, int part, SharedTile<D>* tiles, float* partial) {
  const StepRow sequence = steps[rows[0]];
  const int64_t stride = static_cast<int64_t>(z.kv_heads) * D, offset = static_cast<int64_t>(key_head) * D;
  int from, to;
  PartOf(0, sequence.prompt, part, kPromptParts, &from, &to);
  if (from < to) StageTile<D>(sequence, tables, keys + offset, values + offset, stride, from, to, &tiles[0]);
  Pairs<D> pairs;
  Queries<D> q;
  pairs.Set(z, key_head, rows, count, threadIdx.x / 32 * 16);
  const bool active = static_cast<int>(threadIdx.x / 32) * 16 < count * (z.heads / z.kv_heads);
  WaitForLast();
  pairs.Load(z, qkv, &q);
  int held = 0;
  for (int at = from; at < to; at += kKeys, held = 1 - held) {
    if (at + kKeys < to) {
      StageTile<D>(sequence, tables, keys + offset, values + offset, stride, at + kKeys, to, &tiles[1 - held]);
      WaitCopies<1>();
    } else {
      WaitCopies<0>();
    }
    __syncthreads();
    if (active) {
      Vector k[kKeys / 8][D / 32];
      float scores[kKeys / 8][4];
      LoadKeys<D>(tiles[held].keys, D + 32, kKeys, k);
      ScoreKeys<D>(q, k, to - at, scores);
      WeighKeys<D>(&q, scores);
      MixValues<D>(&q, scores, tiles[held].values);
    }
    __syncthreads();
  }
  if (active) pairs.Tell(z, q, part, partial);
}

// Grid (kPromptParts, key heads, ⌈width / kOwnRows⌉ + kCohortBlocks), 128 threads. The first blocks: four rows, a warp each,
// over a part of their own tokens. The next: cohorts (rows of one prompt) over a part of the prompt. CombineKernel puts the parts together.
inline constexpr int kCohortBlocks = 16;                        // cohorts beside each other; more take turns
inline constexpr int kOwnRows = 4 * kPromptParts / kOwnParts;  // rows of the blocks of one z

template <int D>
union AttendShare {
  SharedTile<D> tiles[2];
  Bf16 alone[4][kKeys * (D + 8)];
};

template <int D>
__global__ void __launch_bounds__(128) AttendCohortsKernel(const StepRow* steps, const int32_t* tables, const int32_t* cohorts, const Bf16* qkv, const Bf16* keys,
                                                           const Bf16* values, AttendSizesOf z, float* partial) {
  alignas(16) __shared__ AttendShare<D> share;
  __shared__ int32_t rows[kCohortRows];
  LetNextBegin();
  const int warp = threadIdx.x / 32, key_head = blockIdx.y;
  const int slot = static_cast<int>(blockIdx.z) - (z.width + kOwnRows - 1) / kOwnRows;
  if (slot < 0) {
    const int part = blockIdx.x % kOwnParts, own = blockIdx.z * kOwnRows + blockIdx.x / kOwnParts * 4 + warp;
    const StepRow row = own < z.width ? steps[own] : StepRow{};
    WaitForLast();
    if (row.token < 0) return;
    int from, to;
    PartOf(row.prompt, row.prompt + row.own + 1, part, kOwnParts, &from, &to);
    const int64_t stride = static_cast<int64_t>(z.kv_heads) * D, offset = static_cast<int64_t>(key_head) * D;
    for (int head = 0; head < z.heads / z.kv_heads; head += 16) {
      Pairs<D> pairs;
      Queries<D> q;
      pairs.Set(z, key_head, &own, 1, head);
      pairs.Load(z, qkv, &q);
      AttendAlone<D>(&q, row, tables, keys + offset, values + offset, stride, from, to, share.alone[warp]);
      pairs.Tell(z, q, kPromptParts + part, partial);
    }
    return;
  }
  const int begun = slot < z.width ? cohorts[2 * z.width + slot] : 0;
  if (begun == 0) WaitForLast();
  for (int cohort = slot, count = begun; count > 0; cohort += kCohortBlocks, count = cohort < z.width ? cohorts[2 * z.width + cohort] : 0) {
    const int first = cohorts[z.width + cohort];
    for (int i = threadIdx.x; i < count; i += 128) rows[i] = cohorts[first + i];
    __syncthreads();
    AttendCohort<D>(steps, tables, qkv, keys, values, z, key_head, rows, count, blockIdx.x, share.tiles, partial);
    __syncthreads();
  }
}

// Grid (heads, rows), D threads: a query's parts put together; out [rows, heads · D].
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
