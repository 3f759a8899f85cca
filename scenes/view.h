// A scene as the ego sees it: everything in the ego frame at t = 0 (x forward, y left, metres, radians), objects on one
// 2 Hz grid from -1.5 s to 5 s, and the path that the route asks for. Shared by the prompt texts, the rasteriser and the
// drawings. Built once per scene; immutable afterwards, hence thread-safe. Holds no reference to the scene.
#ifndef SWERVE_SCENES_VIEW_H_
#define SWERVE_SCENES_VIEW_H_

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "swerve/v1/scene.pb.h"

namespace swerve {

// Ego box (spec: PDM score §1.1), metres.
inline constexpr double kEgoFront = 4.049;        // rear axle → front bumper
inline constexpr double kEgoRear = 1.127;         // rear axle → rear bumper
inline constexpr double kEgoHalfWidth = 1.1485;
inline constexpr double kEgoCentre = 1.461;       // rear axle → box centre

struct Vec2 {
  double x = 0;
  double y = 0;
};

double WrapAngle(double a);  // to (-π, π]

// Global ↔ ego frame of one rear-axle pose.
class EgoFrame {
 public:
  explicit EgoFrame(const v1::Pose& rear_axle);
  Vec2 ToEgo(double x, double y) const;
  Vec2 ToGlobal(double x, double y) const;
  Vec2 RotateToEgo(double vx, double vy) const;
  double HeadingToEgo(double h) const { return WrapAngle(h - heading_); }
  v1::Pose ToEgo(const v1::Pose& p) const;
  v1::Pose ToGlobal(const v1::Pose& p) const;

 private:
  double x_, y_, heading_, cos_, sin_;
};

// A polyline with arc length. May be empty.
class Path {
 public:
  struct Projection {
    double s = 0;        // arc length of the nearest point, m
    double d = 0;        // signed distance, left positive, m
    double heading = 0;  // of the nearest segment
    bool inside = false; // false: the nearest point is an end and the query lies beyond it
  };
  Path() = default;
  explicit Path(std::vector<Vec2> points);  // zero-length segments are dropped
  bool empty() const { return points_.size() < 2; }
  double length() const { return empty() ? 0 : s_.back(); }
  Projection Project(Vec2 p) const;  // of an empty path: the x axis
  Vec2 At(double s) const;           // clamped to the ends
  const std::vector<Vec2>& points() const { return points_; }

 private:
  std::vector<Vec2> points_;
  std::vector<double> s_;
};

struct ObjectState {
  double x = 0;  // box centre
  double y = 0;
  double heading = 0;
  double vx = 0;  // ego axes, m/s over ground
  double vy = 0;
};

inline constexpr int kPastSteps = 3;     // -1.5, -1.0, -0.5 s
inline constexpr int kFutureSteps = 11;  // 0, 0.5 … 5.0 s

struct ViewObject {
  std::string token;
  v1::ObjectType type = v1::OBJECT_TYPE_UNSPECIFIED;
  double length = 0;
  double width = 0;
  std::array<std::optional<ObjectState>, kPastSteps + kFutureSteps> states;  // [kPastSteps] is t = 0

  const std::optional<ObjectState>& now() const { return states[kPastSteps]; }
  const std::optional<ObjectState>& at(int half_seconds) const { return states[kPastSteps + half_seconds]; }
};

struct ViewRing {
  std::vector<Vec2> points;
};
struct ViewPolygon {
  std::string token;
  v1::MapType type = v1::MAP_TYPE_UNSPECIFIED;
  std::vector<ViewRing> rings;  // exterior first; even-odd
};

class SceneView {
 public:
  explicit SceneView(const v1::Scene& scene);
  const EgoFrame& frame() const { return frame_; }
  const std::vector<ViewObject>& objects() const { return objects_; }
  // Where cars may drive: ROADBLOCK, INTERSECTION, CARPARK_AREA, DRIVABLE_AREA.
  const std::vector<ViewPolygon>& drivable() const { return drivable_; }
  const std::vector<ViewPolygon>& lanes() const { return lanes_; }  // LANE and LANE_CONNECTOR
  // The route's centre line from a little behind the ego on; without one the GT path, without that straight ahead.
  const Path& path() const { return path_; }
  bool path_is_route() const { return path_is_route_; }  // false: no centre line passes the ego
  // Ego poses before t = 0, oldest first.
  const std::vector<v1::Pose>& past() const { return past_; }
  bool Drivable(Vec2 p) const;

 private:
  EgoFrame frame_;
  std::vector<ViewObject> objects_;
  std::vector<ViewPolygon> drivable_;
  std::vector<ViewPolygon> lanes_;
  bool path_is_route_ = false;
  Path path_;
  std::vector<v1::Pose> past_;
};

// Corners of a box around its centre, counter-clockwise from front left.
std::array<Vec2, 4> BoxCorners(double x, double y, double heading, double length, double width);

}  // namespace swerve

#endif  // SWERVE_SCENES_VIEW_H_
