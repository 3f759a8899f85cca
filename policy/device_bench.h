// Benchmarks on a CUDA device, and what the device can do at most, measured. Needs LibTorch.
#ifndef SWERVE_POLICY_DEVICE_BENCH_H_
#define SWERVE_POLICY_DEVICE_BENCH_H_

#include <torch/torch.h>

#include "absl/status/status.h"
#include "policy/generate_bench.h"

namespace swerve {

// As GenerateBench (policy/generate_bench.h), of the CUDA engine below its sampling: greedy, exactly `tokens` a row.
// UNAVAILABLE: no device.
absl::Status DeviceGenerateBench(const GenerateBenchOptions& options);

// Bytes per second of a large copy on the device, read and written; of a large matrix product, multiplications and additions per
// second. The device's backend is loaded. Blocks for a fraction of a second.
double DeviceBytesPerSecond(torch::Device device);
double DeviceFlopsPerSecond(torch::Device device, torch::ScalarType type);

}  // namespace swerve

#endif  // SWERVE_POLICY_DEVICE_BENCH_H_
