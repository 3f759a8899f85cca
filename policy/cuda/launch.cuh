// How the kernels of decoding are launched, the same on a device and where tests run them on the CPU. SWERVE_LAUNCH(kernel,
// grid, threads, stream)(arguments…) is the one thing that differs.
#ifndef SWERVE_POLICY_CUDA_LAUNCH_CUH_
#define SWERVE_POLICY_CUDA_LAUNCH_CUH_

#include <stdexcept>
#include <type_traits>

#include "policy/cuda/attend_float_kernels.cuh"
#include "policy/cuda/attend_kernels.cuh"
#include "policy/cuda/decode_kernels.cuh"
#include "policy/cuda/sample_kernels.cuh"

namespace swerve::device {

// Calls body with a T of the shape's kind.
template <typename Body>
void WithType(const Shape& shape, const Body& body) {
  if (shape.half) {
    body(Bf16{});
  } else {
    body(0.0f);
  }
}

// A thread for each four of a row, where a block takes so many.
inline int NormThreads(int hidden) {
  const int threads = (hidden / 4 + 31) / 32 * 32;
  return threads < 64 ? 64 : threads > 512 ? 512 : threads;
}

template <typename Stream>
class Launcher {
 public:
  explicit Launcher(Stream stream) : stream_(stream) {}

  void Embed(const Shape& s, const StepRow* steps, int rows, const void* embedding, float* x) {
    WithType(s, [&](auto t) {
      using T = decltype(t);
      SWERVE_LAUNCH((EmbedKernel<T>), Dim3(rows), 256, stream_)(steps, static_cast<const T*>(embedding), s.hidden, x);
    });
  }
  void RmsNorm(const Shape& s, const float* x, const float* weight, int rows, void* n) {
    WithType(s, [&](auto t) {
      using T = decltype(t);
      SWERVE_LAUNCH((RmsNormKernel<T>), Dim3(rows), NormThreads(s.hidden), stream_)(x, weight, s.hidden, s.eps, static_cast<T*>(n));
    });
  }
  void Place(const Shape& s, const StepRow* steps, const int32_t* tables, int rows, void* qkv, const void* bias, const float* frequencies, void* keys,
             void* values) {
    WithType(s, [&](auto t) {
      using T = decltype(t);
      const int pairs = (s.heads + 2 * s.kv_heads) * s.head_dim / 2;
      SWERVE_LAUNCH((PlaceKernel<T>), Dim3(rows, (pairs + 255) / 256), 256, stream_)(steps, tables, static_cast<T*>(qkv), static_cast<const T*>(bias),
                                                                                     frequencies, s.heads, s.kv_heads, s.head_dim, static_cast<T*>(keys),
                                                                                     static_cast<T*>(values));
    });
  }
  void Attend(const Shape& s, const StepRow* steps, const int32_t* tables, const int32_t* cohorts, int rows, const void* qkv, const void* keys, const void* values,
              float* partial, int32_t* arrivals, void* out) {
    auto whole = [&](auto kernel) {
      SWERVE_LAUNCH(kernel, Dim3(kSplits, s.kv_heads, rows), 128, stream_)(steps, tables, static_cast<const float*>(qkv), static_cast<const float*>(keys),
                                                                           static_cast<const float*>(values), s.heads, s.kv_heads, partial, arrivals,
                                                                           static_cast<float*>(out));
    };
    auto half = [&](auto kernel) {
      SWERVE_LAUNCH(kernel, Dim3(kPromptParts, s.kv_heads, kCohortBlocks + (rows + kOwnRows - 1) / kOwnRows), 128, stream_)(steps, tables, cohorts, static_cast<const Bf16*>(qkv),
                                                                                                 static_cast<const Bf16*>(keys), static_cast<const Bf16*>(values),
                                                                                                 AttendSizesOf{s.heads, s.kv_heads, rows}, partial);
    };
    auto combine = [&](auto kernel) { SWERVE_LAUNCH(kernel, Dim3(s.heads, rows), s.head_dim, stream_)(steps, partial, static_cast<Bf16*>(out)); };
    switch (s.head_dim) {
      case 32: return s.half ? (half(AttendCohortsKernel<32>), combine(CombineKernel<32>)) : whole(AttendKernel<float, 32>);
      case 64: return s.half ? (half(AttendCohortsKernel<64>), combine(CombineKernel<64>)) : whole(AttendKernel<float, 64>);
      case 128: return s.half ? (half(AttendCohortsKernel<128>), combine(CombineKernel<128>)) : whole(AttendKernel<float, 128>);
      default: throw std::runtime_error("head_dim is not 32, 64 or 128");
    }
  }
  void Swiglu(const Shape& s, const void* gate_up, int rows, void* out) {
    WithType(s, [&](auto t) {
      using T = decltype(t);
      SWERVE_LAUNCH((SwigluKernel<T>), Dim3((s.mlp / 2 + 255) / 256, rows), 256, stream_)(static_cast<const T*>(gate_up), s.mlp, static_cast<T*>(out));
    });
  }
  void Sample(const Shape& s, const DrawRow* draws, int rows, const float* logits, int64_t stride, float* partial, DrawnRow* drawn) {
    ChunkMass* masses = reinterpret_cast<ChunkMass*>(partial);
    SWERVE_LAUNCH(SampleChunkKernel, Dim3(SampleChunks(s), rows), kSampleThreads, stream_)(draws, logits, stride, s.vocab, masses);
    SWERVE_LAUNCH(SampleKernel, Dim3(rows), kSampleThreads, stream_)(draws, logits, stride, s.vocab, masses, SampleChunks(s), drawn);
  }

 private:
  Stream stream_;
};

}  // namespace swerve::device

#endif  // SWERVE_POLICY_CUDA_LAUNCH_CUH_
