#include "scenes/draw.h"

#include <cairo-svg.h>
#include <cairo.h>

#include <algorithm>
#include <cmath>
#include <memory>

#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "base/random.h"
#include "scenes/view.h"

namespace swerve {
namespace {

constexpr double kBehind = 10.0;  // m below the ego
constexpr double kPi = 3.14159265358979323846;

struct Ink {
  double r, g, b, a = 1;
};
Ink Hex(const std::string& s, double alpha = 1) {
  unsigned r = 0, g = 0, b = 0;
  if (std::sscanf(s.c_str(), "#%2x%2x%2x", &r, &g, &b) != 3) return {0, 0, 0, alpha};
  return {r / 255.0, g / 255.0, b / 255.0, alpha};
}
Ink TypeInk(v1::ObjectType type) {
  switch (type) {
    case v1::VEHICLE: return Hex("#f28e2b");
    case v1::PEDESTRIAN: return Hex("#d0269e");
    case v1::BICYCLE: return Hex("#17a2c4");
    default: return Hex("#8c6d31");
  }
}

// Draws in the ego frame; the pen knows how metres become pixels.
class Pen {
 public:
  Pen(cairo_t* cr, const DrawOptions& options, double ahead) : cr_(cr), options_(options) {
    scale_ = options.height / (ahead + kBehind);
    origin_x_ = options.width / 2.0;
    origin_y_ = ahead * scale_;
  }
  double scale() const { return scale_; }
  cairo_t* cr() const { return cr_; }
  void Set(const Ink& c) { cairo_set_source_rgba(cr_, c.r, c.g, c.b, c.a); }
  // Far outside is clipped by Cairo; not finite or absurd coordinates are kept out of its fixed-point numbers.
  double X(double y) const { return Safe(origin_x_ - y * scale_); }
  double Y(double x) const { return Safe(origin_y_ - x * scale_); }
  void Trace(const std::vector<Vec2>& points, bool close) {
    for (size_t i = 0; i < points.size(); ++i)
      (i ? cairo_line_to : cairo_move_to)(cr_, X(points[i].y), Y(points[i].x));
    if (close) cairo_close_path(cr_);
  }
  void FillRings(const std::vector<ViewRing>& rings, const Ink& ink) {
    for (const ViewRing& r : rings) Trace(r.points, true);
    Set(ink);
    cairo_set_fill_rule(cr_, CAIRO_FILL_RULE_EVEN_ODD);
    cairo_fill(cr_);
  }
  void Stroke(const std::vector<Vec2>& points, bool close, double px, const Ink& ink) {
    Trace(points, close);
    Set(ink);
    cairo_set_line_width(cr_, px);
    cairo_stroke(cr_);
  }
  void Box(double x, double y, double heading, double length, double width, const Ink& fill, double outline) {
    auto c = BoxCorners(x, y, heading, length, width);
    Trace({c.begin(), c.end()}, true);
    Set(fill);
    cairo_fill_preserve(cr_);
    Set({0, 0, 0, outline});
    cairo_set_line_width(cr_, 0.8);
    cairo_stroke(cr_);
  }
  void Dot(double x, double y, double px, const Ink& ink) {
    cairo_arc(cr_, X(y), Y(x), px, 0, 2 * kPi);
    Set(ink);
    cairo_fill(cr_);
  }
  void Text(double px, double py, const std::string& text, double size = 12) {
    cairo_select_font_face(cr_, "sans-serif", CAIRO_FONT_SLANT_NORMAL, CAIRO_FONT_WEIGHT_NORMAL);
    cairo_set_font_size(cr_, size);
    cairo_move_to(cr_, px, py);
    cairo_show_text(cr_, text.c_str());
  }

 private:
  static double Safe(double v) { return std::isfinite(v) ? std::clamp(v, -1e5, 1e5) : 0; }
  cairo_t* cr_;
  const DrawOptions& options_;
  double scale_, origin_x_, origin_y_;
};

void DrawRoad(const SceneView& view, Pen* pen) {
  for (const ViewPolygon& p : view.drivable()) pen->FillRings(p.rings, Hex("#d9d9d9"));
  for (const ViewPolygon& p : view.lanes())
    if (p.type == v1::LANE && !p.rings.empty()) pen->Stroke(p.rings[0].points, true, 0.8, Hex("#ffffff"));
  if (view.path_is_route()) {
    cairo_set_line_cap(pen->cr(), CAIRO_LINE_CAP_BUTT);
    pen->Stroke(view.path().points(), false, 2.4 * pen->scale(), Hex("#9ecae1", 0.45));
  }
}

void DrawRedLights(const v1::Scene& scene, const SceneView& view, Pen* pen) {
  if (scene.traffic_lights_size() == 0) return;
  for (const v1::TrafficLight& light : scene.traffic_lights(0).lights()) {
    if (!light.red()) continue;
    for (const v1::Lane& lane : scene.map().lanes()) {
      if (lane.id() != light.lane_connector()) continue;
      std::vector<Vec2> line;
      for (const v1::Pose& p : lane.baseline()) line.push_back(view.frame().ToEgo(p.x(), p.y()));
      pen->Stroke(line, false, 1.0 * pen->scale(), Hex("#e31a1c", 0.5));
    }
  }
}

void DrawTraffic(const SceneView& view, Pen* pen) {
  for (const ViewObject& o : view.objects()) {
    Ink ink = TypeInk(o.type);
    std::vector<Vec2> future;
    for (int k = 0; k < kFutureSteps; ++k)
      if (o.at(k)) future.push_back({o.at(k)->x, o.at(k)->y});
    if (!o.now()) {  // appears later: where and that it does
      if (!future.empty()) pen->Dot(future[0].x, future[0].y, 2.5, {ink.r, ink.g, ink.b, 0.5});
      continue;
    }
    if (future.size() > 1 && std::hypot(future.back().x - future[0].x, future.back().y - future[0].y) > 0.5)
      pen->Stroke(future, false, 1.5, {ink.r, ink.g, ink.b, 0.8});
    pen->Box(o.now()->x, o.now()->y, o.now()->heading, o.length, o.width, ink, 0.7);
  }
}

void DrawPlan(const DrawTrajectory& t, Pen* pen) {
  Ink ink = Hex(t.colour);
  std::vector<Vec2> line{{0, 0}};
  for (const v1::Pose& p : t.poses) line.push_back({p.x(), p.y()});
  cairo_set_line_join(pen->cr(), CAIRO_LINE_JOIN_ROUND);
  pen->Stroke(line, false, 2.5, ink);
  for (size_t i = 0; i < t.poses.size(); ++i) {
    const v1::Pose& p = t.poses[i];
    pen->Dot(p.x(), p.y(), 3, ink);
    if (i + 1 == t.poses.size()) {
      double c = std::cos(p.heading()), s = std::sin(p.heading());
      pen->Box(p.x() + kEgoCentre * c, p.y() + kEgoCentre * s, p.heading(), kEgoFront + kEgoRear, 2 * kEgoHalfWidth,
               {ink.r, ink.g, ink.b, 0.15}, 0.3);
    }
  }
}

void DrawFrame(const v1::Scene& scene, absl::Span<const DrawTrajectory> trajectories, const DrawOptions& options,
               Pen* pen) {
  cairo_t* cr = pen->cr();
  const double bar = 10 * pen->scale(), y = options.height - 14.0, x = options.width - bar - 14;
  pen->Set({0, 0, 0, 0.8});
  cairo_set_line_width(cr, 2);
  cairo_move_to(cr, x, y - 4);
  cairo_line_to(cr, x, y);
  cairo_line_to(cr, x + bar, y);
  cairo_line_to(cr, x + bar, y - 4);
  cairo_stroke(cr);
  pen->Text(x + bar / 2 - 12, y - 6, "10 m", 11);
  if (!options.legend) return;
  double row = 18;
  pen->Set({1, 1, 1, 0.8});
  cairo_rectangle(cr, 6, 6, std::min(options.width - 12.0, 290.0), row * (1 + trajectories.size()) + 8);
  cairo_fill(cr);
  pen->Set({0, 0, 0, 0.9});
  pen->Text(12, row + 2, absl::StrFormat("%s  %.1f m/s", scene.id(), scene.ego().vx()));
  for (size_t i = 0; i < trajectories.size(); ++i) {
    double ly = row * (i + 2) + 2;
    pen->Set(Hex(trajectories[i].colour));
    cairo_rectangle(cr, 12, ly - 8, 16, 6);
    cairo_fill(cr);
    pen->Set({0, 0, 0, 0.9});
    pen->Text(34, ly, trajectories[i].label);
  }
}

void Draw(const v1::Scene& scene, absl::Span<const DrawTrajectory> trajectories, const DrawOptions& options,
          cairo_t* cr) {
  double ahead = options.ahead;
  if (ahead <= 0) {
    ahead = 35;
    for (const DrawTrajectory& t : trajectories)
      for (const v1::Pose& p : t.poses)
        if (std::isfinite(p.x())) ahead = std::max(ahead, std::min(p.x(), 90.0) + 10);
  }
  SceneView view(scene);
  Pen pen(cr, options, ahead);
  pen.Set(Hex("#f7f7f2"));
  cairo_paint(cr);
  DrawRoad(view, &pen);
  DrawRedLights(scene, view, &pen);
  DrawTraffic(view, &pen);
  pen.Box(kEgoCentre, 0, 0, kEgoFront + kEgoRear, 2 * kEgoHalfWidth, Hex("#31a354"), 0.9);
  for (const DrawTrajectory& t : trajectories) DrawPlan(t, &pen);
  DrawFrame(scene, trajectories, options, &pen);
}

cairo_status_t Append(void* out, const unsigned char* data, unsigned length) {
  static_cast<std::string*>(out)->append(reinterpret_cast<const char*>(data), length);
  return CAIRO_STATUS_SUCCESS;
}

// Cairo numbers glyphs from 0 in every document and surfaces over the process's life: several pictures in one HTML page
// would use each other's letters, and the same scene would differ from call to call. Ids are named after the content.
std::string WithOwnIds(std::string svg) {
  svg.erase(0, std::min(svg.find("<svg"), svg.size()));
  static constexpr char kSurface[] = " id=\"surface";
  if (size_t at = svg.find(kSurface); at != std::string::npos)
    svg.erase(at, svg.find('"', at + sizeof(kSurface) - 1) + 1 - at);
  const std::string own = absl::StrFormat("s%016x", HashName(svg));
  return absl::StrReplaceAll(svg, {{"id=\"glyph", absl::StrCat("id=\"", own, "g")},
                                   {"#glyph", absl::StrCat("#", own, "g")},
                                   {"id=\"clip", absl::StrCat("id=\"", own, "c")},
                                   {"#clip", absl::StrCat("#", own, "c")}});
}

using Surface = std::unique_ptr<cairo_surface_t, decltype(&cairo_surface_destroy)>;

absl::Status Paint(const Surface& surface, const v1::Scene& scene, absl::Span<const DrawTrajectory> trajectories,
                   const DrawOptions& options) {
  cairo_t* cr = cairo_create(surface.get());
  Draw(scene, trajectories, options, cr);
  cairo_status_t status = cairo_status(cr);
  cairo_destroy(cr);
  return status == CAIRO_STATUS_SUCCESS
             ? absl::OkStatus()
             : absl::InternalError(absl::StrCat("drawing scene ", scene.id(), ": ", cairo_status_to_string(status)));
}

}  // namespace

absl::StatusOr<std::string> DrawSceneSvg(const v1::Scene& scene, absl::Span<const DrawTrajectory> trajectories,
                                         const DrawOptions& options) {
  std::string out;
  Surface surface(cairo_svg_surface_create_for_stream(Append, &out, options.width, options.height),
                  cairo_surface_destroy);
  SWERVE_RETURN_IF_ERROR(Paint(surface, scene, trajectories, options));
  cairo_surface_finish(surface.get());
  return WithOwnIds(std::move(out));
}

absl::StatusOr<std::string> DrawScenePng(const v1::Scene& scene, absl::Span<const DrawTrajectory> trajectories,
                                         const DrawOptions& options) {
  Surface surface(cairo_image_surface_create(CAIRO_FORMAT_RGB24, options.width, options.height),
                  cairo_surface_destroy);
  SWERVE_RETURN_IF_ERROR(Paint(surface, scene, trajectories, options));
  std::string out;
  if (cairo_surface_write_to_png_stream(surface.get(), Append, &out) != CAIRO_STATUS_SUCCESS)
    return absl::InternalError(absl::StrCat("writing the PNG of scene ", scene.id(), " failed"));
  return out;
}

std::vector<DrawTrajectory> StoredTrajectories(const v1::Scene& scene) {
  std::vector<DrawTrajectory> out;
  if (scene.gt_size() > 0) out.push_back({"GT", kColourGt, {scene.gt().begin(), scene.gt().end()}});
  if (scene.resolved_v1().pdm_reference_size() > 5) {
    EgoFrame frame(scene.ego().rear_axle());
    DrawTrajectory reference{"reference plan", kColourReference};
    for (int i = 5; i < scene.resolved_v1().pdm_reference_size() && i <= 40; i += 5)
      reference.poses.push_back(frame.ToEgo(scene.resolved_v1().pdm_reference(i)));
    out.push_back(std::move(reference));
  }
  static constexpr const char* kColours[] = {"#d7191c", "#7b3294", "#b15928", "#525252", "#e6ab02", "#66a61e"};
  for (int i = 0; i < scene.candidates_size(); ++i)
    out.push_back({scene.candidates(i).name(), kColours[i % 6],
                   {scene.candidates(i).poses().begin(), scene.candidates(i).poses().end()}});
  return out;
}

}  // namespace swerve
