// One token more for up to `width` rows on a CUDA device, and the draws from what they predict. Used by one thread. Needs
// LibTorch. Throws std::exception where the device fails.
#ifndef SWERVE_POLICY_DEVICE_STEP_H_
#define SWERVE_POLICY_DEVICE_STEP_H_

#include <torch/torch.h>

#include <cstdint>
#include <list>
#include <memory>
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

  // `steps`: width of them, the first draws.size() with a token. Waits.
  void Run(const DeviceWeights& weights, const std::vector<device::StepRow>& steps, absl::Span<DecodeBackend::Draw*> draws);
  // Draw i from logits row i · `apart` of rows of the vocabulary's length; at most `width` draws. Waits.
  void DrawFrom(const float* logits, int apart, absl::Span<DecodeBackend::Draw*> draws);

 private:
  struct Recorded {
    uint64_t weights = 0;
    std::unique_ptr<device::DeviceOps::Graph> graph;
  };
  void Compute(const DeviceWeights& weights);
  void PutDraws(int apart, absl::Span<DecodeBackend::Draw*> draws);
  void TakeDraws(const float* logits, int apart, absl::Span<DecodeBackend::Draw*> draws);
  torch::Tensor Room(std::vector<int64_t> shape, torch::ScalarType type) const { return torch::zeros(shape, torch::TensorOptions(type).device(device_)); }

  const device::Shape shape_;
  const torch::Device device_;
  const int width_, table_stride_;
  device::DeviceOps* const ops_;
  DeviceCache& cache_;
  torch::Tensor steps_, tables_, draws_, drawn_, frequencies_;
  torch::Tensor x_, n_, qkv_, attention_, gate_up_, gated_, logits_, partial_, arrivals_, masses_;
  std::vector<device::DrawRow> host_draws_;
  std::vector<device::DrawnRow> host_drawn_;
  std::vector<float> row_, scratch_;
  std::list<Recorded> graphs_;  // of the weights used last, most recent first
};

}  // namespace swerve

#endif  // SWERVE_POLICY_DEVICE_STEP_H_
