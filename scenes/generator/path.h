// A planar driving line with arc length: the ruler everything in a generated scene is placed along.
// Metres, radians, counter-clockwise; the generator works in a local frame and moves the finished scene to a random
// place on the globe's map afterwards. Plain values, no locking.
#ifndef SWERVE_SCENES_GENERATOR_PATH_H_
#define SWERVE_SCENES_GENERATOR_PATH_H_

#include <vector>

namespace swerve::generator {

struct Pose {
  double x = 0, y = 0, heading = 0;
};

// Point `d` metres to the left of `p`.
Pose Shift(const Pose& p, double left);
// Point `s` metres ahead of `p` along its heading.
Pose Ahead(const Pose& p, double s);

class Path {
 public:
  explicit Path(const Pose& start = {});

  // Append pieces; each returns *this so that a road reads as one line.
  Path& Straight(double length);
  // Turns by `angle` (left positive) with curvature ramped up and down; `radius` is the tightest radius.
  Path& Bend(double angle, double radius);
  // Cubic blend to `end`, tangent at both sides (connectors of an intersection).
  Path& BlendTo(const Pose& end);

  // Goes on along `next`, which starts where this ends.
  Path& Append(const Path& next);

  // The parallel line `left` metres to the left, same direction.
  Path Offset(double left) const;
  Path Reversed() const;
  // The piece between two arc lengths.
  Path Sub(double from, double to) const;

  double length() const { return s_.empty() ? 0.0 : s_.back(); }
  Pose start() const { return poses_.front(); }
  Pose end() const { return poses_.back(); }
  // Pose at arc length s, shifted left; extrapolated straight beyond both ends.
  Pose At(double s, double left = 0.0) const;
  // Arc length of the nearest point.
  double Project(double x, double y) const;
  const std::vector<Pose>& poses() const { return poses_; }

 private:
  void Push(const Pose& p);
  std::vector<Pose> poses_;
  std::vector<double> s_;
};

}  // namespace swerve::generator

#endif  // SWERVE_SCENES_GENERATOR_PATH_H_
