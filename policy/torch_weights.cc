#include <torch/torch.h>

#include "policy/torch_weights.h"

#include <cstring>

namespace swerve {

torch::Tensor TensorOf(const TensorView& view, torch::Device device, torch::ScalarType type) {
  const auto held = view.dtype == DType::kF32 ? torch::kFloat32 : view.dtype == DType::kF16 ? torch::kFloat16 : torch::kBFloat16;
  torch::Tensor raw = torch::empty(view.shape, held);
  std::memcpy(raw.data_ptr(), view.data, view.bytes);
  return raw.to(device, type);
}

}  // namespace swerve
