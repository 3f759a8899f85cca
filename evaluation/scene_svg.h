// A scene from above as inline SVG for the report: road, road users with their future, trajectories. Ego frame, driving
// direction to the right. Coloured by the page's CSS variables. Pure.
#ifndef SWERVE_EVALUATION_SCENE_SVG_H_
#define SWERVE_EVALUATION_SCENE_SVG_H_

#include <string>
#include <vector>

#include "swerve/v1/scene.pb.h"

namespace swerve {

struct DrawnTrajectory {
  std::vector<v1::Pose> poses;  // ego frame
  std::string css;              // "failing", "refined" or "gt"
  std::string label;            // hover title
};

// A cross where something went wrong; ego frame.
struct DrawnMark {
  double x = 0, y = 0;
  std::string label;
};

std::string SceneSvg(const v1::Scene& scene, const std::vector<DrawnTrajectory>& trajectories,
                     const std::vector<DrawnMark>& marks);

}  // namespace swerve

#endif  // SWERVE_EVALUATION_SCENE_SVG_H_
