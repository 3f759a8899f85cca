// Kernels of training on a CUDA device, on its default stream, as LibTorch's own are. Pointers are the device's; `half`: what is
// untyped here is bfloat16, else float. Any thread. Needs neither LibTorch nor CUDA's headers; linked where kHasCuda.
#ifndef SWERVE_POLICY_CUDA_TRAIN_KERNELS_H_
#define SWERVE_POLICY_CUDA_TRAIN_KERNELS_H_

#include <cstdint>

namespace swerve::device {

#ifdef SWERVE_CUDA
inline constexpr bool kHasCuda = true;  // built with a CUDA compiler
#else
inline constexpr bool kHasCuda = false;
#endif

// y = x / rms(x) · weight over rows of d, which FitsRmsNorm; x and weight float, y as `half` says; scales [n]: 1 / rms.
inline bool FitsRmsNorm(int64_t d) { return d % 4 == 0 && d <= 8192; }
void RmsNorm(const float* x, const float* weight, int64_t n, int64_t d, float eps, bool half, void* y, float* scales);
// gx, and the weight's gradient as the sum over the RmsNormParts(n) rows of `parts`.
inline int64_t RmsNormParts(int64_t n) { return (n + 63) / 64; }
void RmsNormBackward(const void* gy, const float* x, const float* weight, const float* scales, int64_t n, int64_t d, bool half, float* gx, float* parts);

// y = x rotated by halves, [n, heads, d]; cos and sin [n, d]. `back`: the transpose, which is the gradient.
void Rotate(const void* x, const float* cos, const float* sin, int64_t n, int heads, int d, bool half, bool back, void* y);

// out = silu(gate) · up, n elements each, n a multiple of 8, 16-byte aligned; and their gradients.
void Swiglu(const void* gate, const void* up, int64_t n, bool half, void* out);
void SwigluBackward(const void* gate, const void* up, const void* gout, int64_t n, bool half, void* ggate, void* gup);

// Of each row of logits [rows, vocab], multiplied by `scale`: total = log Σ exp, value = that of the target.
void LogSumExp(const float* logits, const int64_t* targets, int64_t rows, int64_t vocab, float scale, float* total, float* value);

// d [rows, vocab] = g · scale · ([target] − softmax), the gradient of value − total.
void LogprobBackward(const float* logits, const int64_t* targets, const float* total, const float* g, int64_t rows, int64_t vocab, float scale, bool half, void* d);

}  // namespace swerve::device

#endif  // SWERVE_POLICY_CUDA_TRAIN_KERNELS_H_
