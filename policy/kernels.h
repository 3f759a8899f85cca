// The arithmetic of a transformer on one core: what the generation engine is made of, and training beside matrix products. Chosen once by CPU. Weights and
// activations are fp32; or matrices, and what they multiply, are bf16 and their products summed in fp32.
// Every result row depends on its own input row alone, in a fixed order of operations: neither batching nor how columns are
// split over threads changes bits. All functions are pure; buffers are the caller's. Widths called "padded" are multiples of
// kLanes.
#ifndef SWERVE_POLICY_KERNELS_H_
#define SWERVE_POLICY_KERNELS_H_

#include <cstdint>
#include <string>
#include <vector>

namespace swerve::kernels {

inline constexpr int kLanes = 16;  // output columns of one packed panel
constexpr int64_t Padded(int64_t n) { return (n + kLanes - 1) / kLanes * kLanes; }

// Where element i of the key at `position` lies: blocks of 32 positions, each [d, 32], so that both writing one key and
// reading all of them stay within few cache lines.
inline constexpr int kKeyBlock = 32;
constexpr int64_t KeyIndex(int position, int i, int d) {
  return (static_cast<int64_t>(position / kKeyBlock) * d + i) * kKeyBlock + position % kKeyBlock;
}

struct Table {
  const char* name;
  bool bf16_native;  // gemm16 multiplies pairs in one instruction; else it widens them
  // C[m, n] = A[m, k] · Wᵀ + bias (bias null: 0), or C += … when `add`. W is packed as Pack does; n is padded.
  void (*gemm)(const float* a, int64_t lda, int m, const float* packed, int n, int k, const float* bias, float* c, int64_t ldc, bool add);
  // The same of bf16 (the upper halves of floats), W packed as PackBf16 does. k even.
  void (*gemm16)(const uint16_t* a, int64_t lda, int m, const uint16_t* packed, int n, int k, const float* bias, float* c, int64_t ldc, bool add);
  void (*to_bf16)(const float* x, int64_t n, uint16_t* out);  // to the nearest, ties to even
  void (*rms_norm)(const float* x, const float* weight, float eps, int m, int d, float* y);
  void (*layer_norm)(const float* x, const float* weight, const float* bias, float eps, int m, int d, float* y);
  // out[m, width] = silu(gu[m, 0:width]) · gu[m, width:2·width]; width padded.
  void (*silu_mul)(const float* gu, int m, int width, float* out);
  void (*gelu)(float* x, int64_t n);  // exact (erf), in place
  // scores[h, 0:count] = q[h, :d] · key of each position, for `heads` queries. Keys lie as KeyIndex says.
  // scores' rows are score_stride apart and writable up to count rounded up to 32.
  void (*scores)(const float* q, int heads, int d, const float* keys, int count, float* scores, int64_t score_stride);
  // out[h, :d] += Σ_p weights[h, p] · v[p, :d]; d a multiple of 8.
  void (*mix)(const float* weights, int64_t weight_stride, int heads, const float* v, int count, int d, float* out);
  // x[0:n] → exp(x − max), returns the sum; *max is the largest x. Buffer writable up to n rounded up to 16.
  double (*exp_sum)(float* x, int n, float* max);
  int (*largest)(const float* x, int n);  // the first of the largest; n > 0
  // Rotate-half RoPE of x [heads, d] in place by cos and sin [d/2], and the result times `scale`.
  void (*rope)(float* x, int heads, int d, const float* cos, const float* sin, float scale);
  // W as gemm takes it: of [n, k], row-major with rows ldw apart, or, pack_columns, of its transpose [k, n].
  void (*pack_rows)(const float* w, int64_t ldw, int n, int k, float* packed);
  void (*pack_columns)(const float* w, int64_t ldw, int n, int k, float* packed);
  // gemm with A's transpose [k, m] at hand, its rows lda apart.
  void (*gemm_transposed)(const float* a, int64_t lda, int m, const float* packed, int n, int k, float* c, int64_t ldc, bool add);
  // For training. gx = what rms_norm's result's gradient gy is of x; gweight[0:d] += that of the weight, row after row.
  void (*rms_norm_backward)(const float* x, const float* weight, float eps, const float* gy, int m, int d, float* gx, float* gweight);
  void (*swiglu)(const float* gate, const float* up, int64_t n, float* out);  // silu(gate) · up
  void (*swiglu_backward)(const float* gate, const float* up, const float* gout, int64_t n, float* ggate, float* gup);
  // Rotate-half RoPE of x [m, heads, d] by cos and sin [m, d]; `backward`: its transpose, of gradients. Not in place.
  void (*rotate)(const float* x, const float* cos, const float* sin, int m, int heads, int d, bool backward, float* y);
  // A row of softmax: p[0:n] holds exp(x − max), dp the gradient of the probabilities. p becomes the probabilities, scale · p,
  // and dp the gradient of x. n rounded up to 16 is read and written; p there is 0.
  void (*softmax_backward)(float* p, float* dp, float scale, int n);
  // For benchmarks: nothing but multiplications and additions of fp32, of bf16 pairs. Return how many were done; `sink` is
  // of 32 floats.
  double (*peak)(int64_t rounds, float* sink);
  double (*peak16)(int64_t rounds, float* sink);
};

const Table& Best();      // the widest vectors that the CPU has; SWERVE_KERNELS=NAME in the environment chooses another
const Table& Portable();  // any CPU; bits may differ from Best's
std::vector<const Table*> Supported();  // by this CPU, Best's last

// w is [n, k] row-major; writes Padded(n)·k elements, missing rows zero. Panel after panel of kLanes rows of w; in a panel
// all rows' first values (bf16: pairs of values) of k, then their second, …
void Pack(const float* w, int n, int k, float* packed);
void PackBf16(const float* w, int n, int k, uint16_t* packed);  // k even

}  // namespace swerve::kernels

#endif  // SWERVE_POLICY_KERNELS_H_
