#include "pdm/geometry.h"

#include <algorithm>

namespace swerve::pdm {
namespace {

constexpr int kStretch = 16;
constexpr double kInfinity = std::numeric_limits<double>::infinity();

bool SegmentsIntersect(Vec2 a, Vec2 b, Vec2 c, Vec2 d) {
  auto side = [](Vec2 p, Vec2 q, Vec2 r) {
    double v = Cross(q - p, r - p);
    return (v > 0) - (v < 0);
  };
  auto on = [](Vec2 p, Vec2 q, Vec2 r) {  // r is collinear with pq: within its bounds?
    return std::min(p.x, q.x) <= r.x && r.x <= std::max(p.x, q.x) && std::min(p.y, q.y) <= r.y &&
           r.y <= std::max(p.y, q.y);
  };
  int s1 = side(a, b, c), s2 = side(a, b, d), s3 = side(c, d, a), s4 = side(c, d, b);
  if (s1 * s2 < 0 && s3 * s4 < 0) return true;
  return (s1 == 0 && on(a, b, c)) || (s2 == 0 && on(a, b, d)) || (s3 == 0 && on(c, d, a)) || (s4 == 0 && on(c, d, b));
}

double SquaredDistanceToSegment(Vec2 p, Vec2 a, Vec2 b, double* factor) {
  Vec2 d = b - a;
  double f = std::clamp(Dot(p - a, d) / Dot(d, d), 0.0, 1.0);
  Vec2 r = p - (a + f * d);
  *factor = f;
  return Dot(r, r);
}

double SquaredDistance(const Bounds& b, Vec2 p) {
  double dx = std::max({b.x0 - p.x, 0.0, p.x - b.x1}), dy = std::max({b.y0 - p.y, 0.0, p.y - b.y1});
  return dx * dx + dy * dy;
}

}  // namespace

Bounds Box::GetBounds() const {
  double ex = half_length * std::fabs(axis.x) + half_width * std::fabs(axis.y);
  double ey = half_length * std::fabs(axis.y) + half_width * std::fabs(axis.x);
  return {centre.x - ex, centre.y - ey, centre.x + ex, centre.y + ey};
}

bool Intersects(const Box& a, const Box& b) {
  // Separating axes: the two of each box.
  Vec2 d = b.centre - a.centre;
  double c = std::fabs(Dot(a.axis, b.axis)), s = std::fabs(Cross(a.axis, b.axis));
  if (std::fabs(Dot(d, a.axis)) > a.half_length + b.half_length * c + b.half_width * s) return false;
  if (std::fabs(Cross(a.axis, d)) > a.half_width + b.half_length * s + b.half_width * c) return false;
  if (std::fabs(Dot(d, b.axis)) > b.half_length + a.half_length * c + a.half_width * s) return false;
  return std::fabs(Cross(b.axis, d)) <= b.half_width + a.half_length * s + a.half_width * c;
}

bool Intersects(Vec2 a, Vec2 b, const Box& box) {
  Vec2 middle = 0.5 * (a + b) - box.centre, half = 0.5 * (b - a);
  Vec2 n = box.Normal();
  if (std::fabs(Dot(middle, box.axis)) > box.half_length + std::fabs(Dot(half, box.axis))) return false;
  if (std::fabs(Dot(middle, n)) > box.half_width + std::fabs(Dot(half, n))) return false;
  return std::fabs(Cross(half, middle)) <=
         box.half_length * std::fabs(Cross(half, box.axis)) + box.half_width * std::fabs(Cross(half, n));
}

double DistanceToSegment(Vec2 p, Vec2 a, Vec2 b) {
  if (a.x == b.x && a.y == b.y) return Norm(p - a);
  double f;
  return std::sqrt(SquaredDistanceToSegment(p, a, b, &f));
}

double Distance(const Box& a, const Box& b) {
  if (Intersects(a, b)) return 0;
  double best = kInfinity;
  auto ca = a.Corners(), cb = b.Corners();
  for (int i = 0; i < 4; ++i) {
    for (int j = 0; j < 4; ++j) {
      best = std::min(best, DistanceToSegment(ca[i], cb[j], cb[(j + 1) % 4]));
      best = std::min(best, DistanceToSegment(cb[i], ca[j], ca[(j + 1) % 4]));
    }
  }
  return best;
}

Polygon::Polygon(std::vector<std::vector<Vec2>> rings) : rings_(std::move(rings)) {
  std::vector<Edge> all;
  for (const auto& ring : rings_) {
    size_t n = ring.size();
    for (size_t i = 0; i < n; ++i) {
      Vec2 a = ring[i], b = ring[(i + 1) % n];
      if (a.x != b.x || a.y != b.y) all.push_back({a, b});
      bounds_.Add(a);
    }
  }
  outline_ = std::move(all);
  if (outline_.empty()) return;
  int slabs = std::clamp<int>(static_cast<int>(outline_.size() / 2), 16, 64);
  double height = bounds_.y1 - bounds_.y0;
  if (!(height < 1e9)) slabs = 1;  // nothing real; the arithmetic of slabs would overflow
  slabs_per_metre_ = height > 0 && slabs > 1 ? slabs / height : 0;
  if (slabs_per_metre_ == 0 || !std::isfinite(slabs_per_metre_)) slabs = 1, slabs_per_metre_ = 0;
  auto slab_of = [&](double y) {
    return std::clamp(static_cast<int>((y - bounds_.y0) * slabs_per_metre_), 0, slabs - 1);
  };
  std::vector<std::vector<Edge>> in_slab(slabs);
  for (const Edge& e : outline_) {
    for (int s = slab_of(std::min(e.a.y, e.b.y)), last = slab_of(std::max(e.a.y, e.b.y)); s <= last; ++s) {
      in_slab[s].push_back(e);
    }
  }
  slab_begin_.push_back(0);
  for (const auto& s : in_slab) {
    edges_.insert(edges_.end(), s.begin(), s.end());
    slab_begin_.push_back(static_cast<uint32_t>(edges_.size()));
  }
  FindSlabFacts();
}

// Between the edges of a slab, cut to its height, no edge passes: all points of such a gap are inside or none. The widest
// gap that is inside is kept. Edges are widened by more than what rounding can do.
void Polygon::FindSlabFacts() {
  const int slabs = static_cast<int>(slab_begin_.size()) - 1;
  for (int s = 0; s < slabs; ++s) {
    SlabFacts facts{bounds_.x0, bounds_.x1, kInfinity, -kInfinity};
    if (slabs > 1) {
      const double height = 1 / slabs_per_metre_, margin = 1e-9 * (1 + std::fabs(bounds_.x0) + std::fabs(bounds_.x1) + height);
      const double y0 = bounds_.y0 + s * height - 1e-6 * height, y1 = y0 + (1 + 2e-6) * height;
      std::vector<std::pair<double, double>> taken;  // of the x axis, by edges
      for (uint32_t i = slab_begin_[s]; i < slab_begin_[s + 1]; ++i) {
        const Edge& e = edges_[i];
        auto at = [&](double y) {
          return e.a.x + std::clamp((y - e.a.y) / (e.b.y - e.a.y), 0.0, 1.0) * (e.b.x - e.a.x);
        };
        double x0 = e.a.x, x1 = e.b.x;
        if (std::fabs(e.b.y - e.a.y) > 1e-3 * height) x0 = at(y0), x1 = at(y1);
        taken.emplace_back(std::min(x0, x1) - margin, std::max(x0, x1) + margin);
      }
      std::sort(taken.begin(), taken.end());
      facts.first = taken.empty() ? kInfinity : taken.front().first;
      double reached = taken.empty() ? -kInfinity : taken.front().second;
      for (const auto& [x0, x1] : taken) {
        if (x0 - reached > facts.inside1 - facts.inside0 && ContainsByEdges(s, {0.5 * (reached + x0), 0.5 * (y0 + y1)})) {
          facts.inside0 = reached;
          facts.inside1 = x0;
        }
        reached = std::max(reached, x1);
      }
      facts.last = reached;
    }
    facts_.push_back(facts);
  }
}

bool Polygon::Contains(Vec2 p) const {
  if (!bounds_.Holds(p) || facts_.empty()) return false;
  const int slabs = static_cast<int>(facts_.size());
  const int s = slabs == 1 ? 0 : std::clamp(static_cast<int>((p.y - bounds_.y0) * slabs_per_metre_), 0, slabs - 1);
  const SlabFacts& facts = facts_[s];
  if (p.x > facts.inside0 && p.x < facts.inside1) return true;
  if (p.x < facts.first || p.x > facts.last) return false;
  return ContainsByEdges(s, p);
}

bool Polygon::ContainsByEdges(int s, Vec2 p) const {
  bool inside = false;
  for (uint32_t i = slab_begin_[s]; i < slab_begin_[s + 1]; ++i) {
    const Edge& e = edges_[i];
    bool above_a = e.a.y > p.y, above_b = e.b.y > p.y;
    if (above_a != above_b) {
      double c = Cross(e.b - e.a, p - e.a);
      if (c == 0) return false;
      inside ^= (c > 0) == above_b;
    } else if (e.a.y == p.y && e.b.y == p.y && std::min(e.a.x, e.b.x) <= p.x && p.x <= std::max(e.a.x, e.b.x)) {
      return false;
    }
  }
  return inside;
}

bool Polygon::Intersects(const Box& box) const {
  if (outline_.empty() || !bounds_.Overlaps(box.GetBounds())) return false;
  for (const Edge& e : outline_) {
    if (pdm::Intersects(e.a, e.b, box)) return true;
  }
  return Contains(box.centre);  // no edge meets the box: it is wholly inside or wholly outside
}

bool Polygon::Intersects(const Polygon& other) const {
  if (outline_.empty() || other.outline_.empty() || !bounds_.Overlaps(other.bounds_)) return false;
  for (const Edge& e : outline_) {
    for (const Edge& f : other.outline_) {
      if (SegmentsIntersect(e.a, e.b, f.a, f.b)) return true;
    }
  }
  return Contains(other.outline_[0].a) || other.Contains(outline_[0].a);
}

double Polygon::BoundaryDistance(Vec2 p) const {
  double best = kInfinity, f;
  for (const Edge& e : outline_) best = std::min(best, SquaredDistanceToSegment(p, e.a, e.b, &f));
  return std::sqrt(best);
}

double Polygon::Area() const {
  double total = 0;
  for (size_t r = 0; r < rings_.size(); ++r) {
    double a = 0;
    const auto& ring = rings_[r];
    for (size_t i = 0; i < ring.size(); ++i) a += Cross(ring[i] - ring[0], ring[(i + 1) % ring.size()] - ring[0]);
    total += (r == 0 ? 0.5 : -0.5) * std::fabs(a);
  }
  return total;
}

Polyline::Polyline(std::vector<Vec2> points) : points_(std::move(points)) {
  double s = 0;
  for (size_t i = 0; i < points_.size(); ++i) {
    if (i > 0) s += Norm(points_[i] - points_[i - 1]);
    arc_.push_back(s);
    // A chunk's bounds hold both ends of its segments.
    if (i % kStretch == 0) {
      if (i > 0) chunks_.back().Add(points_[i]);
      chunks_.emplace_back();
    }
    chunks_.back().Add(points_[i]);
  }
}

Polyline::Projection Polyline::Project(Vec2 p) const {
  Projection best;
  double nearest = kInfinity;
  int segments = static_cast<int>(points_.size()) - 1;
  // What lies in the chunk that may be nearest bounds what can be nearest at all.
  double bound = kInfinity, least = kInfinity;
  int likely = 0;
  for (int first = 0; first < segments; first += kStretch) {
    const double d = SquaredDistance(chunks_[first / kStretch], p);
    if (d < least) least = d, likely = first;
  }
  for (int i = likely, last = std::min(likely + kStretch, segments); i < last; ++i) {
    const Vec2 a = points_[i], b = points_[i + 1];
    double f;
    if (a.x != b.x || a.y != b.y) bound = std::min(bound, SquaredDistanceToSegment(p, a, b, &f));
  }
  for (int first = 0; first < segments; first += kStretch) {
    // Bounds are exact, distances round: the margin keeps a tie from being skipped.
    if (SquaredDistance(chunks_[first / kStretch], p) > std::min(nearest, bound) * (1 + 1e-12) + 1e-18) continue;
    for (int i = first, last = std::min(first + kStretch, segments); i < last; ++i) {
      Vec2 a = points_[i], b = points_[i + 1];
      if (a.x == b.x && a.y == b.y) continue;
      double f, d = SquaredDistanceToSegment(p, a, b, &f);
      if (d < nearest) {
        nearest = d;
        best = {arc_[i] + f * (arc_[i + 1] - arc_[i]), 0, i};
      }
    }
  }
  best.distance = std::sqrt(nearest);
  return best;
}

bool Polyline::Within(Vec2 p, double reach, int* hint) const {
  const int segments = static_cast<int>(points_.size()) - 1, chunks = (segments + kStretch - 1) / kStretch;
  const double bound = reach * reach * (1 + 1e-12);  // distances round, as in Project
  if (*hint < 0 || *hint >= chunks) *hint = 0;
  for (int n = 0, c = *hint; n < chunks; ++n, c = c + 1 < chunks ? c + 1 : 0) {
    if (SquaredDistance(chunks_[c], p) > bound + 1e-18) continue;
    for (int i = c * kStretch, last = std::min(i + kStretch, segments); i < last; ++i) {
      const Vec2 a = points_[i], b = points_[i + 1];
      double f;
      if ((a.x != b.x || a.y != b.y) && std::sqrt(SquaredDistanceToSegment(p, a, b, &f)) <= reach) {
        *hint = c;
        return true;
      }
    }
  }
  return false;
}

}  // namespace swerve::pdm
