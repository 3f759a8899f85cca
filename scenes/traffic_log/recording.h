// One recording of real traffic in the "neutral-1" JSON schema: agents sampled on a fixed step in a fixed metric map
// frame, lanes, traffic lights. Metres, seconds, radians; agent positions are box centres. Plain values.
#ifndef SWERVE_SCENES_TRAFFIC_LOG_RECORDING_H_
#define SWERVE_SCENES_TRAFFIC_LOG_RECORDING_H_

#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "scenes/view.h"
#include "swerve/v1/scene.pb.h"

namespace swerve {

struct LogState {
  int step = 0;
  double x = 0, y = 0, yaw = 0, vx = 0, vy = 0;
};
struct LogAgent {
  std::string id;
  v1::ObjectType type = v1::OBJECT_TYPE_UNSPECIFIED;
  bool ego = false;
  double length = 0, width = 0;  // the usual size of its type where the file says 0
  std::vector<LogState> states;  // ascending step, not empty
};
struct LogLane {
  std::string id;
  std::vector<Vec2> centerline;  // at least two points
  std::vector<Vec2> polygon;     // may be empty
  double half_width = 0;         // mean of the recorded half widths, 0: unknown
  std::optional<double> speed_limit;
  std::vector<std::string> predecessors, successors;
  std::vector<std::string> beside;  // adjacent lanes of the same direction
  bool bicycle = false;
};
struct LogLight {
  std::string lane;
  std::vector<bool> red;  // per step
};
struct Recording {
  std::string source, scene_id, map;
  double dt = 0;
  int steps = 0;
  std::vector<LogAgent> agents;
  std::vector<LogLane> lanes;
  std::vector<LogLight> lights;
};

// NOT_FOUND: no such file. INVALID_ARGUMENT: not this schema or a bad value; names the file and the field.
// Agents with a single broken state are refused with the file: a silent hole would become a collision-free road.
absl::StatusOr<Recording> ReadRecording(const std::string& path);

}  // namespace swerve

#endif  // SWERVE_SCENES_TRAFFIC_LOG_RECORDING_H_
