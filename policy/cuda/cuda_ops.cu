// DeviceOps on a CUDA device.
#include <cuda_runtime.h>

#include <cstring>
#include <stdexcept>
#include <string>

// A launch's arguments come in a second pair of parentheses, as a kernel's do.
using Dim3 = dim3;
#define SWERVE_LAUNCH(kernel, grid, threads, stream) [&](auto... arguments) { swerve::device::LaunchOn(stream, kernel, grid, threads, arguments...); }

namespace swerve::device {

struct ChainedStream {
  cudaStream_t stream = nullptr;
  bool early = false;  // kernels may begin before the one before them has ended (they wait for it themselves): Hopper and later
};

template <typename... Parameters, typename... Arguments>
void LaunchOn(const ChainedStream& on, void (*kernel)(Parameters...), dim3 grid, int threads, Arguments... arguments) {
  cudaLaunchAttribute attribute = {};
  attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attribute.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config = {};
  config.gridDim = grid;
  config.blockDim = dim3(threads);
  config.stream = on.stream;
  config.attrs = &attribute;
  config.numAttrs = on.early ? 1 : 0;
  cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(arguments)...);  // Launched looks at the error
}

}  // namespace swerve::device

#include "policy/cuda/launch.cuh"
#include "policy/cuda/matrix_products.h"

namespace swerve::device {
namespace {

void Must(cudaError_t e, const char* what) {
  if (e != cudaSuccess) throw std::runtime_error(std::string("CUDA: ") + what + ": " + cudaGetErrorString(e));
}

class RecordedGraph : public DeviceOps::Graph {
 public:
  RecordedGraph(cudaGraph_t graph, cudaStream_t stream) : stream_(stream) {
    const cudaError_t e = cudaGraphInstantiate(&run_, graph, 0);
    cudaGraphDestroy(graph);
    Must(e, "making a graph");
  }
  ~RecordedGraph() override { cudaGraphExecDestroy(run_); }
  void Launch() override { Must(cudaGraphLaunch(run_, stream_), "launching a graph"); }

 private:
  cudaGraphExec_t run_ = nullptr;
  const cudaStream_t stream_;
};

class CudaOps : public DeviceOps {
 public:
  explicit CudaOps(int index) : index_(index) {
    Select();
    Must(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "making a stream");
    Must(cudaMallocHost(&staging_, kStaging), "host memory");
    Must(cudaMallocHost(&replies_, kReplies), "host memory");
    products_ = MatrixProducts::Create(stream_);
    int major = 0;
    Must(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, index_), "asking the device");
    launch_ = std::make_unique<Launcher<ChainedStream>>(ChainedStream{stream_, major >= 9});
  }
  ~CudaOps() override {
    cudaSetDevice(index_);
    products_ = nullptr;
    cudaFreeHost(staging_);
    cudaFreeHost(replies_);
    cudaStreamDestroy(stream_);
  }

  void Synchronize() override {
    Select();
    Must(cudaDeviceSynchronize(), "waiting for the device");
  }
  // By way of pinned memory, which is used again only once it has been copied.
  void ToDevice(void* to, const void* host, int64_t bytes) override {
    Select();
    for (int64_t at = 0; at < bytes; at += kStaging / 2) {
      const int64_t part = bytes - at < kStaging / 2 ? bytes - at : kStaging / 2;
      if (filled_ + part > kStaging) {
        Must(cudaStreamSynchronize(stream_), "waiting for copies");
        filled_ = 0;
      }
      std::memcpy(staging_ + filled_, static_cast<const char*>(host) + at, part);
      Must(cudaMemcpyAsync(static_cast<char*>(to) + at, staging_ + filled_, part, cudaMemcpyHostToDevice, stream_), "copying to the device");
      filled_ += (part + 255) / 256 * 256;
    }
  }
  void ToHost(void* host, const void* from, int64_t bytes) override {
    Select();
    // Little goes by way of pinned memory, which the device writes itself.
    const bool little = bytes <= kReplies;
    Must(cudaMemcpyAsync(little ? replies_ : host, from, bytes, cudaMemcpyDeviceToHost, stream_), "copying from the device");
    Must(cudaStreamSynchronize(stream_), "waiting for the device");
    if (little) std::memcpy(host, replies_, bytes);
    filled_ = 0;
  }
  std::unique_ptr<Graph> Record(const std::function<void()>& body) override {
    Select();
    cudaGraph_t graph = nullptr;
    Must(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal), "recording a graph");
    try {
      body();
    } catch (...) {
      cudaStreamEndCapture(stream_, &graph);
      if (graph != nullptr) cudaGraphDestroy(graph);
      throw;
    }
    Must(cudaStreamEndCapture(stream_, &graph), "recording a graph");
    return std::make_unique<RecordedGraph>(graph, stream_);
  }

  void Multiply(const Shape& s, const void* w, const void* x, void* y, int rows, int n, int k, bool wide, bool add) override {
    products_->Run({s.half, wide, add, rows, n, k}, w, x, y);
  }
  void Embed(const Shape& s, const StepRow* steps, int rows, const void* embedding, float* x) override {
    launch_->Embed(s, steps, rows, embedding, x);
    Launched("embedding");
  }
  void RmsNorm(const Shape& s, const float* x, const float* weight, int rows, void* n) override {
    launch_->RmsNorm(s, x, weight, rows, n);
    Launched("a norm");
  }
  void Place(const Shape& s, const StepRow* steps, const int32_t* tables, int rows, void* qkv, const void* bias, const float* frequencies, void* keys,
             void* values) override {
    launch_->Place(s, steps, tables, rows, qkv, bias, frequencies, keys, values);
    Launched("rotation");
  }
  void Attend(const Shape& s, const StepRow* steps, const int32_t* tables, const int32_t* cohorts, int rows, const void* qkv, const void* keys, const void* values,
              float* partial, int32_t* arrivals, void* out) override {
    launch_->Attend(s, steps, tables, cohorts, rows, qkv, keys, values, partial, arrivals, out);
    Launched("attention");
  }
  void Swiglu(const Shape& s, const void* gate_up, int rows, void* out) override {
    launch_->Swiglu(s, gate_up, rows, out);
    Launched("the gate");
  }
  void Sample(const Shape& s, const DrawRow* draws, int rows, const float* logits, int64_t stride, float* partial, DrawnRow* drawn) override {
    launch_->Sample(s, draws, rows, logits, stride, partial, drawn);
    Launched("sampling");
  }

 private:
  static constexpr int64_t kStaging = 4 << 20, kReplies = 64 << 10;

  void Select() const { Must(cudaSetDevice(index_), "choosing the device"); }
  static void Launched(const char* what) { Must(cudaGetLastError(), what); }

  const int index_;
  cudaStream_t stream_ = nullptr;
  char *staging_ = nullptr, *replies_ = nullptr;
  int64_t filled_ = 0;
  std::unique_ptr<MatrixProducts> products_;
  std::unique_ptr<Launcher<ChainedStream>> launch_;
};

}  // namespace

std::unique_ptr<DeviceOps> CreateCudaOps(int index, std::string* error) {
  try {
    int count = 0;
    Must(cudaGetDeviceCount(&count), "counting devices");
    if (index < 0 || index >= count) throw std::runtime_error("there are " + std::to_string(count) + " CUDA devices, none with number " + std::to_string(index));
    return std::make_unique<CudaOps>(index);
  } catch (const std::exception& e) {
    *error = e.what();
    return nullptr;
  }
}

}  // namespace swerve::device
