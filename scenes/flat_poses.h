// Poses as a row of numbers, as ScoreCandidate::flat_poses has them.
#ifndef SWERVE_SCENES_FLAT_POSES_H_
#define SWERVE_SCENES_FLAT_POSES_H_

#include <google/protobuf/repeated_field.h>

#include "swerve/v1/scene.pb.h"

namespace swerve {

// Adds x, y and heading of each; frame and order are kept.
inline void AddFlat(const google::protobuf::RepeatedPtrField<v1::Pose>& poses, google::protobuf::RepeatedField<double>* flat) {
  flat->Reserve(flat->size() + 3 * poses.size());
  for (const v1::Pose& p : poses) flat->Add(p.x()), flat->Add(p.y()), flat->Add(p.heading());
}

}  // namespace swerve

#endif  // SWERVE_SCENES_FLAT_POSES_H_
