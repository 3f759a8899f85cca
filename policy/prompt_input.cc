#include "policy/prompt_input.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace swerve {
namespace {

// Bytes of a picture that already has the tile's size, scaled to [0, 1] and normalised; [3, tile, tile].
std::vector<float> Normalised(const Image& image, const ImageProcessorConfig& c) {
  std::vector<float> out(image.rgb.size());
  const size_t plane = out.size() / 3;
  for (int k = 0; k < 3; ++k) {
    const float scale = 1.0f / (255.0f * c.std[k]), shift = -c.mean[k] / c.std[k];
    for (size_t i = 0; i < plane; ++i) out[k * plane + i] = static_cast<float>(image.rgb[i * 3 + k]) * scale + shift;
  }
  return out;
}

void Append(const Tokenizer& tokenizer, absl::string_view text, std::vector<int32_t>* ids) {
  for (int32_t id : tokenizer.Encode(text)) ids->push_back(id);
}

}  // namespace

absl::StatusOr<std::vector<int32_t>> PromptIds(const Tokenizer& tokenizer, const ModelConfig& config, absl::string_view text,
                                               const Image* image, bool first) {
  if (image != nullptr && !config.has_vision) return absl::InvalidArgumentError("the prompt has an image but the model is text only");
  const std::vector<int32_t> plain = tokenizer.Encode(text);
  if (config.has_vision && std::count(plain.begin(), plain.end(), config.image_token_id) > 0) {
    return absl::InvalidArgumentError("the prompt's text holds an image placeholder token");
  }
  const bool qwen = config.model_type == "qwen2_5_vl";
  std::vector<int32_t> ids;
  if (first && !config.chat.standing_system.empty()) Append(tokenizer, absl::StrCat("<|im_start|>system\n", config.chat.standing_system, "<|im_end|>\n"), &ids);
  if (image != nullptr) {
    SWERVE_ASSIGN_OR_RETURN(const int count, ImageTokens(config.processor, image->height, image->width));
    Append(tokenizer, qwen ? "<|im_start|>user\n<|vision_start|>" : "<|im_start|>user\n<img>", &ids);
    ids.insert(ids.end(), count, config.image_token_id);
    // Encoded as one text: where the newline ends up is the tokenizer's matter.
    Append(tokenizer, absl::StrCat(qwen ? "<|vision_end|>" : "</img>\n", text), &ids);
  } else {
    Append(tokenizer, absl::StrCat("<|im_start|>user\n", text), &ids);
  }
  Append(tokenizer, "<|im_end|>\n<|im_start|>assistant\n", &ids);
  return ids;
}

std::vector<int32_t> ResponseIds(const Tokenizer& tokenizer, const ModelConfig& config, absl::string_view text) {
  std::vector<int32_t> ids = tokenizer.Encode(text);
  if (!config.eos.empty()) ids.push_back(config.eos[0]);
  return ids;
}

absl::StatusOr<ProcessedImage> VisionInput(const ModelConfig& config, const Image& image) {
  if (!config.has_vision) return absl::InvalidArgumentError("the model takes no image");
  const ImageProcessorConfig& c = config.processor;
  const bool exact = c.kind == ImageProcessorConfig::Kind::kTiles && image.height == c.tile && image.width == c.tile;
  if (!exact || image.rgb.size() != static_cast<size_t>(c.tile) * c.tile * 3) return ProcessImage(c, image);
  SWERVE_ASSIGN_OR_RETURN(const int tokens, ImageTokens(c, image.height, image.width));
  if (tokens != c.tokens_per_tile) return ProcessImage(c, image);
  ProcessedImage out;
  out.tiles = 1;
  out.tokens = tokens;
  out.values = Normalised(image, c);
  return out;
}

absl::StatusOr<std::vector<int32_t>> RotaryPositions(const ModelConfig& config, const std::vector<int32_t>& ids,
                                                     const std::vector<std::shared_ptr<const ProcessedImage>>& images) {
  const size_t n = ids.size();
  std::vector<int32_t> out(3 * n);
  const bool grids = !config.text.mrope.empty() && !images.empty();
  int32_t next = 0;
  size_t image = 0;
  for (size_t i = 0; i < n;) {
    if (!grids || ids[i] != config.image_token_id) {
      for (int axis = 0; axis < 3; ++axis) out[axis * n + i] = next;
      ++next, ++i;
      continue;
    }
    size_t end = i;
    while (end < n && ids[end] == config.image_token_id) ++end;
    if (image >= images.size()) return absl::InvalidArgumentError("there are more runs of image placeholders than images");
    const ProcessedImage& p = *images[image++];
    const int rows = p.grid_h / config.vision.merge, columns = p.grid_w / config.vision.merge;
    if (static_cast<int64_t>(end - i) != int64_t{1} * p.grid_t * rows * columns) {
      return absl::InvalidArgumentError(absl::StrCat("a run of ", end - i, " image placeholders where image ", image - 1, " has ", p.grid_t * rows * columns, " cells"));
    }
    for (int t = 0; t < p.grid_t; ++t) {
      for (int r = 0; r < rows; ++r) {
        for (int c = 0; c < columns; ++c, ++i) out[i] = next + t, out[n + i] = next + r, out[2 * n + i] = next + c;
      }
    }
    next += std::max(rows, columns);
  }
  if (grids && image != images.size()) return absl::InvalidArgumentError("there are more images than runs of image placeholders");
  return out;
}

}  // namespace swerve
