// Decoding on this machine's cores, by the kernels of policy/fused_model.h. Torch-free.
#ifndef SWERVE_POLICY_CPU_BACKEND_H_
#define SWERVE_POLICY_CPU_BACKEND_H_

#include <memory>

#include "absl/status/statusor.h"
#include "policy/decode_backend.h"

namespace swerve {

// A small model has a loop for each thread, a large one a single loop that the threads share. INVALID_ARGUMENT: dtype, counts.
absl::StatusOr<std::unique_ptr<EnginePlatform>> CreateCpuPlatform(const EngineOptions& options);

}  // namespace swerve

#endif  // SWERVE_POLICY_CPU_BACKEND_H_
