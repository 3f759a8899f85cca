// Where the patches of a picture lie, as Qwen2.5-VL's vision tower sees them (spec models.md 2.3). Torch-free, pure.
#ifndef SWERVE_POLICY_QWEN_GRID_H_
#define SWERVE_POLICY_QWEN_GRID_H_

#include <vector>

#include "policy/image_processor.h"
#include "policy/model_config.h"

namespace swerve {

// Patches keep the preprocessor's order (cells of merge × merge patches); who attends to whom is a matter of lists.
struct QwenGrid {
  std::vector<int> row, column;           // of every patch, in patches
  std::vector<std::vector<int>> windows;  // patches that attend to each other in a windowed block
  std::vector<std::vector<int>> frames;   // … in a full block
};
QwenGrid GridOf(const VisionConfig& config, const ProcessedImage& image);

// Full attention in this block.
bool IsFullBlock(const VisionConfig& config, int block);

}  // namespace swerve

#endif  // SWERVE_POLICY_QWEN_GRID_H_
