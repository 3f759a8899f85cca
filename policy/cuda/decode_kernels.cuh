// Kernels of decoding. Compiled for devices by cuda_ops.cu, and for the CPU by tests, which run each thread of a block as a
// fiber (tests/testing/cuda_on_cpu.h): instructions are in warp_ops.cuh, which has a twin there; no launch syntax and no library
// calls here, and shared memory is static. A kernel waits for what came before it where it first reads it (WaitForLast). A warp is 32 threads; every block size is a multiple of it.
#ifndef SWERVE_POLICY_CUDA_DECODE_KERNELS_CUH_
#define SWERVE_POLICY_CUDA_DECODE_KERNELS_CUH_

#include <cmath>
#include <cstdint>

#include "policy/cuda/device_ops.h"
#include "policy/cuda/numbers.cuh"
#include "policy/cuda/warp_ops.cuh"

namespace swerve::device {

__device__ inline float WarpSum(float v) {
  for (int s = 16; s > 0; s /= 2) v += __shfl_xor_sync(0xffffffffu, v, s);
  return v;
}
__device__ inline float WarpMax(float v) {
  for (int s = 16; s > 0; s /= 2) v = fmaxf(v, __shfl_xor_sync(0xffffffffu, v, s));
  return v;
}

// Where token `at` of a row's sequence lies in the cache.
__device__ inline int64_t SlotOf(const StepRow& row, const int32_t* tables, int at) {
  const int own = at - row.prompt, pages = (row.prompt + kPage - 1) / kPage;
  const int page = own < 0 ? at / kPage : pages + own / kPage, offset = (own < 0 ? at : own) % kPage;
  return static_cast<int64_t>(tables[row.table + page]) * kPage + offset;
}

// Block (row), any size.
template <typename T>
__global__ void EmbedKernel(const StepRow* steps, const T* embedding, int hidden, float* x) {
  LetNextBegin();
  WaitForLast();
  const int row = blockIdx.x, token = steps[row].token;
  for (int i = threadIdx.x; i < hidden; i += blockDim.x) {
    x[static_cast<int64_t>(row) * hidden + i] = token < 0 ? 0.0f : ToFloat(embedding[static_cast<int64_t>(token) * hidden + i]);
  }
}

// Block (row), at most 512 threads; hidden a multiple of 4.
template <typename T>
__global__ void RmsNormKernel(const float* x, const float* weight, int hidden, float eps, T* n) {
  constexpr int kFours = 4;  // of a thread: up to 8192 columns
  __shared__ float sums[16];
  LetNextBegin();
  const int64_t base = static_cast<int64_t>(blockIdx.x) * hidden;
  Four v[kFours], w[kFours];
#pragma unroll
  for (int c = 0; c < kFours; ++c) {
    const int i = (c * blockDim.x + threadIdx.x) * 4;
    if (i < hidden) w[c] = *reinterpret_cast<const Four*>(weight + i);
  }
  WaitForLast();
  float sum = 0;
#pragma unroll
  for (int c = 0; c < kFours; ++c) {
    const int i = (c * blockDim.x + threadIdx.x) * 4;
    if (i >= hidden) break;
    v[c] = *reinterpret_cast<const Four*>(x + base + i);
    for (int j = 0; j < 4; ++j) sum += v[c].f[j] * v[c].f[j];
  }
  sum = WarpSum(sum);
  if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = sum;
  __syncthreads();
  sum = 0;
  for (int i = 0; i < static_cast<int>(blockDim.x) / 32; ++i) sum += sums[i];
  const float scale = rsqrtf(sum / hidden + eps);
#pragma unroll
  for (int c = 0; c < kFours; ++c) {
    const int i = (c * blockDim.x + threadIdx.x) * 4;
    if (i >= hidden) break;
    for (int j = 0; j < 4; ++j) n[base + i + j] = FromFloat<T>(v[c].f[j] * scale * w[c].f[j]);
  }
}

// Grid (rows, parts of a row), any size: a thread rotates one pair, or copies a value's pair.
template <typename T>
__global__ void PlaceKernel(const StepRow* steps, const int32_t* tables, T* qkv, const T* bias, const float* frequencies, int heads, int kv_heads, int d, T* keys, T* values) {
  LetNextBegin();
  const StepRow row = steps[blockIdx.x];
  const int64_t slot = row.token < 0 ? 0 : SlotOf(row, tables, row.prompt + row.own);
  WaitForLast();
  if (row.token < 0) return;
  const int half = d / 2, all = heads + 2 * kv_heads;
  const int64_t base = static_cast<int64_t>(blockIdx.x) * all * d;
  const int i = blockIdx.y * blockDim.x + threadIdx.x;
  if (i >= all * half) return;
  const int head = i / half, j = i % half, at = head * d + j;
  float a = ToFloat(qkv[base + at]), b = ToFloat(qkv[base + at + half]);
  if (bias != nullptr) a += ToFloat(bias[at]), b += ToFloat(bias[at + half]);
  // As the product with its bias is rounded in training.
  a = ToFloat(FromFloat<T>(a)), b = ToFloat(FromFloat<T>(b));
  if (head < heads + kv_heads) {
    float s, c;
    sincosf(static_cast<float>(row.position) * frequencies[j], &s, &c);
    const float ra = a * c - b * s, rb = b * c + a * s;
    a = ra, b = rb;
  }
  T* to = qkv + base + at;
  if (head >= heads + kv_heads) {
    to = values + (slot * kv_heads + head - heads - kv_heads) * d + j;
  } else if (head >= heads) {
    to = keys + (slot * kv_heads + head - heads) * d + j;
  }
  to[0] = FromFloat<T>(a);
  to[half] = FromFloat<T>(b);
}

// How a block attends: kHeads query heads that share keys, kTile keys at a time.
template <typename T, int D>
struct AttendSizes {
  static constexpr int kThreads = 128, kHeads = 8;
  static constexpr int kTile = sizeof(T) == 2 ? 64 : 32;
  static constexpr int kPad = 16 / sizeof(T);              // elements after a row of keys, against bank conflicts
  static constexpr int kVector = 16 / sizeof(T);           // elements of a 16-byte load
  static constexpr int kPairs = D / 2, kParts = kThreads / kPairs, kEach = kTile / kParts;  // of mixing: dimensions, groups of keys
  static constexpr int kWhole = kThreads / kTile;          // of scoring: threads that share a key, by heads
};

// What a block keeps of its query heads.
template <typename T, int D>
struct AttendShared {
  using Z = AttendSizes<T, D>;
  alignas(16) T keys[Z::kTile * (D + Z::kPad)];
  alignas(16) T values[Z::kTile * D];
  alignas(16) float q[Z::kHeads * D];
  alignas(16) float p[Z::kHeads * Z::kTile];
  float largest[Z::kHeads], sum[Z::kHeads], shrink[Z::kHeads];
  bool last;
};

// Keys and values of tokens [from, from + kTile) below `end`; zeros beyond.
template <typename T, int D>
__device__ inline void LoadTile(AttendShared<T, D>* s, const StepRow& row, const int32_t* tables, const T* keys, const T* values, int kv_heads, int head, int from,
                                int end) {
  using Z = AttendSizes<T, D>;
  constexpr int kAcross = D / Z::kVector;
#pragma unroll 4
  for (int i = threadIdx.x; i < Z::kTile * kAcross; i += Z::kThreads) {
    const int t = i / kAcross, j = i % kAcross * Z::kVector;
    Vector k = {}, v = {};
    if (from + t < end) {
      const int64_t at = (SlotOf(row, tables, from + t) * kv_heads + head) * D + j;
      k = *reinterpret_cast<const Vector*>(keys + at);
      v = *reinterpret_cast<const Vector*>(values + at);
    }
    *reinterpret_cast<Vector*>(s->keys + t * (D + Z::kPad) + j) = k;
    *reinterpret_cast<Vector*>(s->values + t * D + j) = v;
  }
}

// s->p: scores of the tile's keys.
template <typename T, int D>
__device__ inline void ScoreTile(AttendShared<T, D>* s, int heads, int count) {
  using Z = AttendSizes<T, D>;
  constexpr int kMine = Z::kHeads / Z::kWhole;  // heads of a thread
  const int key = threadIdx.x % Z::kTile, first = threadIdx.x / Z::kTile;
  float sums[kMine] = {};
#pragma unroll
  for (int j = 0; j < D; j += Z::kVector) {
    float k[Z::kVector];
    Expand<T>(*reinterpret_cast<const Vector*>(s->keys + key * (D + Z::kPad) + j), k);
#pragma unroll
    for (int h = 0; h < kMine; ++h) {
      if (first + h * Z::kWhole >= heads) continue;
      const Four* q = reinterpret_cast<const Four*>(s->q + (first + h * Z::kWhole) * D + j);
#pragma unroll
      for (int e = 0; e < Z::kVector; ++e) sums[h] += q[e / 4].f[e % 4] * k[e];
    }
  }
  for (int h = 0; h < kMine; ++h) {
    if (first + h * Z::kWhole < heads) s->p[(first + h * Z::kWhole) * Z::kTile + key] = key < count ? sums[h] : -INFINITY;
  }
}

// Scores to weights against the largest score so far; a warp a head.
template <typename T, int D>
__device__ inline void WeighTile(AttendShared<T, D>* s, int heads) {
  using Z = AttendSizes<T, D>;
  const int lane = threadIdx.x % 32;
  for (int h = threadIdx.x / 32; h < heads; h += Z::kThreads / 32) {
    float* p = s->p + h * Z::kTile;
    float top = s->largest[h];
    for (int i = lane; i < Z::kTile; i += 32) top = fmaxf(top, p[i]);
    top = WarpMax(top);
    float sum = 0;
    for (int i = lane; i < Z::kTile; i += 32) {
      const float w = expf(p[i] - top);
      p[i] = w;
      sum += w;
    }
    sum = WarpSum(sum);
    if (lane == 0) {
      const float shrink = expf(s->largest[h] - top);
      s->shrink[h] = shrink;
      s->sum[h] = s->sum[h] * shrink + sum;
      s->largest[h] = top;
    }
    __syncwarp();
  }
}

// acc: weighted values of a thread's pair of dimensions over its keys.
template <typename T, int D>
__device__ inline void MixTile(const AttendShared<T, D>* s, int heads, float (*acc)[2]) {
  using Z = AttendSizes<T, D>;
  const int pair = threadIdx.x % Z::kPairs, first = threadIdx.x / Z::kPairs * Z::kEach;
#pragma unroll
  for (int h = 0; h < Z::kHeads; ++h) {
    if (h >= heads) break;
    acc[h][0] *= s->shrink[h], acc[h][1] *= s->shrink[h];
  }
  for (int t = first; t < first + Z::kEach; t += 4) {
    float v[4][2];
    for (int e = 0; e < 4; ++e) ExpandPair(s->values + (t + e) * D + pair * 2, v[e]);
#pragma unroll
    for (int h = 0; h < Z::kHeads; ++h) {
      if (h >= heads) break;
      const Four p = *reinterpret_cast<const Four*>(s->p + h * Z::kTile + t);
#pragma unroll
      for (int e = 0; e < 4; ++e) acc[h][0] += p.f[e] * v[e][0], acc[h][1] += p.f[e] * v[e][1];
    }
  }
}

// Of a row's heads, the splits' sums put together.
template <typename T>
__device__ inline void CombineSplits(const float* partial, int first_head, int heads, int d, T* out) {
  for (int i = threadIdx.x; i < heads * d; i += blockDim.x) {
    const int h = first_head + i / d, j = i % d;
    const float* parts = partial + static_cast<int64_t>(h) * kSplits * (d + 2);
    float top = -INFINITY, sum = 0, mixed = 0;
    for (int s = 0; s < kSplits; ++s) top = fmaxf(top, parts[s * (d + 2) + d]);
    for (int s = 0; s < kSplits; ++s) {
      const float w = expf(parts[s * (d + 2) + d] - top);
      sum += w * parts[s * (d + 2) + d + 1];
      mixed += w * parts[s * (d + 2) + j];
    }
    out[h * d + j] = FromFloat<T>(mixed / sum);
  }
}

// Grid (splits, key heads, rows), 128 threads. Each block attends over its part of the sequence; the last of a row's key head
// to come puts the parts together.
template <typename T, int D>
__global__ void __launch_bounds__(128) AttendKernel(const StepRow* steps, const int32_t* tables, const T* qkv, const T* keys, const T* values, int heads, int kv_heads,
                                                    float* partial, int32_t* arrivals, T* out) {
  using Z = AttendSizes<T, D>;
  __shared__ AttendShared<T, D> s;
  LetNextBegin();
  WaitForLast();
  const int row_index = blockIdx.z, key_head = blockIdx.y, split = blockIdx.x, group = heads / kv_heads;
  const StepRow row = steps[row_index];
  if (row.token < 0) return;
  const int length = row.prompt + row.own + 1, tiles = (length + Z::kTile - 1) / Z::kTile;
  const int from = (tiles * split / kSplits) * Z::kTile, to = min(length, (tiles * (split + 1) / kSplits) * Z::kTile);
  float* mine = partial + static_cast<int64_t>(row_index) * heads * kSplits * (D + 2);
  for (int chunk = 0; chunk < group; chunk += Z::kHeads) {
    const int first_head = key_head * group + chunk, count = min(Z::kHeads, group - chunk);
    const T* q = qkv + (static_cast<int64_t>(row_index) * (heads + 2 * kv_heads) + first_head) * D;
    const float scale = rsqrtf(static_cast<float>(D));
    for (int i = threadIdx.x; i < count * D; i += Z::kThreads) s.q[i] = ToFloat(q[i]) * scale;
    for (int i = threadIdx.x; i < count; i += Z::kThreads) s.largest[i] = -INFINITY, s.sum[i] = 0;
    float acc[Z::kHeads][2] = {};
    for (int t = from; t < to; t += Z::kTile) {
      __syncthreads();
      LoadTile<T, D>(&s, row, tables, keys, values, kv_heads, key_head, t, to);
      __syncthreads();
      ScoreTile<T, D>(&s, count, to - t);
      __syncthreads();
      WeighTile<T, D>(&s, count);
      __syncthreads();
      MixTile<T, D>(&s, count, acc);
    }
    // The groups of keys add up, one after the other, in the room of p and q.
    const int pair = threadIdx.x % Z::kPairs, part = threadIdx.x / Z::kPairs;
    for (int k = 0; k < Z::kParts; ++k) {
      __syncthreads();
      if (part != k) continue;
      for (int h = 0; h < count; ++h) {
        float* to_sum = s.q + h * D + pair * 2;
        to_sum[0] = (k == 0 ? 0 : to_sum[0]) + acc[h][0];
        to_sum[1] = (k == 0 ? 0 : to_sum[1]) + acc[h][1];
      }
    }
    __syncthreads();
    for (int i = threadIdx.x; i < count * (D + 2); i += Z::kThreads) {
      const int h = i / (D + 2), j = i % (D + 2);
      mine[(static_cast<int64_t>(first_head + h) * kSplits + split) * (D + 2) + j] = j < D ? s.q[h * D + j] : j == D ? s.largest[h] : s.sum[h];
    }
    __syncthreads();
  }
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) {
    int32_t* arrived = arrivals + row_index * kv_heads + key_head;
    s.last = atomicAdd(arrived, 1) == kSplits - 1;
    if (s.last) *arrived = 0;
  }
  __syncthreads();
  if (!s.last) return;
  __threadfence();
  CombineSplits<T>(mine, key_head * group, group, D, out + static_cast<int64_t>(row_index) * heads * D);
}

// Grid (parts of a row, rows), any size; a thread computes two.
template <typename T>
__global__ void SwigluKernel(const T* gate_up, int mlp, T* out) {
  LetNextBegin();
  WaitForLast();
  const int i = (blockIdx.x * blockDim.x + threadIdx.x) * 2;
  if (i >= mlp) return;
  const T* from = gate_up + static_cast<int64_t>(blockIdx.y) * 2 * mlp;
  float g[2], u[2];
  ExpandPair(from + i, g);
  ExpandPair(from + mlp + i, u);
  for (int j = 0; j < 2; ++j) out[static_cast<int64_t>(blockIdx.y) * mlp + i + j] = FromFloat<T>(g[j] / (1 + expf(-g[j])) * u[j]);
}

// What a chunk of the vocabulary says: [largest, sum of exp(· − largest), where the largest is (its bits), unused].
struct ChunkMass {
  float top, sum;
  int32_t where, unused;
};

// Grid (chunks, draws), 256 threads.
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

// Grid (draws), 256 threads: which chunk, then which entry of it.
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

#endif  // SWERVE_POLICY_CUDA_DECODE_KERNELS_CUH_
