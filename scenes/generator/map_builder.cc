#include "scenes/generator/map_builder.h"

#include <algorithm>
#include <cmath>

namespace swerve::generator {
namespace {

using PointList = std::vector<std::pair<double, double>>;

// Vertices of a line that matter to a polygon: straight runs keep only their ends, so that scoring stays fast.
std::vector<Pose> Corners(const std::vector<Pose>& poses) {
  std::vector<Pose> out{poses.front()};
  for (size_t i = 1; i + 1 < poses.size(); ++i) {
    if (std::abs(poses[i + 1].heading - out.back().heading) > 0.03) out.push_back(poses[i]);
  }
  out.push_back(poses.back());
  return out;
}

}  // namespace

PointList MapBuilder::Strip(const Path& path, double right, double left) {
  const std::vector<Pose> line = Corners(path.poses());
  PointList ring;
  for (const Pose& p : line) {
    const Pose q = Shift(p, right);
    ring.emplace_back(q.x, q.y);
  }
  for (size_t i = line.size(); i-- > 0;) {
    const Pose q = Shift(line[i], left);
    ring.emplace_back(q.x, q.y);
  }
  return ring;
}

void MapBuilder::Polygon(const std::string& id, v1::MapType type, const PointList& ring) {
  v1::MapPolygon* polygon = map_.add_polygons();
  polygon->set_token(id);
  polygon->set_type(type);
  for (const auto& [x, y] : ring) {
    polygon->mutable_exterior()->add_xy(x);
    polygon->mutable_exterior()->add_xy(y);
  }
}

void MapBuilder::Area(v1::MapType type, const PointList& ring) { Polygon(NextId(), type, ring); }

void MapBuilder::AddLane(const std::string& id, const std::string& block, const Path& center, double width, double limit,
                         v1::MapType type) {
  Polygon(id, type, Strip(center, -width / 2, width / 2));
  v1::Lane* lane = map_.add_lanes();
  lane->set_id(id);
  lane->set_roadblock(block);
  lane->set_speed_limit(limit);
  for (const Pose& p : center.poses()) {
    v1::Pose* q = lane->add_baseline();
    q->set_x(p.x), q->set_y(p.y), q->set_heading(p.heading);
  }
}

Road MapBuilder::AddRoad(const Path& path, const RoadSpec& spec) {
  Road road;
  road.block = NextId();
  road.width = spec.lane_width;
  map_.add_roadblocks()->set_id(road.block);
  const double right = spec.right_offset - spec.lane_width / 2 - spec.shoulder;
  const double left = spec.right_offset + (spec.lanes - 0.5) * spec.lane_width + spec.median;
  if (spec.polygon) Polygon(road.block, v1::ROADBLOCK, Strip(path, right, left));
  for (int i = 0; i < spec.lanes; ++i) {
    road.lanes.push_back(NextId());
    road.centers.push_back(path.Offset(spec.right_offset + i * spec.lane_width));
    AddLane(road.lanes.back(), road.block, road.centers.back(), spec.lane_width, spec.speed_limit,
            spec.marked ? v1::LANE : v1::LANE_CONNECTOR);
  }
  return road;
}

Road MapBuilder::Connect(const Road& from, int from_lane, const Road& to, int to_lane, double speed_limit) {
  const std::pair<std::string, std::string> key{from.block, to.block};
  auto known = std::find_if(connectors_.begin(), connectors_.end(), [&](const auto& c) { return c.first == key; });
  Road road;
  road.width = from.width;
  Path center(from.centers[from_lane].end());
  center.BlendTo(to.centers[to_lane].start());
  const bool first = known == connectors_.end();
  road.block = first ? NextId() : known->second;
  if (first) {
    map_.add_roadblocks()->set_id(road.block);
    connectors_.emplace_back(key, road.block);
    Polygon(road.block, v1::ROADBLOCK_CONNECTOR, Strip(center, -road.width / 2, road.width / 2));
    LinkBlocks(from.block, road.block);
    LinkBlocks(road.block, to.block);
  }
  road.lanes.push_back(NextId());
  AddLane(road.lanes.back(), road.block, center, road.width, speed_limit, v1::LANE_CONNECTOR);
  Link(from.lanes[from_lane], road.lanes.back());
  Link(road.lanes.back(), to.lanes[to_lane]);
  road.centers.push_back(std::move(center));
  return road;
}

void MapBuilder::Join(const Road& from, const Road& to, int shift) {
  LinkBlocks(from.block, to.block);
  for (int i = 0; i < static_cast<int>(from.lanes.size()); ++i) {
    if (i + shift >= 0 && i + shift < static_cast<int>(to.lanes.size())) Link(from.lanes[i], to.lanes[i + shift]);
  }
}

v1::Lane* MapBuilder::FindLane(const std::string& id) {
  for (v1::Lane& lane : *map_.mutable_lanes()) {
    if (lane.id() == id) return &lane;
  }
  return nullptr;
}

v1::Roadblock* MapBuilder::FindBlock(const std::string& id) {
  for (v1::Roadblock& block : *map_.mutable_roadblocks()) {
    if (block.id() == id) return &block;
  }
  return nullptr;
}

void MapBuilder::Link(const std::string& from, const std::string& to) {
  FindLane(from)->add_outgoing(to);
  FindLane(to)->add_incoming(from);
}

void MapBuilder::LinkBlocks(const std::string& from, const std::string& to) {
  FindBlock(from)->add_outgoing(to);
  FindBlock(to)->add_incoming(from);
}

}  // namespace swerve::generator
