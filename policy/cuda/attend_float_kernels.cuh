// Attention of decoding in float32: plain multiplications, a block for each row and key head over a part of its sequence.
#ifndef SWERVE_POLICY_CUDA_ATTEND_FLOAT_KERNELS_CUH_
#define SWERVE_POLICY_CUDA_ATTEND_FLOAT_KERNELS_CUH_

#include <cmath>
#include <cstdint>

#include "policy/cuda/decode_kernels.cuh"

namespace swerve::device {

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

}  // namespace swerve::device

#endif  // SWERVE_POLICY_CUDA_ATTEND_FLOAT_KERNELS_CUH_
