// Does a report give the answer away? A teacher that copies the ground truth's poses teaches the policy to copy feedback,
// not to drive. Pure function.
#ifndef SWERVE_TEACHER_GATEWAY_COPY_GUARD_H_
#define SWERVE_TEACHER_GATEWAY_COPY_GUARD_H_

#include <string>

#include "swerve/v1/scene.pb.h"

namespace swerve {

// True when `text` holds at least three different ground-truth poses (two when there are only two): x and y side by side
// as numbers, each within 0.06 m, with nothing but punctuation or the letters x, y, m between. Poses closer than 0.2 m to
// the origin or to another are not counted; a scene with fewer than two others is never a copy.
bool HoldsGroundTruth(const std::string& text, const v1::Scene& scene);

}  // namespace swerve

#endif  // SWERVE_TEACHER_GATEWAY_COPY_GUARD_H_
