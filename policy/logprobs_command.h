// `swerve policy logprobs` and `swerve policy save`: what a model computes, told in files. Blocks; prints to stdout.
#ifndef SWERVE_POLICY_LOGPROBS_COMMAND_H_
#define SWERVE_POLICY_LOGPROBS_COMMAND_H_

#include <string>

#include "absl/status/status.h"

namespace swerve {

struct LogprobsOptions {
  std::string model;      // Hugging Face directory
  std::string adapter;    // PEFT directory over it; empty: none
  std::string in;         // requests, JSON
  std::string out;        // directory to write; empty: none
  std::string adapter_out;  // PEFT directory to write; empty: none
  std::string dtype = "float32", device = "cpu";
  std::string gradients;  // safetensors of the gradients of the summed negative log-probabilities; empty: none
  bool kernels = false;   // greedy continuations on the generation engine's kernels instead of LibTorch
  int threads = 1;
};

// INVALID_ARGUMENT names the request, field or tensor.
absl::Status PrintLogprobs(const LogprobsOptions& options);

// Loads `model` with `adapter` and writes `out` in the same layout, the adapter merged, and `adapter_out`.
absl::Status SavePolicy(const LogprobsOptions& options);

}  // namespace swerve

#endif  // SWERVE_POLICY_LOGPROBS_COMMAND_H_
