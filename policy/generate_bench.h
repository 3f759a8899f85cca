// `swerve policy generate-bench`: how fast a model runs prompts and decodes. Blocks; prints to stdout.
#ifndef SWERVE_POLICY_GENERATE_BENCH_H_
#define SWERVE_POLICY_GENERATE_BENCH_H_

#include <string>

#include "absl/status/status.h"

namespace swerve {

struct GenerateBenchOptions {
  std::string model;
  std::string dtype = "float32";  // or bfloat16
  int scenes = 16, group = 8;     // prompts, and samples that share each
  int prompt = 220, tokens = 140;
  int threads = 1;
  std::string device = "cpu";  // another: policy/device_bench.h
};

// One JSON line: prefill, decode and end-to-end tokens per second, peak memory, what this machine's memory and arithmetic
// allow at most and the share of it that was reached. Exactly `tokens` tokens a row, greedy: the kernels run below the
// engine's sampling, which may stop early. Errors as Engine and FusedModel give them.
absl::Status GenerateBench(const GenerateBenchOptions& options);

}  // namespace swerve

#endif  // SWERVE_POLICY_GENERATE_BENCH_H_
