// What decoding asks of a CUDA device: memory moves, kernels, matrix products, recorded graphs. cuda_ops.cu does it on a
// device; tests run the same kernels on the CPU (tests/testing/emulated_ops.h). Pointers are the device's unless a comment
// says otherwise. Used by one thread. Calls put work in order and do not wait, but for ToHost. Throws std::runtime_error with
// CUDA's own words when the device refuses. Needs neither LibTorch nor CUDA's headers.
#ifndef SWERVE_POLICY_CUDA_DEVICE_OPS_H_
#define SWERVE_POLICY_CUDA_DEVICE_OPS_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

namespace swerve::device {

inline constexpr int kPage = 64;        // tokens of a page of the cache
// Parts of a sequence that attend on their own; fixed, so that sums do not depend on the batch. In bfloat16 a prompt and a row's own
// tokens are divided apart.
inline constexpr int kSplits = 8, kPromptParts = 8, kOwnParts = 4;
inline constexpr int kCohortRows = 64;  // rows of one prompt that may attend over it together
inline constexpr int kSampleChunk = 2048;  // entries of the vocabulary that a block looks at

// A row of a step, as the host fills it.
struct StepRow {
  int32_t token = -1;       // to feed; < 0: nothing, the row only fills up the graph
  int32_t position = 0;     // rotary
  int32_t table = 0;        // first entry of its page table
  int32_t prompt = 0;       // tokens of its prompt, whose pages come first in the table
  int32_t own = 0;          // tokens of its own before this one
};

// A token to draw, as the host fills it.
struct DrawRow {
  int32_t logits = -1;      // row of the logits; < 0: nothing
  float scale = 0;          // 1 / temperature; 0: the likeliest
  double uniform = 0;       // in [0, 1)
};
struct DrawnRow {
  int32_t token = 0;
  float logprob = 0;        // nats, of the distribution drawn from
};

// The decoder's sizes. `half`: weights, cache and what is multiplied are bfloat16, else float; sums and the residual are float.
struct Shape {
  bool half = false;
  int hidden = 0, heads = 0, kv_heads = 0, head_dim = 0, mlp = 0, vocab = 0;
  float eps = 0;
};

// How many rows of one prompt attend over it together.
inline int CohortRows(const Shape& s) { return kCohortRows / (s.heads / s.kv_heads); }

class DeviceOps {
 public:
  class Graph {
   public:
    virtual ~Graph() = default;
    virtual void Launch() = 0;
  };
  virtual ~DeviceOps() = default;

  // What was launched elsewhere on the device, and here, is done when it returns.
  virtual void Synchronize() = 0;
  virtual void ToDevice(void* to, const void* host, int64_t bytes) = 0;  // host memory may be reused at once
  virtual void ToHost(void* host, const void* from, int64_t bytes) = 0;
  // What `body` launches, to be launched again at once. `body` must have run before.
  virtual std::unique_ptr<Graph> Record(const std::function<void()>& body) = 0;

  // y[rows, n] (+)= x[rows, k] · w[n, k]ᵀ; y is float with `wide`, else as Shape::half says.
  virtual void Multiply(const Shape& shape, const void* w, const void* x, void* y, int rows, int n, int k, bool wide, bool add) = 0;

  // x[i] = embedding of row i's token.
  virtual void Embed(const Shape& shape, const StepRow* steps, int rows, const void* embedding, float* x) = 0;
  // n = x / rms(x) · weight.
  virtual void RmsNorm(const Shape& shape, const float* x, const float* weight, int rows, void* n) = 0;
  // Adds `bias` (null: none) to qkv [rows, (heads + 2 kv_heads) · d], rotates queries and keys by `frequencies` [d / 2], leaves queries
  // in qkv and puts keys and values into the layer's cache [slots, kv_heads, d].
  virtual void Place(const Shape& shape, const StepRow* steps, const int32_t* tables, int rows, void* qkv, const void* bias, const float* frequencies, void* keys,
                     void* values) = 0;
  // out [rows, heads · d]: attention of each row's query over its prompt and its own tokens, this one included. `cohorts` [3, rows]:
  // rows in order of their prompts; where in that order the rows of each cohort begin, which share a prompt; how many they are,
  // at most CohortRows, 0 beyond the last. `partial`: room of PartialFloats(shape, rows); `arrivals`: rows · kv_heads zeros, zero
  // again afterwards.
  virtual void Attend(const Shape& shape, const StepRow* steps, const int32_t* tables, const int32_t* cohorts, int rows, const void* qkv, const void* keys,
                      const void* values, float* partial, int32_t* arrivals, void* out) = 0;
  // out [rows, mlp] = silu(gate) · up of gate_up [rows, 2 · mlp].
  virtual void Swiglu(const Shape& shape, const void* gate_up, int rows, void* out) = 0;
  // Draws from logits [·, stride]. `partial`: room of SamplePartialFloats(shape, rows).
  virtual void Sample(const Shape& shape, const DrawRow* draws, int rows, const float* logits, int64_t stride, float* partial, DrawnRow* drawn) = 0;
};

inline int64_t PartialFloats(const Shape& s, int rows) { return int64_t{rows} * s.heads * (kPromptParts + kOwnParts) * (s.head_dim + 2); }
inline int SampleChunks(const Shape& s) { return (s.vocab + kSampleChunk - 1) / kSampleChunk; }
inline int64_t SamplePartialFloats(const Shape& s, int rows) { return int64_t{rows} * SampleChunks(s) * 4; }

// On CUDA device `index`, whose backend of LibTorch is loaded. Null and `*error` says why: none, or its libraries are missing.
std::unique_ptr<DeviceOps> CreateCudaOps(int index, std::string* error);

}  // namespace swerve::device

#endif  // SWERVE_POLICY_CUDA_DEVICE_OPS_H_
