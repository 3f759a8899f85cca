// Motions and poses in the plane, for the codecs. Pure functions.
#ifndef SWERVE_POLICY_TRAJECTORY_H_
#define SWERVE_POLICY_TRAJECTORY_H_

#include <array>
#include <vector>

#include "absl/types/span.h"
#include "swerve/v1/scene.pb.h"

namespace swerve {

double WrapHeading(double radians);  // to [-π, π]

v1::Pose MakePose(double x, double y, double heading);
// Where `motion`, in the frame of `from`, leads; and the motion that leads from one pose to another.
v1::Pose Chain(const v1::Pose& from, const v1::Pose& motion);
v1::Pose Between(const v1::Pose& from, const v1::Pose& to);
// Along a circle for `metres` (negative: backwards) while turning by `radians`.
v1::Pose ArcMotion(double metres, double radians);

// Points of a way that begins at the origin, facing along x, with the headings that policy/codec.h describes.
std::vector<v1::Pose> PosesAlong(absl::Span<const std::array<double, 2>> points);

// Eight poses of one or more: the first ones, or as many repetitions of the last motion as are missing.
// False where a pose is not finite; `poses` is empty then.
bool FitHorizon(std::vector<v1::Pose>* poses);

}  // namespace swerve

#endif  // SWERVE_POLICY_TRAJECTORY_H_
