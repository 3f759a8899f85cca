// An image file, JPEG or PNG; what decodes goes through the preprocessors of InternVL and Qwen2.5-VL.
#include "policy/image_file.h"
#include "policy/image_processor.h"
#include "tests/fuzz/require.h"

using swerve::testing::Require;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto image = swerve::DecodeImage({reinterpret_cast<const char*>(data), size});
  if (!image.ok()) return 0;
  Require(image->width > 0 && image->height > 0);
  Require(image->rgb.size() == size_t{3} * image->width * image->height);
  if (int64_t{image->width} * image->height > 1 << 16) return 0;
  using Config = swerve::ImageProcessorConfig;
  static const Config tiles = {.tile = 28, .tokens_per_tile = 1}, patches = {.kind = Config::Kind::kPatches, .min_pixels = 28 * 28, .max_pixels = 28 * 28 * 16};
  for (const Config& config : {tiles, patches}) {
    const auto processed = swerve::ProcessImage(config, *image);
    const auto tokens = swerve::ImageTokens(config, image->height, image->width);
    Require(processed.ok() == tokens.ok());
    if (tokens.ok()) Require(processed->tokens == *tokens && *tokens > 0);
  }
  return 0;
}
