// One simulation as columns over time, for tests of many samples at once: the ego's box at every sample, and where it
// would be a little later at its present speed. Plain values, local frame; pure functions, thread-safe, no allocation.
#ifndef SWERVE_PDM_MOTION_H_
#define SWERVE_PDM_MOTION_H_

#include <array>
#include <cstdint>
#include <limits>

#include "pdm/area_grid.h"
#include "pdm/geometry.h"
#include "pdm/lanes.h"
#include "pdm/types.h"

namespace swerve::pdm {

inline constexpr std::array<int, 4> kLookahead = {0, 3, 6, 9};  // samples (§15)
inline constexpr int kChunk = 8, kChunks = 6;                   // samples are tested in chunks
inline constexpr int kColumn = kChunk * kChunks;                // >= kSamples; the last sample is repeated
inline constexpr int kObservedColumn = 64;                      // of objects: >= kColumn - 1 + look-ahead, and whole chunks

// Axis-aligned bounds per chunk of samples; empty when default-constructed.
struct alignas(64) MotionBounds {
  std::array<double, 8> x0, y0, x1, y1;

  MotionBounds() {
    constexpr double kInfinity = std::numeric_limits<double>::infinity();
    x0.fill(kInfinity);
    y0.fill(kInfinity);
    x1.fill(-kInfinity);
    y1.fill(-kInfinity);
  }
  void Add(int chunk, const Bounds& b) {
    x0[chunk] = std::min(x0[chunk], b.x0);
    y0[chunk] = std::min(y0[chunk], b.y0);
    x1[chunk] = std::max(x1[chunk], b.x1);
    y1[chunk] = std::max(y1[chunk], b.y1);
  }
};

struct alignas(64) Motion {
  using Column = std::array<double, kColumn>;

  Column x, y;               // rear axle
  Column cosine, sine;       // of the heading
  Column vx, speed;          // along the heading, signed; of the whole velocity, >= 0
  std::array<Column, 4> centre_x, centre_y;  // of the box moved ahead by 0, 0.3, 0.6, 0.9 s
  std::array<Column, 4> corner_x, corner_y;  // front left, rear left, rear right, front right
  MotionBounds chunks;       // of the circles around those boxes
  Bounds swept;              // of all chunks

  Vec2 Axis(int t) const { return {cosine[t], sine[t]}; }
  Vec2 Centre(int t) const { return {centre_x[0][t], centre_y[0][t]}; }
  Box EgoBox(int t) const { return {Centre(t), Axis(t), kEgoHalfLength, kEgoHalfWidth}; }
};

void MakeMotion(const LaneStates& states, int lane, Motion* out);

// Cells of the four corners and the centre.
struct EgoCells {
  alignas(64) int32_t cell[5][kColumn];
};
void FindCells(const Motion& motion, const AreaGrid::Frame& frame, EgoCells* out);

// Samples at which an object may touch the ego's box moved ahead by each look-ahead: a superset, by their circles.
struct Near {
  int object = 0;
  std::array<uint64_t, 4> at{};  // bit t: sample t of the motion against sample t + look-ahead of the object
};
// Looks through objects from *next on, until all are done or `most` are found; moves *next on. Returns how many are in out.
class Observation;
int FindNear(const Motion& motion, const Observation& observation, int most, int* next, Near* out);

}  // namespace swerve::pdm

#endif  // SWERVE_PDM_MOTION_H_
