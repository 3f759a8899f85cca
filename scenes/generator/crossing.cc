#include <algorithm>
#include <cmath>

#include "scenes/generator/draft.h"

namespace swerve::generator {
namespace {

constexpr double kArm = 90;  // m of road beyond the crossing

}  // namespace

Crossing LayCrossing(Draft* draft, Random& rng, const CrossingSpec& spec, Turn turn, double distance) {
  const int n = spec.lanes;
  const double w = spec.lane_width, shoulder = rng.Uniform(0.3, 0.8);
  Crossing x{.half = n * w + rng.Uniform(5.0, 8.0), .limit = spec.limit};
  const double ego_offset = (n - 0.5) * w;
  const int ego_lane = turn == kLeft ? n - 1 : turn == kRight ? 0 : static_cast<int>(rng.Below(n));
  // The ego's lane ends `distance` ahead of the origin; the arm's axis lies to its left.
  const double axis = ego_offset - ego_lane * w;
  x.centre = {distance + x.half, axis, 0};
  const double base[4] = {M_PI, -M_PI / 2, 0, M_PI / 2};
  std::vector<std::pair<double, double>> ring;
  // Counter-clockwise, starting at the ego's arm.
  for (int arm : {0, 1, 2, 3}) {
    const double phi = base[arm] + (arm == 0 ? 0.0 : rng.Uniform(-spec.skew, spec.skew));
    const Pose mouth = Ahead({x.centre.x, x.centre.y, phi}, x.half);
    Path outward(mouth);
    const double length = arm == 0 ? std::max(60.0, distance + 45) : kArm;
    outward.Straight(arm == 0 ? length : 40);
    if (arm != 0) {
      if (rng.Chance(0.4)) outward.Bend(rng.Uniform(-0.5, 0.5), rng.Uniform(60, 120));
      outward.Straight(std::max(10.0, length - outward.length()));
    }
    const RoadSpec road{.lanes = n, .lane_width = w, .right_offset = -ego_offset, .shoulder = shoulder,
                        .median = 0.05, .speed_limit = spec.limit};
    x.out.push_back(draft->map.AddRoad(outward, road));
    x.in.push_back(draft->map.AddRoad(outward.Reversed(), road));
    const double edge = n * w + shoulder;
    for (double side : {-edge, edge}) {
      const Pose p = Shift(Ahead(mouth, 0.05), side);
      ring.emplace_back(p.x, p.y);
    }
  }
  draft->map.Area(v1::INTERSECTION, ring);
  x.turns.resize(4);
  Road used;
  for (int arm = 0; arm < 4; ++arm) {
    const int right = (arm + 1) % 4, ahead = (arm + 2) % 4, left = (arm + 3) % 4;
    x.turns[arm].push_back(draft->map.Connect(x.in[arm], 0, x.out[right], 0, spec.limit));
    for (int lane = 0; lane < n; ++lane) {
      Road straight = draft->map.Connect(x.in[arm], lane, x.out[ahead], lane, spec.limit);
      if (lane == 0) {
        x.turns[arm].push_back(straight);
      } else {
        x.turns[arm][kStraight].lanes.push_back(straight.lanes[0]);
        x.turns[arm][kStraight].centers.push_back(straight.centers[0]);
      }
    }
    x.turns[arm].push_back(draft->map.Connect(x.in[arm], n - 1, x.out[left], n - 1, spec.limit));
  }
  draft->line = Through(x, 0, turn, ego_lane);
  draft->s0 = draft->line.Project(0, 0);
  const int target = turn == kRight ? 1 : turn == kLeft ? 3 : 2;
  draft->route = {x.in[0].block, x.turns[0][turn].block, x.out[target].block};
  draft->command = turn == kRight ? v1::TURN_RIGHT : turn == kLeft ? v1::TURN_LEFT : v1::MOVE_FORWARD;
  draft->lateral = std::clamp(0.12 * rng.Normal(), -0.3, 0.3);
  draft->heading_error = std::clamp(0.01 * rng.Normal(), -0.025, 0.025);
  return x;
}

Path Through(const Crossing& x, int arm, Turn turn, int lane) {
  const int target = (arm + (turn == kRight ? 1 : turn == kStraight ? 2 : 3)) % 4;
  const int n = static_cast<int>(x.in[arm].lanes.size());
  const int from = turn == kRight ? 0 : turn == kLeft ? n - 1 : lane;
  const Road& piece = x.turns[arm][turn];
  Path path = x.in[arm].centers[from];
  path.Append(piece.centers[turn == kStraight ? from : 0]);
  path.Append(x.out[target].centers[from]);
  return path;
}

}  // namespace swerve::generator
