// LibTorch's CUDA half, which is loaded when a device is first asked for: linked, its thread-local data would keep threads with
// small stacks from starting (cmake/SwerveTorch.cmake). Thread-safe. Needs LibTorch.
#ifndef SWERVE_POLICY_CUDA_LIBRARY_H_
#define SWERVE_POLICY_CUDA_LIBRARY_H_

#include "absl/status/status.h"

namespace swerve {

// OK, or UNAVAILABLE: no CUDA device here, or LibTorch's libraries for it are missing (and which).
absl::Status LoadCudaBackend();

}  // namespace swerve

#endif  // SWERVE_POLICY_CUDA_LIBRARY_H_
