// The bird's-eye grid of the nuScenes planning benchmarks (spec: systems §1.6): 200 × 200 cells of 0.5 m, centred on the
// reference point at t = 0, x forward, y left, axes fixed to the present. The published evaluators of UniAD and ST-P3 decide
// collisions on it, so a collision rate is comparable only when it is decided here and not by exact geometry:
//   road users  corners rounded to the nearest cell, then the polygon between them filled, its outline included
//   ego         4.084 × 1.85 m, its middle 0.5 m ahead of the planned point, never turned: the 8 × 4 cells whose centres
//               such a box covers, moved by the planned point and cut down to whole cells
// One difference, on purpose: where the evaluators press ego cells beyond the edge back onto the edge (and can so report a
// hit 20 m from the car), those cells are dropped here. Outside the grid nothing is known, so nothing is hit.
// A plain value, not synchronised. Metres.
#ifndef SWERVE_EVALUATION_BEV_OCCUPANCY_H_
#define SWERVE_EVALUATION_BEV_OCCUPANCY_H_

#include <array>
#include <bitset>

#include "scenes/view.h"

namespace swerve {

inline constexpr int kBevCells = 200;
inline constexpr double kBevCell = 0.5;   // m
inline constexpr double kBevHalf = 50.0;  // m

class BevOccupancy {
 public:
  // Cell (row, column): row counts from the rear edge forward, column from the right edge to the left.
  bool At(int row, int column) const { return Inside(row, column) && cells_[row * kBevCells + column]; }
  int Count() const { return static_cast<int>(cells_.count()); }

  // A road user's box. Corners in order around it; one that is not finite leaves the grid as it is.
  void FillBox(const std::array<Vec2, 4>& corners);

  // Whether the ego, with its reference point here, covers an occupied cell. False for a point that is not finite.
  bool EgoHits(Vec2 reference) const;

 private:
  struct Cell {
    int row, column;
  };
  static bool Inside(int row, int column) {
    return row >= 0 && row < kBevCells && column >= 0 && column < kBevCells;
  }
  void Set(int row, int column) {
    if (Inside(row, column)) cells_.set(row * kBevCells + column);
  }
  void DrawLine(Cell from, Cell to);

  std::bitset<kBevCells * kBevCells> cells_;
};

}  // namespace swerve

#endif  // SWERVE_EVALUATION_BEV_OCCUPANCY_H_
