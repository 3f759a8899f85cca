// The picture that the policy sees: a bird's-eye view around the ego, always in the same place and facing up.
//
// Region: 56 m ahead of the rear axle to 8 m behind it, 24 m to each side; both spans fill the square image, so a pixel
// is 64/size m long and 48/size m wide (112 px: 0.57 × 0.43 m). Layers, bottom to top:
//   off road           near black            drivable area     dark grey
//   lanes              outlines, lighter     route corridor    blue-grey strip of 3 m along the route's centre line
//   red lights         red along the lane    past of objects   trails at -1.5, -1.0, -0.5 s, fading
//   road users         box by type: vehicles orange, pedestrians magenta, bicycles cyan, static objects white
//   motion             white needle: distance in the next second; a needle means "moves"
//   ego                green box, its past as a trail, its needle
// Pedestrians and small objects are drawn at least 1.2 m wide, or a coarse image would lose them. Nothing drawn is
// later than t = 0. 2 × 2 supersampling.
#ifndef SWERVE_SCENES_RASTER_H_
#define SWERVE_SCENES_RASTER_H_

#include "base/image.h"
#include "scenes/view.h"
#include "swerve/v1/scene.pb.h"

namespace swerve {

inline constexpr double kRasterAhead = 56.0;
inline constexpr double kRasterBehind = 8.0;
inline constexpr double kRasterSide = 24.0;
inline constexpr int kRasterSize = 112;

// Deterministic: the same scene and size give the same bytes. Pure and thread-safe. `size` is clamped to 8 … 2048.
Image Rasterise(const v1::Scene& scene, int size = kRasterSize);
Image Rasterise(const SceneView& view, const v1::Scene& scene, int size = kRasterSize);

}  // namespace swerve

#endif  // SWERVE_SCENES_RASTER_H_
