#include "pdm/area_grid.h"

#include <algorithm>
#include <optional>

#include "pdm/occupancy.h"

namespace swerve::pdm {
namespace {

constexpr int kNx = 192, kNy = 128;
constexpr double kSmallestCell = 0.4, kBehind = 12;  // m
constexpr double kMargin = 1e-5;                     // cells; more than what rounding can move a point
constexpr size_t kMostKinds = 65535;

uint8_t BitsOf(const MapArea& area) {
  return static_cast<uint8_t>((area.drivable ? kDrivablePlace : 0) | (area.on_route ? kOnRoutePlace : 0) |
                              (area.intersection ? kIntersectionPlace : 0));
}

void AddTo(uint8_t bits, int lane, Place* place) {
  place->bits |= bits;
  if (lane >= 0) place->lanes[lane / 64] |= uint64_t{1} << (lane % 64);
}

}  // namespace

// Lays one area after the other over the cells.
class AreaGrid::Painter {
 public:
  Painter(const std::vector<MapArea>& areas, AreaGrid* grid)
      : areas_(areas), grid_(*grid), stamps_(grid->ids_.size(), 0), stride_(grid->frame_.nx + 2) {}

  // False when there are too many kinds of cells, or coordinates that no map has.
  bool Paint(int area) {
    area_ = area;
    whole_.assign(grid_.kinds_.size(), 0);
    crossed_.assign(grid_.kinds_.size(), 0);
    lo_.assign(grid_.frame_.ny, grid_.frame_.nx);
    hi_.assign(grid_.frame_.ny, -1);
    Bounds bounds;  // in cells
    for (const auto& ring : areas_[area].polygon.rings()) {
      for (size_t i = 0; i < ring.size(); ++i) {
        const Vec2 a = ToCells(ring[i]), b = ToCells(ring[(i + 1) % ring.size()]);
        bounds.Add(a);
        StampEdge(a, b);
      }
    }
    constexpr double kFar = 1e9;
    if (!(bounds.x0 > -kFar && bounds.y0 > -kFar && bounds.x1 < kFar && bounds.y1 < kFar)) return false;
    const Frame& f = grid_.frame_;
    if (!(bounds.x1 >= 0 && bounds.y1 >= 0 && bounds.x0 <= f.nx && bounds.y0 <= f.ny)) return true;
    const int first = Clip(bounds.y0, f.ny), last = Clip(bounds.y1, f.ny);
    for (int row = first; row <= last; ++row) {
      // Outside of its outline's cells the area holds nothing, unless the outline goes on beyond the grid.
      const int from = bounds.x0 < 0 ? 0 : lo_[row], to = bounds.x1 > f.nx ? f.nx - 1 : hi_[row];
      Fill(row, from, to);
    }
    return grid_.kinds_.size() <= kMostKinds;
  }

 private:
  Vec2 ToCells(Vec2 p) const {
    const Frame& f = grid_.frame_;
    const Vec2 d = p - f.origin;
    return {Dot(f.axis, d) * f.per_metre, Cross(f.axis, d) * f.per_metre};
  }
  Vec2 Middle(int ix, int iy) const {
    const Frame& f = grid_.frame_;
    const double x = (ix + 0.5) / f.per_metre, y = (iy + 0.5) / f.per_metre;
    return {f.origin.x + x * f.axis.x - y * f.axis.y, f.origin.y + x * f.axis.y + y * f.axis.x};
  }
  static int Clip(double v, int n) { return static_cast<int>(std::clamp(std::floor(v), 0.0, n - 1.0)); }

  // Stamps every cell that the edge touches or comes near to.
  void StampEdge(Vec2 a, Vec2 b) {
    const Frame& f = grid_.frame_;
    const double y0 = std::min(a.y, b.y) - kMargin, y1 = std::max(a.y, b.y) + kMargin;
    if (!(y1 >= 0 && y0 < f.ny)) return;
    const bool level = std::fabs(b.y - a.y) < 1e-3;
    for (int row = Clip(y0, f.ny), last = Clip(y1, f.ny); row <= last; ++row) {
      auto at = [&](double y) { return a.x + std::clamp((y - a.y) / (b.y - a.y), 0.0, 1.0) * (b.x - a.x); };
      const double p = level ? a.x : at(row - kMargin), q = level ? b.x : at(row + 1 + kMargin);
      const double x0 = std::min(p, q) - kMargin, x1 = std::max(p, q) + kMargin;
      if (!(x1 >= 0 && x0 < f.nx)) continue;
      const int from = Clip(x0, f.nx), to = Clip(x1, f.nx);
      lo_[row] = std::min(lo_[row], from);
      hi_[row] = std::max(hi_[row], to);
      std::fill_n(stamps_.begin() + (row + 1) * stride_ + from + 1, to - from + 1, area_ + 1);
    }
  }

  void Fill(int row, int from, int to) {
    std::optional<bool> inside;  // of the run of unstamped cells that we are in
    for (int ix = from; ix <= to; ++ix) {
      const int cell = (row + 1) * stride_ + ix + 1;
      uint16_t& id = grid_.ids_[cell];
      if (stamps_[cell] == area_ + 1) {
        id = Crossed(id);
        inside.reset();
        continue;
      }
      if (!inside.has_value()) inside = areas_[area_].polygon.Contains(Middle(ix, row));
      if (*inside) id = Whole(id);
    }
  }

  // The kind of a cell once this area holds it, or passes through it.
  uint16_t Whole(uint16_t id) {
    if (whole_[id] == 0) {
      Kind kind = grid_.kinds_[id];
      AddTo(grid_.bits_[area_], grid_.lane_[area_], &kind.place);
      whole_[id] = Append(kind);
    }
    return whole_[id];
  }
  uint16_t Crossed(uint16_t id) {
    if (crossed_[id] == 0) {
      Kind kind = grid_.kinds_[id];
      std::vector<uint16_t>& asked = grid_.asked_;
      const uint32_t begin = static_cast<uint32_t>(asked.size());
      for (uint32_t i = kind.begin; i < kind.end; ++i) asked.push_back(uint16_t{asked[i]});
      asked.push_back(static_cast<uint16_t>(area_));
      kind.begin = begin;
      kind.end = static_cast<uint32_t>(asked.size());
      crossed_[id] = Append(kind);
    }
    return crossed_[id];
  }
  uint16_t Append(const Kind& kind) {
    grid_.kinds_.push_back(kind);
    return static_cast<uint16_t>(grid_.kinds_.size() - 1);
  }

  const std::vector<MapArea>& areas_;
  AreaGrid& grid_;
  std::vector<int> stamps_;  // per cell: the last area whose outline touched it, plus one
  const int stride_;
  int area_ = 0;
  std::vector<uint16_t> whole_, crossed_;  // per kind: what it becomes with this area; 0: not yet known
  std::vector<int> lo_, hi_;               // per row: first and last stamped cell
};

AreaGrid::AreaGrid(const std::vector<MapArea>& areas, const Pose2& ego, double speed) {
  const double ahead = std::clamp(4.2 * std::fabs(speed) + 24, 36.0, 300.0);
  const double cell = std::max(kSmallestCell, (ahead + kBehind) / kNx);
  frame_.axis = Direction(ego.heading);
  frame_.per_metre = 1 / cell;
  frame_.nx = kNx;
  frame_.ny = kNy;
  frame_.origin = Vec2{ego.x, ego.y} - kBehind * frame_.axis - (kNy / 2 * cell) * Vec2{-frame_.axis.y, frame_.axis.x};
  if (areas.size() > kMostKinds) return;
  std::vector<uint16_t> ids(static_cast<size_t>(kNx + 2) * (kNy + 2), kOutside);
  for (int row = 1; row <= kNy; ++row) std::fill_n(ids.begin() + row * (kNx + 2) + 1, kNx, uint16_t{1});
  ids_ = std::move(ids);
  kinds_.resize(2);  // outside, and what no area holds
  int lanes = 0;
  Painter painter(areas, this);
  for (size_t i = 0; i < areas.size(); ++i) {
    lane_.push_back(areas[i].lane ? static_cast<int16_t>(std::min(lanes++, kGridLanes)) : int16_t{-1});
    bits_.push_back(BitsOf(areas[i]));
    if (!areas[i].lane && !areas[i].drivable) continue;
    const size_t before = kinds_.size();
    if (lanes > kGridLanes || !painter.Paint(static_cast<int>(i))) {
      ids_.clear();
      return;
    }
    if (areas[i].lane && kinds_.size() == before) --lanes;  // nowhere in the grid
  }
  // Areas that could add nothing need not be asked.
  std::vector<uint16_t> asked;
  for (Kind& kind : kinds_) {
    const uint32_t begin = static_cast<uint32_t>(asked.size());
    for (uint32_t i = kind.begin; i < kind.end; ++i) {
      const uint16_t area = asked_[i];
      if (lane_[area] >= 0 || (bits_[area] & ~kind.place.bits) != 0) asked.push_back(area);
    }
    kind.begin = begin;
    kind.end = static_cast<uint32_t>(asked.size());
  }
  asked_ = std::move(asked);
}

int AreaGrid::CellOf(Vec2 p) const {
  const Vec2 d = p - frame_.origin;
  const double x = Dot(frame_.axis, d) * frame_.per_metre, y = Cross(frame_.axis, d) * frame_.per_metre;
  if (!(x >= 0 && y >= 0 && x < frame_.nx && y < frame_.ny)) return 0;
  return (static_cast<int>(y) + 1) * (frame_.nx + 2) + static_cast<int>(x) + 1;
}

Place AreaGrid::At(const std::vector<MapArea>& areas, int kind, Vec2 p) const {
  const Kind& k = kinds_[kind];
  Place place = k.place;
  for (uint32_t i = k.begin; i < k.end; ++i) {
    const uint16_t area = asked_[i];
    if (areas[area].polygon.Contains(p)) AddTo(bits_[area], lane_[area], &place);
  }
  return place;
}

}  // namespace swerve::pdm
