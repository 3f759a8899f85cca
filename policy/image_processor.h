// Pictures to what a vision tower takes, as transformers' AutoProcessor (5.23, its default torchvision backend) gives it:
// InternVL's dynamic tiles with thumbnail, Qwen2.5-VL's patches in merge groups (spec models.md 2.2, 2.3). Within 1/255
// of the reference before normalisation. Torch-free, stateless, thread-safe; blocks for the arithmetic alone.
#ifndef SWERVE_POLICY_IMAGE_PROCESSOR_H_
#define SWERVE_POLICY_IMAGE_PROCESSOR_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/image.h"

namespace swerve {

// What the files of a model directory say about pictures.
struct ImageProcessorConfig {
  enum class Kind {
    kTiles,    // InternVL: square tiles of `tile` pixels
    kPatches,  // Qwen2.5-VL: flattened patches, size within [min_pixels, max_pixels]
  };
  Kind kind = Kind::kTiles;
  float mean[3] = {0.48145466f, 0.4578275f, 0.40821073f};
  float std[3] = {0.26862954f, 0.26130258f, 0.27577711f};
  double rescale = 1.0 / 255;

  // kTiles
  int tile = 448;             // side of a tile, pixels
  bool dynamic = true;        // cut into several tiles by aspect ratio; false: one tile
  bool thumbnail = true;      // the whole picture as a last tile when there is more than one
  int min_tiles = 1, max_tiles = 12;
  int tokens_per_tile = 256;  // placeholders in the prompt for one tile
  bool pillow = false;        // resized as Pillow does (original InternVL repository), not as torchvision does

  // kPatches
  int64_t min_pixels = 56 * 56, max_pixels = 28 * 28 * 1280;
  int patch = 14, temporal_patch = 2, merge = 2;
};

// Pixels of one picture.
struct ProcessedImage {
  std::vector<float> values;  // kTiles: [tiles, 3, tile, tile]; kPatches: [t·h·w, 3·temporal_patch·patch²]
  int tiles = 0;              // kTiles
  int grid_t = 0, grid_h = 0, grid_w = 0;  // kPatches: in patches; rows ordered (t, h/merge, w/merge, merge, merge)
  int tokens = 0;             // image placeholders that the prompt holds for this picture
};

// Reads config.json, preprocessor_config.json and processor_config.json (whose image_processor section counts first, as
// in transformers) of `model_dir`; what no file says has transformers' default. For "internvl_chat" the tiling is
// config.json's. For "internvl" pictures are cut whatever crop_to_patches says, as InternVLProcessor has it: a file that
// wants one tile says max_patches 1. NOT_FOUND (no config.json); INVALID_ARGUMENT names file and field that is malformed or not supported.
absl::StatusOr<ImageProcessorConfig> LoadImageProcessorConfig(const std::string& model_dir);

// INVALID_ARGUMENT: `image` does not hold height × width × 3 bytes, or (kPatches) its sides differ by more than 200×.
absl::StatusOr<ProcessedImage> ProcessImage(const ImageProcessorConfig& config, const Image& image);

// Placeholders for a picture of this size, without its pixels. INVALID_ARGUMENT as above.
absl::StatusOr<int> ImageTokens(const ImageProcessorConfig& config, int height, int width);

// Bicubic (a = -0.5) with antialiasing, 8 bits between the passes as the reference has it. `precise`: Pillow's weights
// (22 bits), otherwise torchvision's (16 bits). Sides must be positive.
Image ResizeBicubic(const Image& image, int height, int width, bool precise);

}  // namespace swerve

#endif  // SWERVE_POLICY_IMAGE_PROCESSOR_H_
