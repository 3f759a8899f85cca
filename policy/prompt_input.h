// From a Prompt to what the model takes: token ids by the chat template, pixels by the preprocessor. Torch-free, stateless.
#ifndef SWERVE_POLICY_PROMPT_INPUT_H_
#define SWERVE_POLICY_PROMPT_INPUT_H_

#include <vector>

#include "base/image.h"
#include "policy/model_config.h"
#include "policy/tokenizer.h"

namespace swerve {

// `<|im_start|>user\n<img><IMG_CONTEXT>×N</img>\n{text}<|im_end|>\n<|im_start|>assistant\n`; the image line only with one.
// Marks of the template inside `text` are not expanded as special tokens of another image: an extra image placeholder
// in the text is INVALID_ARGUMENT.
absl::StatusOr<std::vector<int32_t>> PromptIds(const Tokenizer& tokenizer, const ModelConfig& config,
                                               absl::string_view text, bool with_image);

// Ids of a written response, end-of-turn appended.
std::vector<int32_t> ResponseIds(const Tokenizer& tokenizer, const ModelConfig& config, absl::string_view text);

// Resized to image × image (bicubic with antialiasing when the size differs), scaled to [0, 1], normalised.
// Layout [3, image, image]. INVALID_ARGUMENT when rgb does not hold height × width × 3 bytes.
absl::StatusOr<std::vector<float>> Pixels(const Image& image, const ModelConfig& config);

}  // namespace swerve

#endif  // SWERVE_POLICY_PROMPT_INPUT_H_
