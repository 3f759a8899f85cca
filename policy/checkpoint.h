// A model directory as named tensors: one set of names whatever layout the files use (policy/weight_names.h). Torch-free.
// Stateless and thread-safe; reading maps files into memory and copies nothing until it is asked to.
#ifndef SWERVE_POLICY_CHECKPOINT_H_
#define SWERVE_POLICY_CHECKPOINT_H_

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "policy/model_config.h"
#include "policy/safetensors.h"
#include "policy/weight_names.h"

namespace swerve {

// Views into mapped files, by canonical name, complete and of the expected shapes. "language_model.lm_head.weight" is
// there unless the head is the embedding.
struct MappedTensors {
  Weights files;
  std::map<std::string, TensorView> tensors;
};
// NOT_FOUND; INVALID_ARGUMENT names the tensor that is missing, has another shape or a dtype other than F32, F16, BF16.
// Extra tensors are ignored. Where config.json ties the head but the file has another one, the file counts, as in
// transformers.
absl::StatusOr<MappedTensors> MapTensors(const std::string& dir, const ModelConfig& config);

struct HostTensor {
  std::vector<int64_t> shape;
  std::vector<float> data;
};
using TensorMap = std::map<std::string, HostTensor>;
// The same, converted to float. Errors as above.
absl::StatusOr<TensorMap> LoadTensors(const std::string& dir, const ModelConfig& config);

// Writes a directory transformers loads: `tensors` (canonical names) under the names that `template_dir` stores them
// under, with what else is stored there; and from `template_dir` config.json, tokenizer and processor files. Sharded when
// large. The directory appears complete or not at all; an existing `dir` is replaced.
absl::Status SaveCheckpoint(const std::string& dir, const std::string& template_dir, const ModelConfig& config,
                            absl::Span<const NamedTensor> tensors, uint64_t max_shard_bytes = 5'000'000'000);

// SHA-256, hex, of the weights: of model.safetensors; of several files, that of their names and sums. NOT_FOUND.
absl::StatusOr<std::string> WeightsChecksum(const std::string& dir);

}  // namespace swerve

#endif  // SWERVE_POLICY_CHECKPOINT_H_
