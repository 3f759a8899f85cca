// Pictures of a scene for people: road, route, traffic with its future, trajectories with a legend and a scale bar; the
// ego drives up. Rendered by Cairo. Pure functions, thread-safe.
#ifndef SWERVE_SCENES_DRAW_H_
#define SWERVE_SCENES_DRAW_H_

#include <string>
#include <vector>

#include "absl/types/span.h"
#include "base/status.h"
#include "swerve/v1/scene.pb.h"

namespace swerve {

struct DrawTrajectory {
  std::string label;            // for the legend; printable ASCII or UTF-8
  std::string colour;           // "#rrggbb"
  std::vector<v1::Pose> poses;  // ego frame, 0.5 s apart; drawn from the ego on
};

struct DrawOptions {
  int width = 520;   // px
  int height = 640;
  double ahead = 0;  // m; 0: as far as the longest trajectory needs, at least 35 m
  bool legend = true;
};

// Colours that the project uses for the same thing everywhere.
inline constexpr char kColourGt[] = "#1a9641";
inline constexpr char kColourReference[] = "#2c7fb8";
inline constexpr char kColourFailing[] = "#d7191c";
inline constexpr char kColourRefined[] = "#7b3294";

// An SVG document without XML prolog; its ids are its own, so that many can stand in one HTML page. INTERNAL when Cairo fails.
absl::StatusOr<std::string> DrawSceneSvg(const v1::Scene& scene, absl::Span<const DrawTrajectory> trajectories,
                                         const DrawOptions& options = {});
// The bytes of a PNG file.
absl::StatusOr<std::string> DrawScenePng(const v1::Scene& scene, absl::Span<const DrawTrajectory> trajectories,
                                         const DrawOptions& options = {});

// GT, the reference plan and every candidate stored with the scene.
std::vector<DrawTrajectory> StoredTrajectories(const v1::Scene& scene);

}  // namespace swerve

#endif  // SWERVE_SCENES_DRAW_H_
