// Low-rank adapters in PEFT's files: adapter_config.json and adapter_model.safetensors (spec conventions.md 4.3).
// Torch-free, stateless.
#ifndef SWERVE_POLICY_LORA_H_
#define SWERVE_POLICY_LORA_H_

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "policy/model_config.h"
#include "policy/safetensors.h"

namespace swerve {

struct LoraOptions {
  int rank = 0;       // 0: no adapters
  double alpha = 32;  // the adapter's part is scaled by alpha / rank
  uint64_t seed = 0;  // of A's start; B starts at zero
  // Linear layers of the decoder, by the last part of their name.
  std::vector<std::string> targets = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"};
};

// Canonical names of the decoder's modules that the options name. INVALID_ARGUMENT: a target that is no such layer, a rank
// below 1.
absl::StatusOr<std::vector<std::string>> LoraModules(const LoraOptions& options, const ModelConfig& config);

struct LoraMatrices {
  std::vector<int64_t> a_shape, b_shape;  // [r, in], [out, r]
  std::vector<float> a, b;
  double scale = 1;
};
struct LoraAdapter {
  LoraOptions options;
  std::map<std::string, LoraMatrices> modules;  // by canonical module name
};

// Reads a PEFT directory for a base of this configuration, whatever version of transformers named its modules. NOT_FOUND;
// INVALID_ARGUMENT names the field or tensor: another kind of adapter, a module that the base does not have, shapes that
// do not fit it.
absl::StatusOr<LoraAdapter> ReadAdapter(const std::string& dir, const ModelConfig& config);

// Writes a directory that PEFT loads over `base` (a model directory); tensors are named "<canonical module>.lora_A" or
// "….lora_B". The directory is made when absent; each file appears complete or not at all.
absl::Status WriteAdapter(const std::string& dir, const std::string& base, const LoraOptions& options, const ModelConfig& config,
                          absl::Span<const NamedTensor> tensors);

}  // namespace swerve

#endif  // SWERVE_POLICY_LORA_H_
