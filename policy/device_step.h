// One token more for up to `width` rows on a CUDA device, and the draws from what they predict. Used by one thread. Needs
// LibTorch. Throws std::exception where the device fails.
#ifndef SWERVE_POLICY_DEVICE_STEP_H_
#define SWERVE_POLICY_DEVICE_STEP_H_

#include <torch/torch.h>

#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "policy/cuda/device_ops.h"
#include "policy/decode_backend.h"
#include "policy/device_pages.h"
#include "policy/device_weights.h"

namespace swerve {

class DeviceStep {
 public:
  // `cache` and `ops` must outlive it.
  DeviceStep(const DeviceWeights& like, DeviceCache& cache, int width, device::DeviceOps* ops);

  int width() const { return width_; }
  int table_stride() const { return table_stride_; }  // pages of a slot of the table
  void SetTable(int slot, const std::vector<int32_t>& pages);

  // `steps`: at most `width` of them, a draw for each. `prompts`: what tells rows of one prompt from others. Waits.
  void Run(const DeviceWeights& weights, absl::Span<const device::StepRow> steps, absl::Span<const void* const> prompts, absl::Span<DecodeBackend::Draw*> draws);
  // Draw i from logits row i · `apart` of rows of the vocabulary's length; at most `width` draws. Waits.
  void DrawFrom(const float* logits, int apart, absl::Span<DecodeBackend::Draw*> draws);

  // Seconds that the parts of a step take, each recorded and launched alone, over the rows of the last Run, whose keys and
  // values it overwrites: for benchmarks.
  std::map<std::string, double> TimeParts(const DeviceWeights& weights);

 private:
  struct Recorded {
    uint64_t weights = 0;
    std::unique_ptr<device::DeviceOps::Graph> graph;
  };
  // A step's work by name, in order; parts of a layer are called for each.
  struct Part {
    std::string name;
    std::function<void(int layer)> work;
    bool each_layer = true;
  };
  std::vector<Part> Parts(const DeviceWeights& weights);
  void Compute(const DeviceWeights& weights);
  void FillDraws(int apart, absl::Span<DecodeBackend::Draw*> draws);
  void FillCohorts(absl::Span<const void* const> prompts);
  template <typename T>
  T* Host(int64_t offset) { return reinterpret_cast<T*>(input_host_.data() + offset); }
  void TakeDraws(const float* logits, int apart, absl::Span<DecodeBackend::Draw*> draws);
  torch::Tensor Room(std::vector<int64_t> shape, torch::ScalarType type) const { return torch::zeros(shape, torch::TensorOptions(type).device(device_)); }

  const device::Shape shape_;
  const torch::Device device_;
  const int width_, table_stride_;
  device::DeviceOps* const ops_;
  DeviceCache& cache_;
  // What a step is told, in one piece: StepRow, DrawRow, cohorts; `width` of each.
  std::vector<uint8_t> input_host_;
  torch::Tensor input_;
  int64_t draws_at_ = 0, cohorts_at_ = 0;
  torch::Tensor tables_, drawn_, frequencies_;
  torch::Tensor x_, n_, qkv_, attention_, gate_up_, gated_, logits_, partial_, arrivals_, masses_;
  std::vector<device::DrawnRow> host_drawn_;
  std::vector<float> row_, scratch_;
  std::list<Recorded> graphs_;  // of the weights used last, most recent first
};

}  // namespace swerve

#endif  // SWERVE_POLICY_DEVICE_STEP_H_
