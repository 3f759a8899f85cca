// Checks every field of a scene that scoring, prompting or drawing relies on. Pure, thread-safe.
#ifndef SWERVE_SCENES_VALIDATE_H_
#define SWERVE_SCENES_VALIDATE_H_

#include <string>
#include <vector>

#include "swerve/v1/scene.pb.h"

namespace swerve {

// Problems as "field: what is wrong", empty when there are none. Fields that are optional by design (token, human,
// images, candidates, resolved_v2) are checked only where they are filled.
std::vector<std::string> ValidateScene(const v1::Scene& scene);

}  // namespace swerve

#endif  // SWERVE_SCENES_VALIDATE_H_
