#include "evaluation/bev_occupancy.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

namespace swerve {
namespace {

// Cells whose centres lie in the ego's box when its reference point is the grid's middle: [-1.542, 2.542] × [-0.925, 0.925].
constexpr int kEgoFirstRow = 97, kEgoLastRow = 104, kEgoFirstColumn = 98, kEgoLastColumn = 101;

// Corners further out than this are cut: more than any road user needs, and little enough to walk along.
constexpr double kFarthestCell = 4096;

int NearestCell(double metres) {
  return static_cast<int>(std::clamp(std::nearbyint((metres + kBevHalf) / kBevCell), -kFarthestCell, kFarthestCell));
}

}  // namespace

void BevOccupancy::DrawLine(Cell a, Cell b) {
  const int rows = std::abs(b.row - a.row), columns = std::abs(b.column - a.column);
  const int row_step = a.row < b.row ? 1 : -1, column_step = a.column < b.column ? 1 : -1;
  int error = rows - columns;
  while (true) {
    Set(a.row, a.column);
    if (a.row == b.row && a.column == b.column) return;
    const int doubled = 2 * error;
    if (doubled > -columns) {
      error -= columns;
      a.row += row_step;
    }
    if (doubled < rows) {
      error += rows;
      a.column += column_step;
    }
  }
}

void BevOccupancy::FillBox(const std::array<Vec2, 4>& corners) {
  std::array<Cell, 4> c;
  int first_row = kBevCells, last_row = -1, first_column = kBevCells, last_column = -1;
  for (int i = 0; i < 4; ++i) {
    if (!std::isfinite(corners[i].x) || !std::isfinite(corners[i].y)) return;
    c[i] = {NearestCell(corners[i].x), NearestCell(corners[i].y)};
    first_row = std::min(first_row, c[i].row);
    last_row = std::max(last_row, c[i].row);
    first_column = std::min(first_column, c[i].column);
    last_column = std::max(last_column, c[i].column);
  }
  if (last_row < 0 || first_row >= kBevCells || last_column < 0 || first_column >= kBevCells) return;
  for (int row = std::max(first_row, 0); row <= std::min(last_row, kBevCells - 1); ++row) {
    for (int column = std::max(first_column, 0); column <= std::min(last_column, kBevCells - 1); ++column) {
      bool inside = false;
      for (int i = 0, j = 3; i < 4; j = i++) {
        if ((c[i].row > row) == (c[j].row > row)) continue;
        const double crossing = c[i].column + static_cast<double>(c[j].column - c[i].column) * (row - c[i].row) /
                                                  (c[j].row - c[i].row);
        inside = inside != (column < crossing);
      }
      if (inside) Set(row, column);
    }
  }
  for (int i = 0; i < 4; ++i) DrawLine(c[i], c[(i + 1) % 4]);
}

bool BevOccupancy::EgoHits(Vec2 reference) const {
  const double x = reference.x / kBevCell, y = reference.y / kBevCell;
  // Nothing of the ego is inside from a grid's length away; the casts below stay in range.
  if (!(std::abs(x) < 2 * kBevCells) || !(std::abs(y) < 2 * kBevCells)) return false;
  for (int row = kEgoFirstRow; row <= kEgoLastRow; ++row) {
    for (int column = kEgoFirstColumn; column <= kEgoLastColumn; ++column) {
      if (At(static_cast<int>(std::floor(x + row)), static_cast<int>(std::floor(y + column)))) return true;
    }
  }
  return false;
}

}  // namespace swerve
