// From a Prompt to what the model takes: token ids by the chat template, pixels by the preprocessor. Torch-free, stateless.
#ifndef SWERVE_POLICY_PROMPT_INPUT_H_
#define SWERVE_POLICY_PROMPT_INPUT_H_

#include <memory>
#include <vector>

#include "base/image.h"
#include "policy/model_config.h"
#include "policy/tokenizer.h"

namespace swerve {

// The user's turn and the opening of the answer, placeholders expanded to what `image` (null: none) takes:
// InternVL `<|im_start|>user\n<img><IMG_CONTEXT>×N</img>\n{text}<|im_end|>\n<|im_start|>assistant\n`, Qwen2.5-VL
// `<|im_start|>user\n<|vision_start|><|image_pad|>×N<|vision_end|>{text}…`; after the standing system turn of the model's chat
// template, if it has one, when `first` (nothing comes before this turn). INVALID_ARGUMENT: an image for a model that takes none, a placeholder in the text.
absl::StatusOr<std::vector<int32_t>> PromptIds(const Tokenizer& tokenizer, const ModelConfig& config,
                                               absl::string_view text, const Image* image, bool first = true);

// Ids of a written response, end-of-turn appended.
std::vector<int32_t> ResponseIds(const Tokenizer& tokenizer, const ModelConfig& config, absl::string_view text);

// What the vision tower takes of a picture (policy/image_processor.h). INVALID_ARGUMENT: rgb does not hold
// height × width × 3 bytes, a size the model does not take, or a model that takes none.
absl::StatusOr<ProcessedImage> VisionInput(const ModelConfig& config, const Image& image);

// Rotary positions of a prompt, row-major [3, ids]: time, row and column. All three count tokens, except that a picture's
// tokens lie on its grid of merged cells (M-RoPE, Qwen2.5-VL) and what follows starts after the largest of them.
// `images` in order of their placeholders; a run of placeholders is one picture. Fails as transformers does where
// grids and runs do not match.
absl::StatusOr<std::vector<int32_t>> RotaryPositions(const ModelConfig& config, const std::vector<int32_t>& ids,
                                                     const std::vector<std::shared_ptr<const ProcessedImage>>& images);

}  // namespace swerve

#endif  // SWERVE_POLICY_PROMPT_INPUT_H_
