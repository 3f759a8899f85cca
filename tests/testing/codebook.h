// A book of action tokens for the codec codebook, in AutoVLA's shape: arcs at 42 speeds and 48 or 49 curvatures.
#ifndef SWERVE_TESTS_TESTING_CODEBOOK_H_
#define SWERVE_TESTS_TESTING_CODEBOOK_H_

#include <string>
#include <vector>

#include "policy/safetensors.h"
#include "policy/trajectory.h"

namespace swerve::testing_policy {

inline constexpr int kTokens = 2048, kCurvatures = 49;

// Token i: speed (i / kCurvatures) / 2 m/s, curvature (i % kCurvatures - kCurvatures / 2) / 400 per metre.
inline std::string WriteCodebook(const std::string& path) {
  std::vector<float> values;
  for (int i = 0; i < kTokens; ++i) {
    const double speed = 0.5 * (i / kCurvatures), curvature = (i % kCurvatures - kCurvatures / 2) / 400.0;
    for (int frame = 0; frame < 6; ++frame) {
      const double metres = speed * 0.1 * frame;
      const v1::Pose centre = ArcMotion(metres, metres * curvature);
      for (const auto& [x, y] : {std::pair{2.4, 1.0}, {2.4, -1.0}, {-2.4, -1.0}, {-2.4, 1.0}}) {
        const v1::Pose corner = Chain(centre, MakePose(x, y, 0));
        values.push_back(static_cast<float>(corner.x()));
        values.push_back(static_cast<float>(corner.y()));
      }
    }
  }
  const NamedTensor tensor{"codebook", {kTokens, 6, 4, 2}, values.data()};
  return WriteSafetensors(path, {&tensor, 1}).ok() ? path : "";
}

}  // namespace swerve::testing_policy

#endif  // SWERVE_TESTS_TESTING_CODEBOOK_H_
