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
  return size() - 1;
}

void Observation::Set(int object, int t, Vec2 centre, double heading, Vec2 velocity) {
  size_t i = static_cast<size_t>(object) * samples_ + t;
  boxes_[i].centre = centre;
  boxes_[i].axis = Direction(heading);
  velocities_[i] = velocity;
  bounds_[object].Add(boxes_[i].GetBounds());
}

void Observation::Remove(int object) {
  for (int t = 0; t < samples_; ++t) boxes_[static_cast<size_t>(object) * samples_ + t].centre.x = std::nan("");
  bounds_[object] = Bounds();
}

DrivableMap::DrivableMap(std::vector<MapArea> areas, Polyline centreline)
    : areas_(std::move(areas)), centreline_(std::move(centreline)) {
  for (size_t i = 0; i < areas_.size(); ++i) {
    if (areas_[i].intersection) intersections_.push_back(static_cast<int>(i));
  }
}

std::array<uint8_t, kSamples> DrivableMap::Flags(absl::Span<const Box> boxes) const {
  std::array<Bounds, kSamples> bounds;
  Bounds all;
  for (int t = 0; t < kSamples; ++t) {
    bounds[t] = boxes[t].GetBounds();
    all.Add(bounds[t]);
  }
  std::array<uint8_t, kSamples> lanes_touched{}, drivable_corners{};
  std::array<bool, kSamples> one_lane_holds_all{}, centre_on_route{};
  std::array<std::array<Vec2, 4>, kSamples> corners;
  for (int t = 0; t < kSamples; ++t) corners[t] = boxes[t].Corners();
  for (const MapArea& area : areas_) {
    if (!(area.lane || area.drivable) || !area.polygon.bounds().Overlaps(all)) continue;
    for (int t = 0; t < kSamples; ++t) {
      if (!area.polygon.bounds().Overlaps(bounds[t])) continue;
      if (!area.lane && drivable_corners[t] == 15) continue;
      unsigned inside = 0;
      for (int c = 0; c < 4; ++c) inside |= static_cast<unsigned>(area.polygon.Contains(corners[t][c])) << c;
      if (area.drivable) drivable_corners[t] |= inside;
      if (area.lane && inside != 0) {
        if (lanes_touched[t] < 2) ++lanes_touched[t];
        if (inside == 15) one_lane_holds_all[t] = true;
      }
      if (area.on_route && !centre_on_route[t]) centre_on_route[t] = area.polygon.Contains(boxes[t].centre);
    }
  }
  std::array<uint8_t, kSamples> flags{};
  for (int t = 0; t < kSamples; ++t) {
    if (lanes_touched[t] > 1 && !one_lane_holds_all[t]) flags[t] |= kMulti;
    if (drivable_corners[t] != 15) flags[t] |= kOff;
    if (!centre_on_route[t]) flags[t] |= kOncoming;
  }
  return flags;
}

bool DrivableMap::InIntersection(Vec2 p) const {
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
