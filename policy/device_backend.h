// Decoding on a CUDA device: prompts by LibTorch and flash attention, several at once; tokens by kernels of our own in a recorded
// graph, attention over paged keys and values that the samples of a group share, sampled on the device. Needs LibTorch.
//
// A step always computes max_batch rows, whatever is active: weights, not rows, are what it costs, and so a response does not
// depend on what else is decoded. Prompts run together, which can change the order of sums in a product: a response is the same
// from run to run only if what shares its prefill is (up to rounding; CPU: always).
#ifndef SWERVE_POLICY_DEVICE_BACKEND_H_
#define SWERVE_POLICY_DEVICE_BACKEND_H_

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "policy/cuda/device_ops.h"
#include "policy/decode_backend.h"

namespace swerve {

// options.device: "cuda" or "cuda:N". UNAVAILABLE: no such device, or built without CUDA. INVALID_ARGUMENT: dtype.
absl::StatusOr<std::unique_ptr<EnginePlatform>> CreateCudaPlatform(const EngineOptions& options);

// The same over another device: for tests, whose kernels run on the CPU. `device` is LibTorch's name of where tensors lie.
absl::StatusOr<std::unique_ptr<EnginePlatform>> CreateDevicePlatform(const EngineOptions& options, const std::string& device,
                                                                     std::function<absl::StatusOr<std::unique_ptr<device::DeviceOps>>()> make_ops);

}  // namespace swerve

#endif  // SWERVE_POLICY_DEVICE_BACKEND_H_
