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

}  // namespace swerve::device

#endif  // SWERVE_POLICY_CUDA_DECODE_KERNELS_CUH_
