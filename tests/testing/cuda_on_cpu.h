// CUDA kernels on the CPU, for tests where there is no device: the threads of a block are fibers that take turns at barriers and
// warp shuffles, blocks run one after the other. Slow, exact and deterministic. Include before the kernels (.cuh); one
// launch at a time in a process.
#ifndef SWERVE_TESTS_TESTING_CUDA_ON_CPU_H_
#define SWERVE_TESTS_TESTING_CUDA_ON_CPU_H_

#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <limits>

namespace swerve::cuda_on_cpu {

struct Dim3 {
  explicit Dim3(int x_in = 1, int y_in = 1, int z_in = 1) : x(x_in), y(y_in), z(z_in) {}
  int x, y, z;
};

// Runs `thread` for every thread of every block. Threads of a block that return early take no part in later barriers.
void Run(Dim3 grid, int threads, const std::function<void()>& thread);

extern Dim3 thread_index, block_index, block_dim, grid_dim;

void Barrier();      // of the block
void WarpBarrier();  // of the 32 threads
// The value that lane `lane ^ mask` of the warp brings.
uint64_t Exchange(uint64_t value, int mask);
// What the lanes of the warp bring; each must call WarpBarrier when it has looked at it.
template <typename T>
std::array<T*, 32> Gather(T* mine);
void Bring(const void* mine);
const void* Brought(int lane);

template <typename T>
std::array<T*, 32> Gather(T* mine) {
  Bring(mine);
  WarpBarrier();
  std::array<T*, 32> all;
  for (int i = 0; i < 32; ++i) all[i] = const_cast<T*>(static_cast<const T*>(Brought(i)));
  return all;
}

}  // namespace swerve::cuda_on_cpu

using swerve::cuda_on_cpu::Dim3;
#define threadIdx swerve::cuda_on_cpu::thread_index
#define blockIdx swerve::cuda_on_cpu::block_index
#define blockDim swerve::cuda_on_cpu::block_dim
#define gridDim swerve::cuda_on_cpu::grid_dim
#define __global__
#define __device__
#define __shared__ static
#define __launch_bounds__(...)
#define SWERVE_LAUNCH(kernel, grid, threads, stream) \
  [&](auto... arguments) { swerve::cuda_on_cpu::Run(grid, threads, [&] { kernel(arguments...); }); }

inline void __syncthreads() { swerve::cuda_on_cpu::Barrier(); }
inline void __syncwarp() { swerve::cuda_on_cpu::WarpBarrier(); }
inline void __threadfence() {}
template <typename T>
T __shfl_xor_sync(unsigned, T value, int mask) {
  static_assert(sizeof(T) <= 8);
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof value);
  bits = swerve::cuda_on_cpu::Exchange(bits, mask);
  std::memcpy(&value, &bits, sizeof value);
  return value;
}
inline int32_t atomicAdd(int32_t* to, int32_t value) {
  const int32_t before = *to;
  *to += value;
  return before;
}
inline float __uint_as_float(uint32_t bits) {
  float v;
  std::memcpy(&v, &bits, sizeof v);
  return v;
}
inline uint32_t __float_as_uint(float v) {
  uint32_t bits;
  std::memcpy(&bits, &v, sizeof bits);
  return bits;
}
inline float rsqrtf(float v) { return 1.0f / std::sqrt(v); }
inline int min(int a, int b) { return a < b ? a : b; }

#endif  // SWERVE_TESTS_TESTING_CUDA_ON_CPU_H_
