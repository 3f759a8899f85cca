// LibTorch's CUDA half, which is loaded when a device is first asked for: linked, its thread-local data would keep threads with
// small stacks from starting (cmake/SwerveTorch.cmake). Thread-safe. Needs LibTorch.
#ifndef SWERVE_POLICY_CUDA_LIBRARY_H_
#define SWERVE_POLICY_CUDA_LIBRARY_H_

#include <torch/torch.h>

#include <string>

#include "absl/status/statusor.h"

namespace swerve {

// OK, or UNAVAILABLE: no CUDA device here, or LibTorch's libraries for it are missing (and which).
absl::Status LoadCudaBackend();

// "cpu", "cuda" or "cuda:N", and of CUDA that the backend is loaded and has such a device. INVALID_ARGUMENT, UNAVAILABLE.
absl::StatusOr<torch::Device> OpenDevice(const std::string& name);

}  // namespace swerve

#endif  // SWERVE_POLICY_CUDA_LIBRARY_H_
