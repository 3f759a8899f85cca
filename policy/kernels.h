// The arithmetic of a small transformer on one core, fp32: what the generation engine is made of. Chosen once by CPU.
// Every result row depends on its own input row alone, in a fixed order of operations: batching never changes bits.
// All functions are pure; buffers are the caller's. Widths called "padded" are multiples of kLanes.
#ifndef SWERVE_POLICY_KERNELS_H_
#define SWERVE_POLICY_KERNELS_H_

#include <cstdint>

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
  // C[m, n] = A[m, k] · Wᵀ + bias (bias null: 0), or C += … when `add`. W is packed as Pack does; n is padded.
  void (*gemm)(const float* a, int64_t lda, int m, const float* packed, int n, int k, const float* bias, float* c, int64_t ldc, bool add);
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
  // x[0:n] → exp(x − max), returns the sum; *max is the largest x. Buffer writable up to n rounded up to 8.
  double (*exp_sum)(float* x, int n, float* max);
};

const Table& Best();      // AVX2 and FMA where the CPU has them
const Table& Portable();  // any CPU; bits may differ from Best's

// w is [n, k] row-major; writes Padded(n)·k floats, missing rows zero.
void Pack(const float* w, int n, int k, float* packed);

}  // namespace swerve::kernels

#endif  // SWERVE_POLICY_KERNELS_H_
