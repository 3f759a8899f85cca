// Plane geometry of the score: oriented boxes, prepared polygons, polylines. Closed-set intersections (touching
// counts), strict containment (a boundary point is outside; holes respected): spec, PDM score §1.
// All values are immutable after construction and thread-safe; no call allocates unless it returns a vector.
#ifndef SWERVE_PDM_GEOMETRY_H_
#define SWERVE_PDM_GEOMETRY_H_

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <vector>

#include "absl/types/span.h"
#include "pdm/types.h"

namespace swerve::pdm {

// Axis-aligned bounds; empty when default-constructed.
struct Bounds {
  double x0 = std::numeric_limits<double>::infinity(), y0 = x0, x1 = -x0, y1 = -x0;
  void Add(Vec2 p) {
    if (p.x < x0) x0 = p.x;
    if (p.x > x1) x1 = p.x;
    if (p.y < y0) y0 = p.y;
    if (p.y > y1) y1 = p.y;
  }
  void Add(const Bounds& b) {
    Add(Vec2{b.x0, b.y0});
    Add(Vec2{b.x1, b.y1});
  }
  bool Overlaps(const Bounds& b) const { return x0 <= b.x1 && b.x0 <= x1 && y0 <= b.y1 && b.y0 <= y1; }
  double DistanceTo(Vec2 p) const {  // 0 inside
    return Norm({std::max({x0 - p.x, 0.0, p.x - x1}), std::max({y0 - p.y, 0.0, p.y - y1})});
  }
  bool Holds(Vec2 p) const { return x0 <= p.x && p.x <= x1 && y0 <= p.y && p.y <= y1; }
};

// A rectangle: centre, unit axis along its length, half extents.
struct Box {
  Vec2 centre, axis;
  double half_length = 0, half_width = 0;

  Vec2 Normal() const { return {-axis.y, axis.x}; }
  // Front left, rear left, rear right, front right.
  std::array<Vec2, 4> Corners() const {
    Vec2 l = half_length * axis, w = half_width * Normal();
    return {centre + l + w, centre - l + w, centre - l - w, centre + l - w};
  }
  double Radius() const { return std::sqrt(half_length * half_length + half_width * half_width); }
  Bounds GetBounds() const;
};

// The ego's box for a rear-axle pose.
inline Box EgoBox(double x, double y, Vec2 direction) {
  return {EgoCentre(x, y, direction), direction, kEgoHalfLength, kEgoHalfWidth};
}

bool Intersects(const Box& a, const Box& b);
bool Intersects(Vec2 a, Vec2 b, const Box& box);  // segment ab
double Distance(const Box& a, const Box& b);      // 0 when they intersect
double DistanceToSegment(Vec2 p, Vec2 a, Vec2 b);

// A polygon with holes, prepared for many point queries: edges are kept in horizontal slabs, a query reads one slab, and
// most queries only what holds for the whole slab.
class Polygon {
 public:
  Polygon() = default;
  // Rings may repeat their first point at the end. A ring with fewer than 3 distinct points contains nothing.
  explicit Polygon(std::vector<std::vector<Vec2>> rings);

  bool Contains(Vec2 p) const;  // strictly inside
  bool Intersects(const Box& box) const;
  bool Intersects(const Polygon& other) const;
  double BoundaryDistance(Vec2 p) const;
  const Bounds& bounds() const { return bounds_; }
  const std::vector<std::vector<Vec2>>& rings() const { return rings_; }
  double Area() const;  // of the exterior minus the holes

 private:
  struct Edge {
    Vec2 a, b;
  };
  // What needs no edge to be read: outside of [first, last] no point is inside, within (inside0, inside1) every one is.
  struct SlabFacts {
    double first, last, inside0, inside1;
  };
  bool ContainsByEdges(int slab, Vec2 p) const;
  void FindSlabFacts();

  std::vector<std::vector<Vec2>> rings_;  // first is the exterior
  std::vector<Edge> outline_;             // every edge once
  std::vector<Edge> edges_;               // copied slab by slab
  std::vector<SlabFacts> facts_;          // per slab
  std::vector<uint32_t> slab_begin_;      // slabs + 1 offsets into edges_
  double slabs_per_metre_ = 0;
  Bounds bounds_;
};

// A polyline with arc lengths. Consecutive duplicates are kept but never chosen.
class Polyline {
 public:
  Polyline() = default;
  explicit Polyline(std::vector<Vec2> points);

  struct Projection {
    double arc = 0;       // arc length of the nearest point, from the start
    double distance = 0;  // to it
    int segment = -1;     // index of the segment's first vertex; -1: no segment
  };
  Projection Project(Vec2 p) const;  // nearest point, the first segment on ties (§14)
  // Project(p).distance <= reach, faster. `hint`: in and out, where the last point of a path was found; any value is
  // right, start with 0.
  bool Within(Vec2 p, double reach, int* hint) const;
  double length() const { return arc_.empty() ? 0 : arc_.back(); }
  const std::vector<Vec2>& points() const { return points_; }
  const std::vector<double>& arc() const { return arc_; }  // per vertex

 private:
  std::vector<Vec2> points_;
  std::vector<double> arc_;
  std::vector<Bounds> chunks_;  // bounds of every kStretch segments: most are skipped unread
};

}  // namespace swerve::pdm

#endif  // SWERVE_PDM_GEOMETRY_H_
