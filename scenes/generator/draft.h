// A scene while it is being invented: roads, the ego on its line, other road users. Families fill it; Finish turns it
// into a Scene at a random place.
#ifndef SWERVE_SCENES_GENERATOR_DRAFT_H_
#define SWERVE_SCENES_GENERATOR_DRAFT_H_

#include <string>
#include <vector>

#include "base/random.h"
#include "scenes/generator/actor.h"
#include "scenes/generator/map_builder.h"
#include "scenes/generator/path.h"
#include "swerve/v1/scene.pb.h"

namespace swerve::generator {

inline constexpr double kRearToCentre = 1.461;  // m, ego
inline constexpr double kRearToFront = 4.049;
inline constexpr double kEgoHalfWidth = 1.1485;

struct Draft {
  MapBuilder map;
  std::vector<std::string> route;  // roadblock ids in driving order
  Path line;                       // centre of the ego's lane, continued along the route
  double s0 = 40;                  // ego's rear axle on `line`, m
  double lateral = 0;              // of the ego from `line`, m, left positive
  double heading_error = 0;        // rad
  double speed = 0;                // m/s
  double accel = 0;                // m/s^2, also over the past 1.5 s
  v1::NavigationCommand command = v1::MOVE_FORWARD;
  bool go_around = false;          // the good driver passes the obstacle instead of waiting behind it
  std::vector<Actor> actors;

  // Where the ego's centre would be on `line` after t seconds at constant speed.
  double Reach(double t) const { return s0 + kRearToCentre + speed * t; }
  void Add(Actor a) { actors.push_back(std::move(a)); }
  void AddBackground(Actor a) {
    a.background = true;
    actors.push_back(std::move(a));
  }
};

// A street the ego drives on: its own direction and, unless one-way, the opposite one on the left.
struct StreetSpec {
  int lanes = 1, opposite = 1;
  double lane_width = 3.5, shoulder = 0.3, limit = 13.9;
};
struct Street {
  Road own, opposite;
  StreetSpec spec;
  int ego_lane = 0;
  Path base;  // centre of the rightmost own lane
  // Left offset of an opposite lane's centre from the ego's lane (0: nearest).
  double OppositeOffset(int lane) const { return (spec.lanes - ego_lane + lane) * spec.lane_width; }
};

// Random base line: straight or gently winding, `behind` m before and `ahead` m after the ego.
Path RandomLine(Random& rng, double behind, double ahead, double bendiness);
StreetSpec RandomStreetSpec(Random& rng);
// Lays the street along `base`, puts the ego on lane `ego_lane` and fills line, route and small errors of pose.
Street LayStreet(Draft* draft, Random& rng, const Path& base, const StreetSpec& spec, int ego_lane);
// Speed a driver would have under this limit, and a small acceleration.
void Cruise(Draft* draft, Random& rng, double limit, double low = 0.75, double high = 1.0);
// Traffic in the other lanes and people beside the road; never in the ego's lane.
struct Backdrop {
  double opposite = 0.6, same = 0.5, beside = 0.6;  // density 0 … 1
};
void AddBackdrop(Draft* draft, Random& rng, const Street& street, const Backdrop& backdrop);

// Four arms; the ego comes along arm 0's incoming road. Arms: 0 own, 1 right, 2 ahead, 3 left.
struct Crossing {
  std::vector<Road> in, out;  // per arm
  double half = 10;           // m from the centre to where lanes end
  Pose centre;
  double limit = 11;
  std::vector<std::vector<Road>> turns;  // [arm][0 right, 1 straight, 2 left], lane 0 / 0.. / last
};
enum Turn { kRight = 0, kStraight = 1, kLeft = 2 };
struct CrossingSpec {
  int lanes = 1;
  double lane_width = 3.5, limit = 11, skew = 0.15;
};
// `distance`: from the ego's rear axle to where its lane ends.
Crossing LayCrossing(Draft* draft, Random& rng, const CrossingSpec& spec, Turn turn, double distance);
// The line of another road user through the crossing.
Path Through(const Crossing& crossing, int arm, Turn turn, int lane = 0);

// Turns the draft into a Scene without resolved data and GT: tracks, past, ego history, random global pose.
v1::Scene Finish(const Draft& draft, Random& rng);

}  // namespace swerve::generator

#endif  // SWERVE_SCENES_GENERATOR_DRAFT_H_
