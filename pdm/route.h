// The route through the lane graph: corrected roadblocks, on-route lanes, starting lane and centreline
// (spec: PDM score, Appendix A). Works on Scene.map in the local frame. Pure, thread-safe once built.
#ifndef SWERVE_PDM_ROUTE_H_
#define SWERVE_PDM_ROUTE_H_

#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/status.h"
#include "pdm/geometry.h"
#include "pdm/types.h"
#include "swerve/v1/scene.pb.h"

namespace swerve::pdm {

// Scene.map indexed for look-ups. `scene` must outlive it.
class LaneGraph {
 public:
  LaneGraph(const v1::Scene& scene, Vec2 origin);

  struct Block {
    std::string id;
    bool connector = false;
    std::vector<int> lanes;                     // indices into lanes(), in map order
    std::vector<std::string> incoming, outgoing;  // block ids
    std::vector<Polygon> polygons;              // its own, or its lanes' where it has none
  };
  struct LaneInfo {
    const v1::Lane* lane = nullptr;
    std::vector<Pose2> baseline;  // local
    Polygon polygon;
    bool has_polygon = false;
    double length = 0;
  };

  const std::vector<LaneInfo>& lanes() const { return lanes_; }
  const std::vector<Block>& blocks() const { return blocks_; }
  int FindLane(const std::string& id) const;    // -1: none
  int FindBlock(const std::string& id) const;   // -1: none
  bool Touches(const Block& block, const Box& box) const;
  double Distance(const Block& block, Vec2 p) const;
  const v1::Scene& scene() const { return scene_; }
  Vec2 origin() const { return origin_; }

 private:
  const v1::Scene& scene_;
  Vec2 origin_;
  std::vector<LaneInfo> lanes_;
  std::vector<Block> blocks_;
  std::map<std::string, int> lane_index_, block_index_;
};

struct Route {
  std::vector<std::string> blocks;    // corrected
  std::vector<std::string> lane_ids;  // of all its blocks
  int starting_lane = -1;             // index into LaneGraph::lanes()
  std::vector<Pose2> centerline;      // local
};

// INVALID_ARGUMENT: no usable lane on the route.
absl::StatusOr<Route> FindRoute(const LaneGraph& graph, const EgoRow& ego);

// Vertices of a ring in the local frame.
std::vector<Vec2> LocalRing(const v1::Ring& ring, Vec2 origin);
Polygon LocalPolygon(const v1::MapPolygon& polygon, Vec2 origin);

}  // namespace swerve::pdm

#endif  // SWERVE_PDM_ROUTE_H_
