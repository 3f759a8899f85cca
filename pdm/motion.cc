#include "pdm/motion.h"

#include <algorithm>

#include "pdm/occupancy.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "pdm/motion.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "pdm/angles-inl.h"

HWY_BEFORE_NAMESPACE();
namespace swerve::pdm {
namespace HWY_NAMESPACE {
namespace {

constexpr double kMargin = 1e-6;  // m, far more than rounding

template <class C>
HWY_INLINE V Get(const C& column, int t) {
  return hn::Load(D(), column.data() + t);
}
template <class C>
HWY_INLINE void Put(V v, C& column, int t) {
  hn::Store(v, D(), column.data() + t);
}

// Box and look-aheads, from pose and speed.
void Complete(Motion* m) {
  for (int t = 0; t < kColumn; t += static_cast<int>(hn::Lanes(D()))) {
    const V c = Get(m->cosine, t), s = Get(m->sine, t), speed = Get(m->speed, t);
    const V x = hn::Add(Get(m->x, t), hn::Mul(Const(kRearAxleToCentre), c));
    const V y = hn::Add(Get(m->y, t), hn::Mul(Const(kRearAxleToCentre), s));
    for (int f = 0; f < 4; ++f) {
      const V way = hn::Mul(speed, Const(0.1 * kLookahead[f]));
      Put(f == 0 ? x : hn::Add(x, hn::Mul(way, c)), m->centre_x[f], t);
      Put(f == 0 ? y : hn::Add(y, hn::Mul(way, s)), m->centre_y[f], t);
    }
    // As Box::Corners has it: length along the axis, then width along the normal (-s, c).
    const V lx = hn::Mul(Const(kEgoHalfLength), c), ly = hn::Mul(Const(kEgoHalfLength), s);
    const V wx = hn::Neg(hn::Mul(Const(kEgoHalfWidth), s)), wy = hn::Mul(Const(kEgoHalfWidth), c);
    Put(hn::Add(hn::Add(x, lx), wx), m->corner_x[0], t);
    Put(hn::Add(hn::Add(y, ly), wy), m->corner_y[0], t);
    Put(hn::Add(hn::Sub(x, lx), wx), m->corner_x[1], t);
    Put(hn::Add(hn::Sub(y, ly), wy), m->corner_y[1], t);
    Put(hn::Sub(hn::Sub(x, lx), wx), m->corner_x[2], t);
    Put(hn::Sub(hn::Sub(y, ly), wy), m->corner_y[2], t);
    Put(hn::Sub(hn::Add(x, lx), wx), m->corner_x[3], t);
    Put(hn::Sub(hn::Add(y, ly), wy), m->corner_y[3], t);
  }
}

void Cells(const Motion& m, const AreaGrid::Frame& frame, EgoCells* out) {
  const hn::Rebind<int32_t, D> d32;
  for (int p = 0; p < 5; ++p) {
    const Motion::Column &px = p < 4 ? m.corner_x[p] : m.centre_x[0], &py = p < 4 ? m.corner_y[p] : m.centre_y[0];
    for (int t = 0; t < kColumn; t += static_cast<int>(hn::Lanes(D()))) {
      const V dx = hn::Sub(Get(px, t), Const(frame.origin.x)), dy = hn::Sub(Get(py, t), Const(frame.origin.y));
      auto index = [&](V along, int n) {  // 0 … n + 1; whatever is not inside, NaN included, becomes 0 or n + 1
        const V at = hn::Add(hn::Mul(along, Const(frame.per_metre)), Const(1));
        const V low = hn::IfThenElseZero(hn::Ge(at, Const(0)), at);
        return hn::Floor(hn::IfThenElse(hn::Lt(low, Const(n + 1)), low, Const(n + 1)));
      };
      const V ix = index(hn::Add(hn::Mul(dx, Const(frame.axis.x)), hn::Mul(dy, Const(frame.axis.y))), frame.nx);
      const V iy = index(hn::Sub(hn::Mul(dy, Const(frame.axis.x)), hn::Mul(dx, Const(frame.axis.y))), frame.ny);
      hn::Store(hn::DemoteTo(d32, hn::Add(hn::Mul(iy, Const(frame.nx + 2)), ix)), d32, out->cell[p] + t);
    }
  }
}

// Chunks in which the object's bounds overlap the motion's, one bit each.
HWY_INLINE unsigned SharedChunks(const MotionBounds& a, const MotionBounds& b) {
  unsigned out = 0;
  for (int c = 0; c < 8; c += static_cast<int>(hn::Lanes(D()))) {
    const auto x = hn::And(hn::Le(Get(a.x0, c), Get(b.x1, c)), hn::Le(Get(b.x0, c), Get(a.x1, c)));
    const auto y = hn::And(hn::Le(Get(a.y0, c), Get(b.y1, c)), hn::Le(Get(b.y0, c), Get(a.y1, c)));
    uint8_t bits[8];
    hn::StoreMaskBits(D(), hn::And(x, y), bits);
    out |= static_cast<unsigned>(bits[0]) << c;
  }
  return out;
}

int Find(const Motion& m, const Observation& o, int most, int* next, Near* out) {
  int found = 0;
  for (; *next < o.size() && found < most; ++*next) {
    const int object = *next;
    if (!o.bounds(object).Overlaps(m.swept)) continue;
    const unsigned chunks = SharedChunks(m.chunks, o.chunks(object));
    if (chunks == 0) continue;
    const double reach = kEgoRadius + o.radius(object) + kMargin;
    const V squared = Const(reach * reach);
    const double *ox = o.centre_x(object), *oy = o.centre_y(object);
    Near near;
    for (int t = 0; t < kColumn; t += static_cast<int>(hn::Lanes(D()))) {
      if ((chunks >> (t / kChunk) & 1) == 0) continue;
      for (int f = 0; f < 4; ++f) {
        const V dx = hn::Sub(hn::LoadU(D(), ox + t + kLookahead[f]), Get(m.centre_x[f], t));
        const V dy = hn::Sub(hn::LoadU(D(), oy + t + kLookahead[f]), Get(m.centre_y[f], t));
        uint8_t bits[8];
        hn::StoreMaskBits(D(), hn::Le(hn::Add(hn::Mul(dx, dx), hn::Mul(dy, dy)), squared), bits);
        near.at[f] |= static_cast<uint64_t>(bits[0]) << t;
      }
    }
    constexpr uint64_t kSimulated = (uint64_t{1} << kSamples) - 1;
    for (uint64_t& bits : near.at) bits &= kSimulated;
    if ((near.at[0] | near.at[1] | near.at[2] | near.at[3]) == 0) continue;
    near.object = object;
    out[found++] = near;
  }
  return found;
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace swerve::pdm
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace swerve::pdm {
namespace {
HWY_EXPORT(Complete);
HWY_EXPORT(Cells);
HWY_EXPORT(Find);

}  // namespace

void MakeMotion(const LaneStates& s, int lane, Motion* out) {
  for (int t = 0; t < kColumn; ++t) {
    const int row = std::min(t, kSamples - 1);
    out->x[t] = s.x[row].lane[lane];
    out->y[t] = s.y[row].lane[lane];
    out->cosine[t] = s.cosine[row].lane[lane];
    out->sine[t] = s.sine[row].lane[lane];
    out->vx[t] = s.vx[row].lane[lane];
    out->speed[t] = std::fabs(out->vx[t]);
  }
  if (s.vy0 != 0) out->speed[0] = std::hypot(s.vx[0].lane[lane], s.vy0);
  HWY_DYNAMIC_DISPATCH(Complete)(out);
  out->chunks = MotionBounds();
  out->swept = Bounds();
  const double reach = kEgoRadius + 1e-6;
  for (int c = 0; c < kChunks; ++c) {
    Bounds b;
    for (int t = c * kChunk; t < (c + 1) * kChunk; ++t) {
      b.Add(out->Centre(t));
      b.Add(Vec2{out->centre_x[3][t], out->centre_y[3][t]});  // the other look-aheads lie between
    }
    b.x0 -= reach;
    b.y0 -= reach;
    b.x1 += reach;
    b.y1 += reach;
    out->chunks.Add(c, b);
    out->swept.Add(b);
  }
}

void FindCells(const Motion& motion, const AreaGrid::Frame& frame, EgoCells* out) {
  HWY_DYNAMIC_DISPATCH(Cells)(motion, frame, out);
}

int FindNear(const Motion& motion, const Observation& observation, int most, int* next, Near* out) {
  return HWY_DYNAMIC_DISPATCH(Find)(motion, observation, most, next, out);
}

}  // namespace swerve::pdm
#endif  // HWY_ONCE
