// Which areas of a map hold a point, by one look-up: the surroundings of the ego in cells, each of which knows the areas
// that hold all of it and those whose outline may pass through it. Only the latter have to be asked, so an answer is
// exactly what asking every polygon gives. Immutable after construction and thread-safe; look-ups do not allocate.
#ifndef SWERVE_PDM_AREA_GRID_H_
#define SWERVE_PDM_AREA_GRID_H_

#include <array>
#include <cstdint>
#include <vector>

#include "pdm/geometry.h"
#include "pdm/types.h"

namespace swerve::pdm {

struct MapArea;

enum PlaceBit : uint8_t { kDrivablePlace = 1, kOnRoutePlace = 2, kIntersectionPlace = 4 };
inline constexpr int kGridLanes = 256;  // lanes that a grid tells apart

// What holds a point: bits over all areas, and each lane that does.
struct Place {
  uint8_t bits = 0;
  std::array<uint64_t, kGridLanes / 64> lanes{};
};

class AreaGrid {
 public:
  // Cells lie in rows along the x axis of `axis`, cell (0, 0) at `origin`. A border one cell wide stands for all outside.
  struct Frame {
    Vec2 origin, axis{1, 0};
    double per_metre = 1;
    int nx = 0, ny = 0;
  };

  AreaGrid() = default;  // empty: every point is outside
  // Around an ego at `ego` with that speed, as far as it can get in 4 s. `areas` must stay as they are while the grid is
  // used. A map with more lanes there than kGridLanes gets an empty grid.
  AreaGrid(const std::vector<MapArea>& areas, const Pose2& ego, double speed);

  bool empty() const { return ids_.empty(); }
  const Frame& frame() const { return frame_; }
  // Index of the cell in ids: 0 … (nx + 2)(ny + 2) - 1, row after row, border included.
  int CellOf(Vec2 p) const;
  // Kind of a cell: cells of one kind are alike. kOutside: nothing is known there.
  static constexpr int kOutside = 0;
  int kind(int cell) const { return ids_[cell]; }
  // No outline passes through cells of this kind: every point of them is in the same place.
  bool plain(int kind) const { return kinds_[kind].begin == kinds_[kind].end; }
  const Place& common(int kind) const { return kinds_[kind].place; }
  // Where `p` is, which lies in a cell of that kind.
  Place At(const std::vector<MapArea>& areas, int kind, Vec2 p) const;
  size_t bytes() const { return ids_.size() * sizeof ids_[0] + kinds_.size() * sizeof kinds_[0] + asked_.size() * 2; }

 private:
  struct Kind {
    Place place;                  // of areas that hold the whole cell
    uint32_t begin = 0, end = 0;  // of asked_: areas to ask
  };
  class Painter;

  Frame frame_;
  std::vector<uint16_t> ids_;
  std::vector<Kind> kinds_;
  std::vector<uint16_t> asked_;  // indices of areas
  std::vector<int16_t> lane_;    // per area: its number among the grid's lanes, or -1
  std::vector<uint8_t> bits_;    // per area
};

}  // namespace swerve::pdm

#endif  // SWERVE_PDM_AREA_GRID_H_
