// What a vehicle occupies or is about to: boxes and discs. Plain geometry, values, thread-safe.
#ifndef SWERVE_PDM_STRIP_H_
#define SWERVE_PDM_STRIP_H_

#include <vector>

#include "pdm/geometry.h"
#include "pdm/planner.h"

namespace swerve::pdm {

class Strip {
 public:
  explicit Strip(const Box& box) { Add(box); }
  // The path between two arc lengths (clipped to it), `half_width` to either side, with flat ends and round joints.
  Strip(const PosePath& path, double from, double to, double half_width);

  void Add(const Box& box);
  bool empty() const { return boxes_.empty(); }
  bool Intersects(const Strip& other) const;
  double Distance(const Strip& other) const;  // 0 when they intersect; infinite if either is empty

 private:
  std::vector<Box> boxes_;
  std::vector<Vec2> joints_;  // centres of discs
  double radius_ = 0;         // of the discs
  Bounds bounds_;
};

}  // namespace swerve::pdm

#endif  // SWERVE_PDM_STRIP_H_
