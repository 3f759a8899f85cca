// Lays roads: lanes with polygons and baselines, roadblocks, connectors and intersections, in the vocabulary of
// nuPlan's maps. Lane and roadblock ids are small numbers as text, unique within one builder.
#ifndef SWERVE_SCENES_GENERATOR_MAP_BUILDER_H_
#define SWERVE_SCENES_GENERATOR_MAP_BUILDER_H_

#include <string>
#include <utility>
#include <vector>

#include "scenes/generator/path.h"
#include "swerve/v1/scene.pb.h"

namespace swerve::generator {

// One roadblock: parallel lanes of one direction. Lane 0 is the rightmost.
struct Road {
  std::string block;
  std::vector<std::string> lanes;
  std::vector<Path> centers;  // one per lane, in driving direction
  double width = 3.5;
};

struct RoadSpec {
  int lanes = 1;
  double lane_width = 3.5;   // m
  double right_offset = 0;   // of the rightmost lane's centre from the path, left positive
  double shoulder = 0.3;     // drivable strip right of the rightmost lane, m
  double median = 0.0;       // drivable strip left of the leftmost lane, m
  double speed_limit = 13.9; // m/s
  bool polygon = true;       // false: the drivable polygon is drawn by the caller
  bool marked = true;        // false: no lane lines (lanes are typed as connectors, which have none)
};

class MapBuilder {
 public:
  // Roadblock along `path`.
  Road AddRoad(const Path& path, const RoadSpec& spec);
  // Connector between lane ends; returns it as a road of one lane. All connectors between the same pair of roads share
  // one roadblock connector.
  Road Connect(const Road& from, int from_lane, const Road& to, int to_lane, double speed_limit);
  // Links lane ends that already touch (lane i to lane i + shift).
  void Join(const Road& from, const Road& to, int shift = 0);
  // A drivable area that is no lane.
  void Area(v1::MapType type, const std::vector<std::pair<double, double>>& ring);
  // A ring along `path` from `right` to `left` (both left positive), sampled where the path is.
  static std::vector<std::pair<double, double>> Strip(const Path& path, double right, double left);

  const v1::SceneMap& map() const { return map_; }
  v1::SceneMap* mutable_map() { return &map_; }

 private:
  std::string NextId() { return std::to_string(++next_id_); }
  void Polygon(const std::string& id, v1::MapType type, const std::vector<std::pair<double, double>>& ring);
  void AddLane(const std::string& id, const std::string& block, const Path& center, double width, double limit,
               v1::MapType type);
  v1::Lane* FindLane(const std::string& id);
  v1::Roadblock* FindBlock(const std::string& id);
  void Link(const std::string& from_lane, const std::string& to_lane);
  void LinkBlocks(const std::string& from, const std::string& to);

  v1::SceneMap map_;
  int next_id_ = 100;
  std::vector<std::pair<std::pair<std::string, std::string>, std::string>> connectors_;  // (from, to) -> block
};

}  // namespace swerve::generator

#endif  // SWERVE_SCENES_GENERATOR_MAP_BUILDER_H_
