// GEOS's reentrant C interface with owners. One context per object that uses it; not thread-safe.
#ifndef SWERVE_SCENES_TRAFFIC_LOG_GEOS_H_
#define SWERVE_SCENES_TRAFFIC_LOG_GEOS_H_

#include <geos_c.h>

#include <memory>
#include <vector>

#include "absl/types/span.h"
#include "scenes/view.h"

namespace swerve {

class Geos {
 public:
  Geos() : context_(GEOS_init_r()) {}
  ~Geos() { GEOS_finish_r(context_); }
  Geos(const Geos&) = delete;
  Geos& operator=(const Geos&) = delete;

  struct Deleter {
    GEOSContextHandle_t context;
    void operator()(GEOSGeometry* g) const { GEOSGeom_destroy_r(context, g); }
  };
  using Shape = std::unique_ptr<GEOSGeometry, Deleter>;

  GEOSContextHandle_t context() const { return context_; }
  // Null geometries (GEOS refused) are passed through by every function.
  Shape Own(GEOSGeometry* g) const { return Shape(g, Deleter{context_}); }
  Shape Line(absl::Span<const Vec2> points) const { return Own(GEOSGeom_createLineString_r(context_, Sequence(points, false))); }
  Shape Polygon(absl::Span<const Vec2> ring) const {
    if (ring.size() < 3) return Own(nullptr);
    GEOSGeometry* shell = GEOSGeom_createLinearRing_r(context_, Sequence(ring, true));
    if (!shell) return Own(nullptr);
    Shape p = Own(GEOSGeom_createPolygon_r(context_, shell, nullptr, 0));
    // Recorded rings may cross themselves.
    return p && GEOSisValid_r(context_, p.get()) != 1 ? Own(GEOSMakeValid_r(context_, p.get())) : std::move(p);
  }
  Shape Buffer(const GEOSGeometry* g, double distance, int cap = GEOSBUF_CAP_ROUND, int join = GEOSBUF_JOIN_ROUND) const {
    return Own(g ? GEOSBufferWithStyle_r(context_, g, distance, 4, cap, join, 2.0) : nullptr);
  }
  Shape Union(std::vector<Shape> parts) const {
    std::vector<GEOSGeometry*> raw;
    for (Shape& p : parts)
      if (p) raw.push_back(p.release());
    Shape all = Own(GEOSGeom_createCollection_r(context_, GEOS_GEOMETRYCOLLECTION, raw.data(), raw.size()));
    return Own(all ? GEOSUnaryUnion_r(context_, all.get()) : nullptr);
  }
  Shape ClipToBox(const GEOSGeometry* g, double x0, double y0, double x1, double y1) const {
    std::vector<Vec2> box{{x0, y0}, {x1, y0}, {x1, y1}, {x0, y1}};
    Shape b = Polygon(box);
    return Own(g && b ? GEOSIntersection_r(context_, g, b.get()) : nullptr);
  }
  Shape Simplify(const GEOSGeometry* g, double tolerance) const {
    return Own(g ? GEOSTopologyPreserveSimplify_r(context_, g, tolerance) : nullptr);
  }
  std::vector<Vec2> Points(const GEOSGeometry* ring) const {
    std::vector<Vec2> out;
    const GEOSCoordSequence* s = GEOSGeom_getCoordSeq_r(context_, ring);
    unsigned n = 0;
    if (s) GEOSCoordSeq_getSize_r(context_, s, &n);
    for (unsigned i = 0; i + 1 < n; ++i) {  // the closing point is left out
      Vec2 p;
      GEOSCoordSeq_getXY_r(context_, s, i, &p.x, &p.y);
      out.push_back(p);
    }
    return out;
  }
  // Calls f(exterior, interiors) for every polygon in `g`.
  template <typename F>
  void ForEachPolygon(const GEOSGeometry* g, F f) const {
    if (!g) return;
    int type = GEOSGeomTypeId_r(context_, g);
    if (type == GEOS_POLYGON) {
      if (GEOSisEmpty_r(context_, g)) return;
      std::vector<std::vector<Vec2>> holes;
      for (int i = 0; i < GEOSGetNumInteriorRings_r(context_, g); ++i)
        holes.push_back(Points(GEOSGetInteriorRingN_r(context_, g, i)));
      f(Points(GEOSGetExteriorRing_r(context_, g)), holes);
    } else if (type == GEOS_MULTIPOLYGON || type == GEOS_GEOMETRYCOLLECTION) {
      for (int i = 0; i < GEOSGetNumGeometries_r(context_, g); ++i) ForEachPolygon(GEOSGetGeometryN_r(context_, g, i), f);
    }
  }

 private:
  GEOSCoordSequence* Sequence(absl::Span<const Vec2> points, bool close) const {
    const unsigned n = points.size();
    GEOSCoordSequence* s = GEOSCoordSeq_create_r(context_, n + (close ? 1 : 0), 2);
    for (unsigned i = 0; i < n; ++i) GEOSCoordSeq_setXY_r(context_, s, i, points[i].x, points[i].y);
    if (close) GEOSCoordSeq_setXY_r(context_, s, n, points[0].x, points[0].y);
    return s;
  }

  GEOSContextHandle_t context_;
};

}  // namespace swerve

#endif  // SWERVE_SCENES_TRAFFIC_LOG_GEOS_H_
