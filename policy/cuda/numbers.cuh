// Numbers that kernels load and store: float and bfloat16, one, two or 16 bytes at a time.
#ifndef SWERVE_POLICY_CUDA_NUMBERS_CUH_
#define SWERVE_POLICY_CUDA_NUMBERS_CUH_

#include <cstdint>

#ifdef __CUDACC__
#include <cuda_bf16.h>
#endif

namespace swerve::device {

struct Bf16 {
  uint16_t bits;
};
struct alignas(16) Vector {
  uint32_t w[4];
};
struct alignas(8) Two {
  float f[2];
};
struct alignas(16) Four {
  float f[4];
};

__device__ inline float FloatOf(uint32_t bits) { return __uint_as_float(bits); }
__device__ inline float ToFloat(float v) { return v; }
__device__ inline float ToFloat(Bf16 v) { return FloatOf(static_cast<uint32_t>(v.bits) << 16); }

// To the nearest, ties to even; what is not a number stays none.
template <typename T>
__device__ inline T FromFloat(float v);
template <>
__device__ inline float FromFloat<float>(float v) {
  return v;
}
template <>
__device__ inline Bf16 FromFloat<Bf16>(float v) {
#ifdef __CUDACC__
  const __nv_bfloat16 rounded = __float2bfloat16_rn(v);
  return {__bfloat16_as_ushort(rounded)};
#else
  const uint32_t bits = __float_as_uint(v);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return {static_cast<uint16_t>(bits >> 16 | 0x40u)};
  return {static_cast<uint16_t>((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16)};
#endif
}

// The elements of 16 bytes.
template <typename T>
__device__ inline void Expand(const Vector& v, float* out);
template <>
__device__ inline void Expand<float>(const Vector& v, float* out) {
  for (int i = 0; i < 4; ++i) out[i] = FloatOf(v.w[i]);
}
template <>
__device__ inline void Expand<Bf16>(const Vector& v, float* out) {
  for (int i = 0; i < 4; ++i) {
    out[2 * i] = FloatOf(v.w[i] << 16);
    out[2 * i + 1] = FloatOf(v.w[i] & 0xffff0000u);
  }
}

// Two neighbours, the first at an even place.
__device__ inline void ExpandPair(const float* from, float* out) { out[0] = from[0], out[1] = from[1]; }
__device__ inline void ExpandPair(const Bf16* from, float* out) {
  const uint32_t two = *reinterpret_cast<const uint32_t*>(from);
  out[0] = FloatOf(two << 16);
  out[1] = FloatOf(two & 0xffff0000u);
}

}  // namespace swerve::device

#endif  // SWERVE_POLICY_CUDA_NUMBERS_CUH_
