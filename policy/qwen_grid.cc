#include "policy/qwen_grid.h"

#include <algorithm>

namespace swerve {

QwenGrid GridOf(const VisionConfig& c, const ProcessedImage& image) {
  QwenGrid out;
  const int m = c.merge, rows = image.grid_h / m, columns = image.grid_w / m, side = c.window / m / c.patch;
  for (int t = 0; t < image.grid_t; ++t) {
    const int first = t * rows * columns * m * m;
    std::vector<int>& frame = out.frames.emplace_back();
    for (int cell = 0; cell < rows * columns; ++cell) {
      for (int i = 0; i < m * m; ++i) {
        out.row.push_back(cell / columns * m + i / m);
        out.column.push_back(cell % columns * m + i % m);
        frame.push_back(first + cell * m * m + i);
      }
    }
    for (int top = 0; top < rows; top += side) {
      for (int left = 0; left < columns; left += side) {
        std::vector<int>& window = out.windows.emplace_back();
        for (int r = top; r < std::min(rows, top + side); ++r) {
          for (int k = left; k < std::min(columns, left + side); ++k) {
            for (int i = 0; i < m * m; ++i) window.push_back(first + (r * columns + k) * m * m + i);
          }
        }
      }
    }
  }
  return out;
}

bool IsFullBlock(const VisionConfig& c, int block) {
  return std::find(c.full_blocks.begin(), c.full_blocks.end(), block) != c.full_blocks.end();
}

}  // namespace swerve
