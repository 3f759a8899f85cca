#include "pdm/occupancy.h"

#include <algorithm>

namespace swerve::pdm {

int Observation::Add(std::string token, v1::ObjectType type, double length, double width, double speed) {
  ObjectInfo info;
  info.token = std::move(token);
  info.type = type;
  info.agent = IsAgent(type);
  info.stopped = !info.agent || speed <= 0.05;
  info_.push_back(std::move(info));
  Box absent{{std::nan(""), std::nan("")}, {1, 0}, length / 2, width / 2};
  radius_.push_back(absent.Radius());
  bounds_.emplace_back();
  boxes_.insert(boxes_.end(), samples_, absent);
  velocities_.insert(velocities_.end(), samples_, Vec2{});
  columns_.insert(columns_.end(), 2 * kObservedColumn, std::nan(""));
  chunks_.emplace_back();
  return size() - 1;
}

void Observation::Set(int object, int t, Vec2 centre, double heading, Vec2 velocity) {
  size_t i = static_cast<size_t>(object) * samples_ + t;
  boxes_[i].centre = centre;
  boxes_[i].axis = Direction(heading);
  velocities_[i] = velocity;
  const Bounds bounds = boxes_[i].GetBounds();
  bounds_[object].Add(bounds);
  double* column = &columns_[static_cast<size_t>(object) * 2 * kObservedColumn];
  column[t] = centre.x;
  column[kObservedColumn + t] = centre.y;
  for (int c = std::max(0, t - kLookahead.back()) / kChunk; c <= std::min(t / kChunk, kChunks - 1); ++c) {
    chunks_[object].Add(c, bounds);
  }
}

void Observation::Remove(int object) {
  for (int t = 0; t < samples_; ++t) boxes_[static_cast<size_t>(object) * samples_ + t].centre.x = std::nan("");
  std::fill_n(columns_.begin() + static_cast<size_t>(object) * 2 * kObservedColumn, 2 * kObservedColumn, std::nan(""));
  bounds_[object] = Bounds();
  chunks_[object] = MotionBounds();
}

DrivableMap::DrivableMap(std::vector<MapArea> areas, Polyline centreline)
    : areas_(std::move(areas)), centreline_(std::move(centreline)) {
  for (size_t i = 0; i < areas_.size(); ++i) {
    if (areas_[i].intersection) intersections_.push_back(static_cast<int>(i));
  }
}

void DrivableMap::PrepareFor(const EgoRow& ego) { grid_ = AreaGrid(areas_, {ego.x, ego.y, ego.heading}, ego.vx); }

AreasAlong DrivableMap::Along(const Motion& motion) const {
  if (grid_.empty()) return AlongPolygons(motion);
  EgoCells cells;
  FindCells(motion, grid_.frame(), &cells);
  AreasAlong out;
  for (int t = 0; t < kSamples; ++t) {
    std::array<int, 5> kind;
    for (int c = 0; c < 5; ++c) kind[c] = grid_.kind(cells.cell[c][t]);
    if (std::find(kind.begin(), kind.end(), AreaGrid::kOutside) != kind.end()) return AlongPolygons(motion);
    uint8_t flags = 0, all = 0;
    if (grid_.plain(kind[0]) && kind[0] == kind[1] && kind[0] == kind[2] && kind[0] == kind[3]) {
      all = grid_.common(kind[0]).bits;  // and each lane holds all four corners or none
    } else {
      std::array<Place, 4> at;
      for (int c = 0; c < 4; ++c) {
        at[c] = grid_.plain(kind[c]) ? grid_.common(kind[c])
                                     : grid_.At(areas_, kind[c], {motion.corner_x[c][t], motion.corner_y[c][t]});
      }
      all = at[0].bits & at[1].bits & at[2].bits & at[3].bits;
      int touched = 0;
      uint64_t shared = 0;
      for (size_t w = 0; w < at[0].lanes.size(); ++w) {
        touched += __builtin_popcountll(at[0].lanes[w] | at[1].lanes[w] | at[2].lanes[w] | at[3].lanes[w]);
        shared |= at[0].lanes[w] & at[1].lanes[w] & at[2].lanes[w] & at[3].lanes[w];
      }
      if (touched > 1 && shared == 0) flags |= kMulti;
    }
    if ((all & kDrivablePlace) == 0) flags |= kOff;
    const uint8_t centre =
        (grid_.plain(kind[4]) ? grid_.common(kind[4]) : grid_.At(areas_, kind[4], motion.Centre(t))).bits;
    if ((centre & kOnRoutePlace) == 0) flags |= kOncoming;
    out.flags[t] = flags;
    out.crossing[t] = (centre & kIntersectionPlace) != 0;
  }
  return out;
}

AreasAlong DrivableMap::AlongPolygons(const Motion& motion) const {
  std::array<Bounds, kSamples> bounds;
  Bounds all;
  std::array<std::array<Vec2, 4>, kSamples> corners;
  for (int t = 0; t < kSamples; ++t) {
    for (int c = 0; c < 4; ++c) {
      corners[t][c] = {motion.corner_x[c][t], motion.corner_y[c][t]};
      bounds[t].Add(corners[t][c]);
    }
    all.Add(bounds[t]);
  }
  std::array<uint8_t, kSamples> lanes_touched{}, drivable_corners{};
  std::array<bool, kSamples> one_lane_holds_all{}, centre_on_route{};
  AreasAlong out;
  for (const MapArea& area : areas_) {
    if (!(area.lane || area.drivable) || !area.polygon.bounds().Overlaps(all)) continue;
    for (int t = 0; t < kSamples; ++t) {
      if (!area.polygon.bounds().Overlaps(bounds[t])) continue;
      if (area.intersection && !out.crossing[t]) out.crossing[t] = area.polygon.Contains(motion.Centre(t));
      if (!area.lane && drivable_corners[t] == 15) continue;
      unsigned inside = 0;
      for (int c = 0; c < 4; ++c) inside |= static_cast<unsigned>(area.polygon.Contains(corners[t][c])) << c;
      if (area.drivable) drivable_corners[t] |= inside;
      if (area.lane && inside != 0) {
        if (lanes_touched[t] < 2) ++lanes_touched[t];
        if (inside == 15) one_lane_holds_all[t] = true;
      }
      if (area.on_route && !centre_on_route[t]) centre_on_route[t] = area.polygon.Contains(motion.Centre(t));
    }
  }
  for (int t = 0; t < kSamples; ++t) {
    if (lanes_touched[t] > 1 && !one_lane_holds_all[t]) out.flags[t] |= kMulti;
    if (drivable_corners[t] != 15) out.flags[t] |= kOff;
    if (!centre_on_route[t]) out.flags[t] |= kOncoming;
  }
  return out;
}

bool DrivableMap::InIntersection(Vec2 p) const {
  if (!grid_.empty()) {
    const int kind = grid_.kind(grid_.CellOf(p));
    if (kind != AreaGrid::kOutside) {
      return ((grid_.plain(kind) ? grid_.common(kind) : grid_.At(areas_, kind, p)).bits & kIntersectionPlace) != 0;
    }
  }
  return std::any_of(intersections_.begin(), intersections_.end(),
                     [&](int i) { return areas_[i].polygon.Contains(p); });
}

double DrivableMap::DistanceToDrivable(Vec2 p) const {
  double best = std::numeric_limits<double>::infinity();
  for (const MapArea& area : areas_) {
    if (area.drivable && area.polygon.Contains(p)) return 0;
  }
  for (const MapArea& area : areas_) {
    if (!area.drivable || area.polygon.bounds().DistanceTo(p) >= best) continue;
    best = std::min(best, area.polygon.BoundaryDistance(p));
  }
  return best;
}

}  // namespace swerve::pdm
