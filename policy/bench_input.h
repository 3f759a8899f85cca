// What the benchmarks of `swerve policy` feed a model: random tokens and a plain picture of the size it takes.
#ifndef SWERVE_POLICY_BENCH_INPUT_H_
#define SWERVE_POLICY_BENCH_INPUT_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "base/image.h"
#include "policy/model_config.h"

namespace swerve {

std::shared_ptr<const Image> BenchPicture(const ModelConfig& config);

// `length` tokens; placeholders of one BenchPicture among them where the model sees and they fit.
std::vector<int32_t> BenchIds(const ModelConfig& config, int length, uint64_t seed);

// Of this process.
int64_t PeakMemoryBytes();

}  // namespace swerve

#endif  // SWERVE_POLICY_BENCH_INPUT_H_
