#include "scenes/raster.h"

#include <algorithm>
#include <cmath>

#include "absl/container/flat_hash_set.h"

namespace swerve {
namespace {

struct Colour {
  uint8_t r, g, b;
};
constexpr Colour kOffRoad{12, 12, 16};
constexpr Colour kRoad{66, 66, 70};
constexpr Colour kLaneLine{108, 108, 112};
constexpr Colour kRoute{62, 84, 124};
constexpr Colour kRed{220, 30, 30};
constexpr Colour kEgo{60, 230, 90};
constexpr Colour kNeedle{255, 255, 255};

Colour TypeColour(v1::ObjectType type) {
  switch (type) {
    case v1::VEHICLE: return {255, 150, 40};
    case v1::PEDESTRIAN: return {255, 60, 220};
    case v1::BICYCLE: return {50, 220, 255};
    default: return {225, 225, 200};
  }
}
Colour Fade(Colour c, double f) {
  auto mix = [f](uint8_t a, uint8_t b) { return static_cast<uint8_t>(std::lround(b + f * (a - b))); };
  return {mix(c.r, kRoad.r), mix(c.g, kRoad.g), mix(c.b, kRoad.b)};
}

// A supersampled canvas with even-odd scanline fill of polygons given in the ego frame.
class Canvas {
 public:
  explicit Canvas(int size) : size_(size), n_(2 * size), pixels_(static_cast<size_t>(n_) * n_, kOffRoad) {}

  void Fill(const std::vector<ViewRing>& rings, Colour colour) {
    crossings_.clear();
    for (const ViewRing& ring : rings) AddRing(ring.points.data(), ring.points.size());
    Flush(colour);
  }
  void Fill(const Vec2* points, size_t count, Colour colour) {
    crossings_.clear();
    AddRing(points, count);
    Flush(colour);
  }
  void Box(double x, double y, double heading, double length, double width, Colour colour) {
    auto corners = BoxCorners(x, y, heading, length, width);
    Fill(corners.data(), corners.size(), colour);
  }
  // A line of `width` metres, butt caps.
  void Line(Vec2 a, Vec2 b, double width, Colour colour) {
    double l = std::hypot(b.x - a.x, b.y - a.y);
    if (l < 1e-6) return;
    double nx = -(b.y - a.y) / l * width / 2, ny = (b.x - a.x) / l * width / 2;
    Vec2 quad[4] = {{a.x + nx, a.y + ny}, {b.x + nx, b.y + ny}, {b.x - nx, b.y - ny}, {a.x - nx, a.y - ny}};
    Fill(quad, 4, colour);
  }
  // While set, nothing is drawn over what is off the road.
  void OnRoadOnly(bool on) { on_road_only_ = on; }
  void Outline(const ViewRing& ring, double width, Colour colour) {
    for (size_t i = 0, j = ring.points.size() - 1; i < ring.points.size(); j = i++)
      Line(ring.points[j], ring.points[i], width, colour);
  }

  Image Finish() const {
    Image out{size_, size_, std::vector<uint8_t>(static_cast<size_t>(size_) * size_ * 3)};
    for (int y = 0; y < size_; ++y)
      for (int x = 0; x < size_; ++x) {
        const Colour* p = &pixels_[static_cast<size_t>(2 * y) * n_ + 2 * x];
        uint8_t* q = &out.rgb[(static_cast<size_t>(y) * size_ + x) * 3];
        q[0] = (p[0].r + p[1].r + p[n_].r + p[n_ + 1].r + 2) / 4;
        q[1] = (p[0].g + p[1].g + p[n_].g + p[n_ + 1].g + 2) / 4;
        q[2] = (p[0].b + p[1].b + p[n_].b + p[n_ + 1].b + 2) / 4;
      }
    return out;
  }

 private:
  double Row(double x) const { return (kRasterAhead - x) / (kRasterAhead + kRasterBehind) * n_; }
  double Column(double y) const { return (kRasterSide - y) / (2 * kRasterSide) * n_; }

  void AddRing(const Vec2* p, size_t count) {
    for (size_t i = 0, j = count - 1; i < count; j = i++) {
      double r0 = Row(p[j].x), r1 = Row(p[i].x), c0 = Column(p[j].y), c1 = Column(p[i].y);
      if (!std::isfinite(r0 + r1 + c0 + c1)) continue;
      if (r0 > r1) {
        std::swap(r0, r1);
        std::swap(c0, c1);
      }
      // Rows whose centre lies in [r0, r1).
      int first = static_cast<int>(std::ceil(std::max(r0, -1e6) - 0.5)), last = static_cast<int>(std::ceil(std::min(r1, 1e6) - 0.5));
      first = std::max(first, 0);
      last = std::min(last, n_);
      if (first >= last) continue;
      double slope = (c1 - c0) / (r1 - r0);
      for (int r = first; r < last; ++r) {
        double c = c0 + (r + 0.5 - r0) * slope;
        int column = static_cast<int>(std::ceil(std::clamp(c, -1.0, n_ + 1.0) - 0.5));
        crossings_.push_back(static_cast<uint32_t>(r) << 16 | static_cast<uint32_t>(std::clamp(column, 0, n_)));
      }
    }
  }
  void Flush(Colour colour) {
    std::sort(crossings_.begin(), crossings_.end());
    for (size_t i = 0; i + 1 < crossings_.size(); i += 2) {
      uint32_t row = crossings_[i] >> 16;
      Colour* line = &pixels_[static_cast<size_t>(row) * n_];
      Colour *first = line + (crossings_[i] & 0xffff), *last = line + (crossings_[i + 1] & 0xffff);
      if (on_road_only_) {
        const auto off_road = [](const Colour& c) { return c.r == kOffRoad.r && c.g == kOffRoad.g && c.b == kOffRoad.b; };
        std::replace_if(first, last, [&](const Colour& c) { return !off_road(c); }, colour);
      } else {
        std::fill(first, last, colour);
      }
    }
  }

  const int size_, n_;
  std::vector<Colour> pixels_;
  bool on_road_only_ = false;
  std::vector<uint32_t> crossings_;  // row << 16 | first column right of the edge
};

bool Near(const std::vector<ViewRing>& rings) {
  double x0 = 1e9, x1 = -1e9, y0 = 1e9, y1 = -1e9;
  for (const ViewRing& r : rings)
    for (const Vec2& p : r.points) {
      x0 = std::min(x0, p.x);
      x1 = std::max(x1, p.x);
      y0 = std::min(y0, p.y);
      y1 = std::max(y1, p.y);
    }
  return x1 > -kRasterBehind && x0 < kRasterAhead && y1 > -kRasterSide && y0 < kRasterSide;
}

void DrawRoad(const SceneView& view, Canvas* canvas) {
  for (const ViewPolygon& p : view.drivable())
    if (Near(p.rings)) canvas->Fill(p.rings, kRoad);
  static const std::vector<Vec2> kNone;
  const auto& route = view.path_is_route() ? view.path().points() : kNone;
  canvas->OnRoadOnly(true);  // where the road's edge cuts into the route, the edge is what matters
  double s = 0;
  const double ego_s = view.path().Project({0, 0}).s;
  for (size_t i = 0; i + 1 < route.size(); ++i) {
    s += std::hypot(route[i + 1].x - route[i].x, route[i + 1].y - route[i].y);
    if (s > ego_s - 10) canvas->Line(route[i], route[i + 1], 3.0, kRoute);
  }
  canvas->OnRoadOnly(false);
  for (const ViewPolygon& p : view.lanes())
    if (p.type == v1::LANE && Near(p.rings)) canvas->Outline(p.rings[0], 0.35, kLaneLine);
}

void DrawRedLights(const SceneView& view, const v1::Scene& scene, Canvas* canvas) {
  if (scene.traffic_lights_size() == 0) return;
  absl::flat_hash_set<std::string> red;
  for (const auto& light : scene.traffic_lights(0).lights())
    if (light.red()) red.insert(light.lane_connector());
  if (red.empty()) return;
  for (const v1::Lane& lane : scene.map().lanes()) {
    if (!red.contains(lane.id())) continue;
    Vec2 before{};
    for (int i = 0; i < lane.baseline_size(); ++i) {
      Vec2 p = view.frame().ToEgo(lane.baseline(i).x(), lane.baseline(i).y());
      if (i > 0) canvas->Line(before, p, 1.4, kRed);
      before = p;
    }
  }
}

void DrawObject(const ViewObject& o, Canvas* canvas) {
  if (!o.now()) return;
  const ObjectState& now = *o.now();
  const Colour colour = TypeColour(o.type);
  const double length = std::max(o.length, 1.2), width = std::max(o.width, 1.2);
  for (int k = -kPastSteps; k < 0; ++k)
    if (const auto& s = o.at(k); s && std::hypot(s->x - now.x, s->y - now.y) > 0.3)
      canvas->Box(s->x, s->y, s->heading, length * 0.7, width * 0.5, Fade(colour, 0.55 + 0.12 * k));
  canvas->Box(now.x, now.y, now.heading, length, width, colour);
  if (std::hypot(now.vx, now.vy) > 0.3) canvas->Line({now.x, now.y}, {now.x + now.vx, now.y + now.vy}, 0.5, kNeedle);
}

}  // namespace

Image Rasterise(const SceneView& view, const v1::Scene& scene, int size) {
  Canvas canvas(std::clamp(size, 8, 2048));
  DrawRoad(view, &canvas);
  DrawRedLights(view, scene, &canvas);
  for (const ViewObject& o : view.objects()) DrawObject(o, &canvas);
  double fade = 0.3;
  for (const v1::Pose& p : view.past()) {
    canvas.Box(p.x(), p.y(), p.heading(), 1.6, 1.0, Fade(kEgo, fade));
    fade += 0.12;
  }
  canvas.Box(kEgoCentre, 0, 0, kEgoFront + kEgoRear, 2 * kEgoHalfWidth, kEgo);
  canvas.Line({kEgoCentre, 0}, {kEgoCentre + scene.ego().vx(), 0}, 0.5, kNeedle);
  return canvas.Finish();
}

Image Rasterise(const v1::Scene& scene, int size) { return Rasterise(SceneView(scene), scene, size); }

}  // namespace swerve
