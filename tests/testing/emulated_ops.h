// DeviceOps whose kernels run on the CPU (cuda_on_cpu.h): what the CUDA engine computes, where there is no device.
#ifndef SWERVE_TESTS_TESTING_EMULATED_OPS_H_
#define SWERVE_TESTS_TESTING_EMULATED_OPS_H_

#include <memory>
#include <string>

#include "policy/cuda/device_ops.h"

namespace swerve {

// `fail`, if given, is asked before each token step's first kernel; a text that is not empty is thrown.
std::unique_ptr<device::DeviceOps> EmulatedOps(std::function<std::string()> fail = nullptr);

}  // namespace swerve

#endif  // SWERVE_TESTS_TESTING_EMULATED_OPS_H_
