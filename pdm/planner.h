// The reference planner, PDM-Closed as NAVSIM's cache uses it (spec: PDM score, Appendix A): 3 paths x 5 target speeds
// rolled out by the Intelligent Driver Model with its quirks, scored on a constant-velocity forecast; the best wins.
// Its path is the yardstick of progress, never a plan to learn from. Pure and thread-safe. Local frame.
#ifndef SWERVE_PDM_PLANNER_H_
#define SWERVE_PDM_PLANNER_H_

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "pdm/evaluate.h"
#include "pdm/geometry.h"
#include "pdm/occupancy.h"
#include "pdm/types.h"
#include "swerve/v1/scene.pb.h"

namespace swerve::pdm {

// A road user at t = 0.
struct PresentObject {
  std::string token;
  v1::ObjectType type = v1::VEHICLE;
  double length = 0, width = 0;
  Vec2 centre;
  double heading = 0;
  Vec2 velocity;
};

struct PlannerInput {
  EgoRow ego;
  int64_t time_us = 0;
  const DrivableMap* map = nullptr;  // with the centreline, for the score
  std::vector<Pose2> centerline;
  double speed_limit = 15.0;  // m/s, of the starting lane
  std::vector<PresentObject> objects;
  std::vector<Polygon> red_lights;  // red connectors of the route
  Rules rules = Rules::kV1;         // by which the proposals are ranked
};

using ReferencePlan = std::array<Pose2, kReferencePoses>;  // 0, 0.1, …, 5 s

// INVALID_ARGUMENT: a centreline without length.
absl::StatusOr<ReferencePlan> PlanReference(const PlannerInput& input);

// A line poses are read from by arc length, headings unwrapped.
class PosePath {
 public:
  // `left` shifts every vertex along its heading + 90 degrees.
  PosePath(const std::vector<Pose2>& poses, double left);
  Pose2 At(double arc) const;  // clipped to the path
  const Polyline& line() const { return line_; }

 private:
  std::vector<Pose2> poses_;
  Polyline line_;
};

}  // namespace swerve::pdm

#endif  // SWERVE_PDM_PLANNER_H_
