// One set of tensor names whatever layout a checkpoint uses. Torch-free, stateless.
//
// Canonical names: "language_model.model.…" and "language_model.lm_head.weight" for the decoder of every architecture,
// "vision_tower.…" and "multi_modal_projector.…" for InternVL (what transformers writes), "visual.…" for Qwen2.5-VL.
// Read are also: names with the newer "model." prefix, the original InternVL repository's ("vision_model.…", "mlp1.…",
// with a fused qkv), Qwen's ("model.layers.0…", "lm_head.weight").
#ifndef SWERVE_POLICY_WEIGHT_NAMES_H_
#define SWERVE_POLICY_WEIGHT_NAMES_H_

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "policy/model_config.h"

namespace swerve {

inline constexpr char kTextPrefix[] = "language_model.model.";
inline constexpr char kHeadName[] = "language_model.lm_head.weight";
inline constexpr char kEmbeddingName[] = "language_model.model.embed_tokens.weight";

// Every tensor a model of this configuration has, by canonical name, with its shape.
std::vector<std::pair<std::string, std::vector<int64_t>>> ExpectedTensors(const ModelConfig& config);

// The canonical name of a stored one; names that belong to no known layout come back as they are. The original
// repository's fused "….attn.qkv.…" becomes "….attention.qkv.…", whose thirds FusedParts names.
std::string CanonicalName(absl::string_view stored, const ModelConfig& config);

// Canonical names of the q, k and v thirds of an InternVL fused tensor; empty: `canonical` is not one.
std::vector<std::string> FusedParts(absl::string_view canonical);

// Where a checkpoint without an example to follow stores a canonical tensor.
std::string StoredName(absl::string_view canonical, const ModelConfig& config);

// Path of a canonical module in transformers' module tree ("model.language_model.layers.0.self_attn.q_proj"), what
// PEFT calls it.
std::string ModulePath(absl::string_view canonical, const ModelConfig& config);

}  // namespace swerve

#endif  // SWERVE_POLICY_WEIGHT_NAMES_H_
