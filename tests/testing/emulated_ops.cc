#include "tests/testing/emulated_ops.h"

#include <cstring>
#include <stdexcept>

#include "tests/testing/cuda_on_cpu.h"
#include "tests/testing/warp_ops_on_cpu.h"

#include "policy/cuda/launch.cuh"

namespace swerve {
namespace {

using namespace device;

struct NoStream {};

class Emulated : public DeviceOps {
 public:
  explicit Emulated(std::function<std::string()> fail) : fail_(std::move(fail)) {}

  void Synchronize() override {}
  void ToDevice(void* to, const void* host, int64_t bytes) override { std::memcpy(to, host, bytes); }
  void ToHost(void* host, const void* from, int64_t bytes) override { std::memcpy(host, from, bytes); }

  // Recorded is what is launched, not what it computed when it was recorded.
  std::unique_ptr<Graph> Record(const std::function<void()>& body) override {
    struct Again : Graph {
      explicit Again(std::function<void()> b) : body(std::move(b)) {}
      void Launch() override { body(); }
      const std::function<void()> body;
    };
    return std::make_unique<Again>(body);
  }

  void Multiply(const Shape& s, const void* w, const void* x, void* y, int rows, int n, int k, bool wide, bool add) override {
    WithType(s, [&](auto t) {
      using T = decltype(t);
      for (int r = 0; r < rows; ++r) {
        for (int i = 0; i < n; ++i) {
          float sum = 0;
          for (int j = 0; j < k; ++j) sum += ToFloat(static_cast<const T*>(x)[int64_t{r} * k + j]) * ToFloat(static_cast<const T*>(w)[int64_t{i} * k + j]);
          const int64_t at = int64_t{r} * n + i;
          if (wide) {
            static_cast<float*>(y)[at] = sum + (add ? static_cast<float*>(y)[at] : 0);
          } else {
            static_cast<T*>(y)[at] = FromFloat<T>(sum + (add ? ToFloat(static_cast<T*>(y)[at]) : 0));
          }
        }
      }
    });
  }
  void Embed(const Shape& s, const StepRow* steps, int rows, const void* embedding, float* x) override {
    if (const std::string why = fail_ ? fail_() : ""; !why.empty()) throw std::runtime_error(why);
    launch_.Embed(s, steps, rows, embedding, x);
  }
  void RmsNorm(const Shape& s, const float* x, const float* weight, int rows, void* n) override {
    launch_.RmsNorm(s, x, weight, rows, n);
  }
  void Place(const Shape& s, const StepRow* steps, const int32_t* tables, int rows, void* qkv, const void* bias, const float* frequencies, void* keys,
             void* values) override {
    launch_.Place(s, steps, tables, rows, qkv, bias, frequencies, keys, values);
  }
  void Attend(const Shape& s, const StepRow* steps, const int32_t* tables, const int32_t* cohorts, int rows, const void* qkv, const void* keys, const void* values,
              float* partial, int32_t* arrivals, void* out) override {
    launch_.Attend(s, steps, tables, cohorts, rows, qkv, keys, values, partial, arrivals, out);
  }
  void Swiglu(const Shape& s, const void* gate_up, int rows, void* out) override { launch_.Swiglu(s, gate_up, rows, out); }
  void Sample(const Shape& s, const DrawRow* draws, int rows, const float* logits, int64_t stride, float* partial, DrawnRow* drawn) override {
    launch_.Sample(s, draws, rows, logits, stride, partial, drawn);
  }

 private:
  const std::function<std::string()> fail_;
  Launcher<NoStream> launch_{NoStream{}};
};

}  // namespace

std::unique_ptr<DeviceOps> EmulatedOps(std::function<std::string()> fail) { return std::make_unique<Emulated>(std::move(fail)); }

}  // namespace swerve
