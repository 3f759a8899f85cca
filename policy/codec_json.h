// Codec json_traj (policy/codec.h). Writes Curious-VLA's form (spec systems.md 1.5). Reads it; a list of [x, y, heading]
// under future_trajectory; and AutoDrive-P3's list of {"label": "0.5s", "x_y_radian": [x, y, h]}, bare, in a <planning>
// section or under the member planning.
#ifndef SWERVE_POLICY_CODEC_JSON_H_
#define SWERVE_POLICY_CODEC_JSON_H_

#include <memory>

#include "policy/codec.h"

namespace swerve {

std::shared_ptr<const Codec> CreateJsonCodec();

}  // namespace swerve

#endif  // SWERVE_POLICY_CODEC_JSON_H_
