// A model's weights on a CUDA device, laid out for decoding and readable by the differentiable decoder, which runs prompts.
// Immutable once loaded. Needs LibTorch.
#ifndef SWERVE_POLICY_DEVICE_WEIGHTS_H_
#define SWERVE_POLICY_DEVICE_WEIGHTS_H_

#include <torch/torch.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "policy/cuda/device_ops.h"
#include "policy/decode_backend.h"
#include "policy/model_config.h"
#include "policy/torch_weights.h"

namespace swerve {

class DeviceWeights : public DecodeWeights {
 public:
  struct Layer {
    torch::Tensor norm1, norm2;                // float32
    torch::Tensor qkv, qkv_bias, o, gate_up, down;  // stacked by rows; the bias undefined where there is none
  };
  // Matrices become `type`. Errors as Engine::LoadWeights; UNAVAILABLE: the device has not the memory.
  static absl::StatusOr<std::shared_ptr<const DeviceWeights>> Load(const std::string& dir, const ModelConfig& config, torch::Device device, torch::ScalarType type);

  const ModelConfig& config() const { return config_; }
  const TorchWeights& tensors() const { return tensors_; }  // by canonical name; parts of what is stacked are views
  const std::vector<Layer>& layers() const { return layers_; }
  const torch::Tensor& norm() const { return norm_; }
  const torch::Tensor& embedding() const { return embedding_; }
  const torch::Tensor& head() const { return head_; }
  device::Shape shape() const;
  uint64_t id() const { return id_; }  // no two in a process have the same
  // What a decoding step reads of weights.
  int64_t step_bytes() const;

 private:
  DeviceWeights() = default;
  torch::Tensor Stack(const std::vector<std::string>& names);
  void Arrange();

  ModelConfig config_;
  TorchWeights tensors_;
  std::vector<Layer> layers_;
  torch::Tensor norm_, embedding_, head_;
  uint64_t id_ = 0;
};

}  // namespace swerve

#endif  // SWERVE_POLICY_DEVICE_WEIGHTS_H_
