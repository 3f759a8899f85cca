#include "evaluation/scene_svg.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "evaluation/chart.h"
#include "scenes/objects.h"
#include "scenes/view.h"

namespace swerve {
namespace {

// What is visible, metres in the ego frame. SVG's y is minus the ego's.
struct Window {
  double x0 = -8, x1 = 30, y0 = -12, y1 = 12;
  void Show(double x, double y) {
    x0 = std::min(x0, x - 6);
    x1 = std::max(x1, x + 8);
    y0 = std::min(y0, y - 6);
    y1 = std::max(y1, y + 6);
  }
  // At least as wide as twice its height, so that the cards line up; never wider than 110 m.
  void Settle() {
    x1 = std::min(x1, x0 + 110);
    y0 = std::max(y0, -40.0);
    y1 = std::min(y1, 40.0);
    const double want = std::max({x1 - x0, 2.0 * (y1 - y0), 48.0});
    x1 = x0 + want;
    const double missing = 0.5 * want - (y1 - y0);
    y0 -= 0.5 * std::max(0.0, missing);
    y1 += 0.5 * std::max(0.0, missing);
  }
};

std::string Points(const std::vector<Vec2>& points) {
  std::string d;
  for (const Vec2& p : points) absl::StrAppendFormat(&d, "%.2f,%.2f ", p.x, -p.y);
  return d;
}

std::string Rings(const ViewPolygon& polygon) {
  std::string d;
  for (const ViewRing& ring : polygon.rings) {
    const char* move = "M";
    for (const Vec2& p : ring.points) {
      absl::StrAppendFormat(&d, "%s%.2f %.2f", move, p.x, -p.y);
      move = "L";
    }
    d += "Z";
  }
  return d;
}

std::string Box(double x, double y, double heading, double length, double width, const std::string& css,
                const std::string& label) {
  const std::array<Vec2, 4> c = BoxCorners(x, y, heading, length, width);
  return absl::StrCat("<polygon class=\"", css, "\" points=\"", Points({c.begin(), c.end()}), "\"><title>",
                      EscapeHtml(label), "</title></polygon>");
}

std::string EgoBox(const v1::Pose& axle, const std::string& css, const std::string& label) {
  return Box(axle.x() + kEgoCentre * std::cos(axle.heading()), axle.y() + kEgoCentre * std::sin(axle.heading()),
             axle.heading(), kEgoFront + kEgoRear, 2 * kEgoHalfWidth, css, label);
}

std::string Objects(const SceneView& view) {
  std::string svg;
  for (const ViewObject& o : view.objects()) {
    if (!o.now()) continue;
    const std::string name = TypeName(o.type);
    std::vector<Vec2> future;
    for (int k = 0; k <= 8; ++k) {
      if (o.at(k)) future.push_back({o.at(k)->x, o.at(k)->y});
    }
    const bool moves = future.size() > 1 && std::hypot(future.back().x - future[0].x, future.back().y - future[0].y) > 0.5;
    if (moves) {
      absl::StrAppend(&svg, "<polyline class=\"future\" points=\"", Points(future), "\"/>");
      for (int k : {4, 8}) {
        if (!o.at(k)) continue;
        svg += Box(o.at(k)->x, o.at(k)->y, o.at(k)->heading, o.length, o.width, "ghost",
                   absl::StrFormat("%s %s at %.0f s", name, o.token, 0.5 * k));
      }
    }
    const char* css = o.type == v1::VEHICLE                               ? "object vehicle"
                      : o.type == v1::PEDESTRIAN || o.type == v1::BICYCLE ? "object vulnerable"
                                                                          : "object thing";
    svg += Box(o.now()->x, o.now()->y, o.now()->heading, std::max(o.length, 0.6), std::max(o.width, 0.6), css,
               absl::StrFormat("%s %s, %.1f m/s", name, o.token, std::hypot(o.now()->vx, o.now()->vy)));
  }
  return svg;
}

std::string Trajectory(const DrawnTrajectory& t, double radius) {
  if (t.poses.empty()) return "";
  std::vector<Vec2> line = {{0, 0}};
  for (const v1::Pose& p : t.poses) line.push_back({p.x(), p.y()});
  std::string svg = EgoBox(t.poses.back(), "footprint " + t.css, t.label + " at 4 s");
  absl::StrAppend(&svg, "<polyline class=\"trajectory ", t.css, "\" points=\"", Points(line), "\"/>");
  for (size_t i = 0; i < t.poses.size(); ++i) {
    absl::StrAppendFormat(&svg, "<circle class=\"pose %s\" r=\"%.2f\" cx=\"%.2f\" cy=\"%.2f\"><title>%s, %.1f s</title></circle>",
                          t.css, radius, t.poses[i].x(), -t.poses[i].y(), EscapeHtml(t.label), 0.5 * static_cast<double>(i + 1));
  }
  return svg;
}

}  // namespace

std::string SceneSvg(const v1::Scene& scene, const std::vector<DrawnTrajectory>& trajectories,
                     const std::vector<DrawnMark>& marks) {
  const SceneView view(scene);
  Window w;
  for (const DrawnTrajectory& t : trajectories) {
    for (const v1::Pose& p : t.poses) w.Show(std::clamp(p.x(), -20.0, 90.0), std::clamp(p.y(), -34.0, 34.0));
  }
  for (const DrawnMark& m : marks) w.Show(m.x, m.y);
  w.Settle();
  std::string svg = absl::StrFormat("<svg class=\"scene\" viewBox=\"%.2f %.2f %.2f %.2f\" role=\"img\">", w.x0, -w.y1,
                                    w.x1 - w.x0, w.y1 - w.y0);
  for (const ViewPolygon& p : view.drivable()) {
    absl::StrAppend(&svg, "<path class=\"road\" fill-rule=\"evenodd\" d=\"", Rings(p), "\"/>");
  }
  for (const ViewPolygon& p : view.lanes()) absl::StrAppend(&svg, "<path class=\"lane\" d=\"", Rings(p), "\"/>");
  if (!view.path().empty()) {
    absl::StrAppend(&svg, "<polyline class=\"route\" points=\"", Points(view.path().points()), "\"/>");
  }
  svg += Objects(view);
  svg += EgoBox(v1::Pose(), "ego", absl::StrFormat("ego, %.1f m/s", scene.ego().vx()));
  for (const DrawnTrajectory& t : trajectories) svg += Trajectory(t, 0.0065 * (w.x1 - w.x0));
  for (const DrawnMark& m : marks) {
    absl::StrAppendFormat(&svg, "<path class=\"mark\" d=\"M%.2f %.2fl2 2m0 -2l-2 2\"><title>%s</title></path>", m.x - 1,
                          -m.y - 1, EscapeHtml(m.label));
  }
  // A scale of 10 m in the lower right corner; text as large on the page whatever the window.
  const double unit = (w.x1 - w.x0) / 100;
  absl::StrAppendFormat(&svg, "<path class=\"scale\" d=\"M%.2f %.2fv%.2fh10v%.2f\"/>", w.x1 - 10 - 2 * unit,
                        -w.y0 - 2 * unit, -unit, unit);
  absl::StrAppendFormat(&svg, "<text class=\"scale\" font-size=\"%.2f\" x=\"%.2f\" y=\"%.2f\">10 m</text>", 2.4 * unit,
                        w.x1 - 5 - 2 * unit, -w.y0 - 4 * unit);
  return svg + "</svg>";
}

}  // namespace swerve
