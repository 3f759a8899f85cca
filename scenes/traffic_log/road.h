// The road of one recording: drivable area by the rules of its source, lane polygons, lane graph, and the chain of lanes
// that a trajectory follows. Map frame. Immutable once built; not thread-safe (GEOS context), one per recording.
#ifndef SWERVE_SCENES_TRAFFIC_LOG_ROAD_H_
#define SWERVE_SCENES_TRAFFIC_LOG_ROAD_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/types/span.h"
#include "base/status.h"
#include "scenes/traffic_log/recording.h"
#include "swerve/v1/scene.pb.h"

namespace swerve {

class Road {
 public:
  struct Bounds {
    double x0, y0, x1, y1;
  };

  // Drivable area:
  //   commonroad_ngsim  union of the lane polygons, 0.5 m outward tolerance
  //   nuscenes_mini     lane polygons where there are any, and every centreline buffered by 2.5 m
  //   others (womd*)    every centreline buffered by 3.0 m
  // Baselines are resampled at 2 m. Lanes without polygon get a strip of their recorded width, else 3.5 m. Successors
  // come from the file; a file without any gets them by geometry (ends within 1.5 m and 35°). Same-direction neighbours
  // share a roadblock. INVALID_ARGUMENT: no usable lane.
  static absl::StatusOr<std::unique_ptr<Road>> Build(const Recording& recording);
  ~Road();

  // Writes the part of the map inside `bounds`.
  void FillMap(const Bounds& bounds, v1::SceneMap* map) const;

  // Roadblocks of the chain of lanes that fits `trajectory` best, continued at least `beyond` metres past its end where
  // the map goes on. `trajectory`: points of the ego's way, first the present. Empty: it follows no lane.
  std::vector<std::string> RouteOf(absl::Span<const Vec2> trajectory, double heading, double beyond) const;

 private:
  struct Geometry;
  struct RoadLane {
    const LogLane* log = nullptr;
    Path baseline;
    std::vector<Vec2> polygon;
    bool connector = false;
    int block = 0;
    std::vector<int> incoming, outgoing;
  };
  explicit Road(const Recording& recording);
  void Link(const Recording& recording);
  void LinkByGeometry();
  void GroupIntoBlocks();
  void Extend(std::vector<int>* chain, double length) const;
  void FillBlocks(const std::vector<int>& lanes, v1::SceneMap* map) const;

  std::vector<RoadLane> lanes_;
  absl::flat_hash_map<std::string, int> by_id_;
  std::unique_ptr<Geometry> geometry_;
};

}  // namespace swerve

#endif  // SWERVE_SCENES_TRAFFIC_LOG_ROAD_H_
