#include "policy/cuda/train_kernels.h"

#include <cuda_runtime.h>

#include <stdexcept>
#include <string>

#include "policy/cuda/numbers.cuh"

namespace swerve::device {
namespace {

constexpr int kThreads = 256;

void Launched(const char* what) {
  if (const cudaError_t e = cudaGetLastError(); e != cudaSuccess) throw std::runtime_error(std::string("CUDA: ") + what + ": " + cudaGetErrorString(e));
}
int64_t Blocks(int64_t n) { return (n + kThreads - 1) / kThreads; }

// A thread rotates two neighbouring pairs.
template <typename T>
__global__ void RotateKernel(const T* x, const float* cos, const float* sin, int64_t quads, int heads, int d, float sign, T* y) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= quads) return;
  const int half = d / 2, in_head = half / 2;
  const int64_t head = i / in_head, token = head / heads;
  const int j = static_cast<int>(i % in_head) * 2;
  float a[2], b[2];
  ExpandPair(x + head * d + j, a);
  ExpandPair(x + head * d + half + j, b);
  for (int e = 0; e < 2; ++e) {
    const float c = cos[token * d + j + e], s = sin[token * d + j + e] * sign;
    y[head * d + j + e] = FromFloat<T>(a[e] * c - b[e] * s);
    y[head * d + half + j + e] = FromFloat<T>(b[e] * c + a[e] * s);
  }
}

// Eight neighbours, 16 or 32 bytes.
__device__ void LoadEight(const float* from, float* out) {
  for (int i = 0; i < 2; ++i) Expand<float>(reinterpret_cast<const Vector*>(from)[i], out + 4 * i);
}
__device__ void LoadEight(const Bf16* from, float* out) { Expand<Bf16>(*reinterpret_cast<const Vector*>(from), out); }
__device__ void StoreEight(const float* v, float* to) {
  for (int i = 0; i < 2; ++i) reinterpret_cast<Four*>(to)[i] = {{v[4 * i], v[4 * i + 1], v[4 * i + 2], v[4 * i + 3]}};
}
__device__ void StoreEight(const float* v, Bf16* to) {
  Vector out;
  for (int i = 0; i < 4; ++i) out.w[i] = FromFloat<Bf16>(v[2 * i]).bits | static_cast<uint32_t>(FromFloat<Bf16>(v[2 * i + 1]).bits) << 16;
  *reinterpret_cast<Vector*>(to) = out;
}

template <typename T>
__global__ void SwigluForward(const T* gate, const T* up, int64_t n, T* out) {
  const int64_t i = (static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) * 8;
  if (i >= n) return;
  float g[8], u[8];
  LoadEight(gate + i, g);
  LoadEight(up + i, u);
  for (int e = 0; e < 8; ++e) g[e] = g[e] / (1 + __expf(-g[e])) * u[e];
  StoreEight(g, out + i);
}

template <typename T>
__global__ void SwigluGradient(const T* gate, const T* up, const T* gout, int64_t n, T* ggate, T* gup) {
  const int64_t i = (static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) * 8;
  if (i >= n) return;
  float g[8], u[8], o[8];
  LoadEight(gate + i, g);
  LoadEight(up + i, u);
  LoadEight(gout + i, o);
  for (int e = 0; e < 8; ++e) {
    const float s = 1 / (1 + __expf(-g[e]));
    u[e] = o[e] * u[e] * s * (1 + g[e] * (1 - s));
    o[e] = o[e] * g[e] * s;
  }
  StoreEight(u, ggate + i);
  StoreEight(o, gup + i);
}

__device__ float BlockReduce(float v, bool largest) {
  __shared__ float parts[kThreads / 32];
  for (int s = 16; s > 0; s /= 2) {
    const float other = __shfl_xor_sync(0xffffffffu, v, s);
    v = largest ? fmaxf(v, other) : v + other;
  }
  if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = v;
  __syncthreads();
  v = parts[0];
  for (int i = 1; i < kThreads / 32; ++i) v = largest ? fmaxf(v, parts[i]) : v + parts[i];
  __syncthreads();
  return v;
}

constexpr int kColumns = 8;  // fours of a row that a thread has, at most: 8192 columns

__device__ Four LoadFour(const float* from) { return *reinterpret_cast<const Four*>(from); }
__device__ Four LoadFour(const Bf16* from) {
  Four out;
  ExpandPair(from, out.f);
  ExpandPair(from + 2, out.f + 2);
  return out;
}

// A block a row.
template <typename T>
__global__ void RmsNormForward(const float* x, const float* weight, int d, float eps, T* y, float* scales) {
  const int64_t base = static_cast<int64_t>(blockIdx.x) * d;
  Four v[kColumns];
  float sum = 0;
#pragma unroll
  for (int c = 0; c < kColumns; ++c) {
    const int i = (c * kThreads + threadIdx.x) * 4;
    if (i >= d) break;
    v[c] = LoadFour(x + base + i);
    for (int e = 0; e < 4; ++e) sum += v[c].f[e] * v[c].f[e];
  }
  const float scale = rsqrtf(BlockReduce(sum, false) / d + eps);
  if (threadIdx.x == 0) scales[blockIdx.x] = scale;
#pragma unroll
  for (int c = 0; c < kColumns; ++c) {
    const int i = (c * kThreads + threadIdx.x) * 4;
    if (i >= d) break;
    const Four w = LoadFour(weight + i);
    for (int e = 0; e < 4; ++e) y[base + i + e] = FromFloat<T>(v[c].f[e] * scale * w.f[e]);
  }
}

// A block 64 rows, of which it sums the weight's gradient in their order.
template <typename T>
__global__ void RmsNormGradient(const T* gy, const float* x, const float* weight, const float* scales, int64_t n, int d, float* gx, float* parts) {
  Four sums[kColumns] = {};
  for (int64_t row = blockIdx.x * int64_t{64}; row < n && row < (blockIdx.x + 1) * int64_t{64}; ++row) {
    const int64_t base = row * d;
    const float scale = scales[row];
    Four g[kColumns], v[kColumns];
    float dot = 0;
#pragma unroll
    for (int c = 0; c < kColumns; ++c) {
      const int i = (c * kThreads + threadIdx.x) * 4;
      if (i >= d) break;
      g[c] = LoadFour(gy + base + i), v[c] = LoadFour(x + base + i);
      const Four w = LoadFour(weight + i);
      for (int e = 0; e < 4; ++e) {
        sums[c].f[e] += g[c].f[e] * v[c].f[e] * scale;
        g[c].f[e] *= w.f[e];
        dot += g[c].f[e] * v[c].f[e];
      }
    }
    const float along = BlockReduce(dot, false) * scale * scale / d;
#pragma unroll
    for (int c = 0; c < kColumns; ++c) {
      const int i = (c * kThreads + threadIdx.x) * 4;
      if (i >= d) break;
      for (int e = 0; e < 4; ++e) g[c].f[e] = scale * (g[c].f[e] - v[c].f[e] * along);
      *reinterpret_cast<Four*>(gx + base + i) = g[c];
    }
  }
#pragma unroll
  for (int c = 0; c < kColumns; ++c) {
    const int i = (c * kThreads + threadIdx.x) * 4;
    if (i < d) *reinterpret_cast<Four*>(parts + static_cast<int64_t>(blockIdx.x) * d + i) = sums[c];
  }
}

// A block a row. One pass: the sum is scaled down whenever a larger entry comes.
__global__ void LogSumExpKernel(const float* logits, const int64_t* targets, int64_t vocab, float scale, float* total, float* value) {
  const float* row = logits + blockIdx.x * vocab;
  float top = -INFINITY, sum = 0;
  for (int64_t i = threadIdx.x; i < vocab; i += blockDim.x) {
    const float v = row[i] * scale;
    if (v > top) sum = sum * __expf(top - v), top = v;
    sum += __expf(v - top);
  }
  const float all = BlockReduce(top, true);
  sum = BlockReduce(sum == 0 ? 0 : sum * __expf(top - all), false);
  if (threadIdx.x != 0) return;
  total[blockIdx.x] = all + logf(sum);
  value[blockIdx.x] = row[targets[blockIdx.x]] * scale;
}

template <typename T>
__global__ void LogprobGradient(const float* logits, const int64_t* targets, const float* total, const float* g, int64_t vocab, float scale, T* d) {
  const int64_t row = blockIdx.y, i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= vocab) return;
  const float p = __expf(logits[row * vocab + i] * scale - total[row]);
  d[row * vocab + i] = FromFloat<T>(g[row] * scale * ((i == targets[row] ? 1.0f : 0.0f) - p));
}

template <typename Body>
void WithType(bool half, const Body& body) {
  if (half) {
    body(Bf16{});
  } else {
    body(0.0f);
  }
}

}  // namespace

void RmsNorm(const float* x, const float* weight, int64_t n, int64_t d, float eps, bool half, void* y, float* scales) {
  if (n == 0) return;
  WithType(half, [&](auto t) {
    using T = decltype(t);
    RmsNormForward<T><<<n, kThreads>>>(x, weight, static_cast<int>(d), eps, static_cast<T*>(y), scales);
  });
  Launched("a norm");
}

void RmsNormBackward(const void* gy, const float* x, const float* weight, const float* scales, int64_t n, int64_t d, bool half, float* gx, float* parts) {
  if (n == 0) return;
  WithType(half, [&](auto t) {
    using T = decltype(t);
    RmsNormGradient<T><<<RmsNormParts(n), kThreads>>>(static_cast<const T*>(gy), x, weight, scales, n, static_cast<int>(d), gx, parts);
  });
  Launched("a norm's gradient");
}

void Rotate(const void* x, const float* cos, const float* sin, int64_t n, int heads, int d, bool half, bool back, void* y) {
  const int64_t quads = n * heads * (d / 4);
  if (quads == 0) return;
  WithType(half, [&](auto t) {
    using T = decltype(t);
    RotateKernel<T><<<Blocks(quads), kThreads>>>(static_cast<const T*>(x), cos, sin, quads, heads, d, back ? -1.0f : 1.0f, static_cast<T*>(y));
  });
  Launched("rotation");
}

void Swiglu(const void* gate, const void* up, int64_t n, bool half, void* out) {
  if (n == 0) return;
  WithType(half, [&](auto t) {
    using T = decltype(t);
    SwigluForward<T><<<Blocks(n / 8), kThreads>>>(static_cast<const T*>(gate), static_cast<const T*>(up), n, static_cast<T*>(out));
  });
  Launched("the gate");
}

void SwigluBackward(const void* gate, const void* up, const void* gout, int64_t n, bool half, void* ggate, void* gup) {
  if (n == 0) return;
  WithType(half, [&](auto t) {
    using T = decltype(t);
    SwigluGradient<T><<<Blocks(n / 8), kThreads>>>(static_cast<const T*>(gate), static_cast<const T*>(up), static_cast<const T*>(gout), n, static_cast<T*>(ggate),
                                                   static_cast<T*>(gup));
  });
  Launched("the gate's gradient");
}

void LogSumExp(const float* logits, const int64_t* targets, int64_t rows, int64_t vocab, float scale, float* total, float* value) {
  if (rows == 0) return;
  LogSumExpKernel<<<rows, kThreads>>>(logits, targets, vocab, scale, total, value);
  Launched("log-probabilities");
}

void LogprobBackward(const float* logits, const int64_t* targets, const float* total, const float* g, int64_t rows, int64_t vocab, float scale, bool half, void* d) {
  if (rows == 0) return;
  WithType(half, [&](auto t) {
    using T = decltype(t);
    LogprobGradient<T><<<dim3(Blocks(vocab), rows), kThreads>>>(logits, targets, total, g, vocab, scale, static_cast<T*>(d));
  });
  Launched("the log-probabilities' gradient");
}

}  // namespace swerve::device
