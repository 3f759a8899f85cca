// What the ego can meet: the objects of a scene on the 10 Hz grid, and the areas of its map. Local frame.
// Immutable after construction and thread-safe; queries do not allocate.
#ifndef SWERVE_PDM_OCCUPANCY_H_
#define SWERVE_PDM_OCCUPANCY_H_

#include <cstdint>
#include <string>
#include <vector>

#include "pdm/area_grid.h"
#include "pdm/geometry.h"
#include "pdm/motion.h"
#include "pdm/types.h"
#include "swerve/v1/scene.pb.h"

namespace swerve::pdm {

// Samples an observation must cover: v1 looks 0.9 s beyond t = 4.0 s.
inline constexpr int kObservedSamples = 51;

// Agents are vehicles, pedestrians and bicycles; everything else is static.
inline bool IsAgent(v1::ObjectType type) {
  return type == v1::VEHICLE || type == v1::PEDESTRIAN || type == v1::BICYCLE;
}

struct ObjectInfo {
  std::string token;
  v1::ObjectType type = v1::OBJECT_TYPE_UNSPECIFIED;
  bool agent = false;
  bool stopped = false;  // static type, or speed <= 0.05 m/s in the first sample in which it occurs (§7.2)
};

// Objects over time. Build with Add and Set, then hand out as const.
class Observation {
 public:
  // `samples`: length of the grid (51; 41 under v2 rules).
  explicit Observation(int samples = kObservedSamples) : samples_(samples) {}

  // Adds an object, absent everywhere. `speed` is that of the first sample in which it occurs. Returns its index.
  int Add(std::string token, v1::ObjectType type, double length, double width, double speed);
  // Puts the object at sample t. `velocity` is used for facts only.
  void Set(int object, int t, Vec2 centre, double heading, Vec2 velocity);
  // Takes the object out of all samples.
  void Remove(int object);

  int samples() const { return samples_; }
  int size() const { return static_cast<int>(info_.size()); }
  const ObjectInfo& info(int object) const { return info_[object]; }
  double radius(int object) const { return radius_[object]; }           // of the circle around its box
  const Bounds& bounds(int object) const { return bounds_[object]; }    // over all samples
  const MotionBounds& chunks(int object) const { return chunks_[object]; }
  // Centres as columns; NaN where the object is absent and beyond the last sample. kObservedColumn values each.
  const double* centre_x(int object) const { return &columns_[static_cast<size_t>(object) * 2 * kObservedColumn]; }
  const double* centre_y(int object) const { return centre_x(object) + kObservedColumn; }
  // The box at a sample; centre.x is NaN where the object is absent, so that any distance test fails.
  const Box& box(int object, int t) const { return boxes_[static_cast<size_t>(object) * samples_ + t]; }
  Vec2 velocity(int object, int t) const { return velocities_[static_cast<size_t>(object) * samples_ + t]; }

 private:
  int samples_;
  std::vector<ObjectInfo> info_;
  std::vector<double> radius_;
  std::vector<Bounds> bounds_;
  std::vector<Box> boxes_;
  std::vector<Vec2> velocities_;
  std::vector<double> columns_;
  std::vector<MotionBounds> chunks_;  // of what a motion can meet within each of its chunks, look-ahead included
};

// One polygon of the drivable map.
struct MapArea {
  std::string token;
  v1::MapType type = v1::MAP_TYPE_UNSPECIFIED;
  Polygon polygon;
  bool lane = false;          // LANE or LANE_CONNECTOR
  bool on_route = false;      // a lane whose token is on the route
  bool drivable = false;      // ROADBLOCK, INTERSECTION, DRIVABLE_AREA or CARPARK_AREA
  bool intersection = false;
};

// Flags of the ego's area at one sample (§8).
enum AreaFlag : uint8_t { kMulti = 1, kOff = 2, kOncoming = 4 };

// Along one simulation: flags, and whether the centre is in an intersection.
struct AreasAlong {
  std::array<uint8_t, kSamples> flags{};
  std::array<bool, kSamples> crossing{};
};

class DrivableMap {
 public:
  DrivableMap() = default;
  DrivableMap(std::vector<MapArea> areas, Polyline centreline);
  // Prepares for many simulations from there: the same answers, sooner. Before the map is shared.
  void PrepareFor(const EgoRow& ego);

  const std::vector<MapArea>& areas() const { return areas_; }
  const Polyline& centreline() const { return centreline_; }
  const AreaGrid& grid() const { return grid_; }

  AreasAlong Along(const Motion& motion) const;
  bool InIntersection(Vec2 p) const;
  // Distance of a point to the nearest drivable polygon; 0 inside. Infinite without one.
  double DistanceToDrivable(Vec2 p) const;

 private:
  AreasAlong AlongPolygons(const Motion& motion) const;

  std::vector<MapArea> areas_;
  std::vector<int> intersections_;
  Polyline centreline_;
  AreaGrid grid_;
};

}  // namespace swerve::pdm

#endif  // SWERVE_PDM_OCCUPANCY_H_
