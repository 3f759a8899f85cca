#include "scenes/generator/family.h"

#include <cstring>

namespace swerve::generator {
namespace {

// Shares of the common mix: about seven eighths everyday driving, as recordings have it.
constexpr Family kFamilies[] = {
    {"straight_free", false, 20, "free road, cruising or pulling away", StraightFree},
    {"lead_following", false, 22, "a vehicle ahead at a normal gap", LeadFollowing},
    {"curve", false, 14, "gentle bends", Curve},
    {"stop_behind_queue", false, 9, "traffic ahead slows to a standstill in good time", StopBehindQueue},
    {"intersection_straight", false, 9, "straight over a crossing", IntersectionStraight},
    {"intersection_right_turn", false, 7, "right turn without conflict", IntersectionRightTurn},
    {"intersection_left_turn", false, 7, "left turn without conflict", IntersectionLeftTurn},
    {"sharp_curve", true, 1, "tight bend taken too fast by anyone who does not steer and slow", SharpCurve},
    {"hard_braking_leader", true, 1, "the leader brakes hard", HardBrakingLeader},
    {"cut_in", true, 1, "a slower vehicle changes into the ego's lane just ahead", CutIn},
    {"pull_out", true, 0.7, "a parked vehicle pulls out", PullOut},
    {"merge", true, 1, "ramp and main road meet at the same time", Merge},
    {"oncoming_intruder", true, 0.7, "an oncoming vehicle drifts into the ego's lane", OncomingIntruder},
    {"unprotected_left_turn", true, 1, "left turn across oncoming traffic", UnprotectedLeftTurn},
    {"crossing_vehicle", true, 0.8, "a vehicle crosses the ego's way at an intersection", CrossingVehicle},
    {"crossing_pedestrian", true, 1, "a pedestrian walks into the road", CrossingPedestrian},
    {"crossing_cyclist", true, 0.8, "a cyclist crosses", CrossingCyclist},
    {"parked_obstacle", true, 0.8, "a standing vehicle blocks part of the lane", ParkedObstacle},
    {"unclear_boundary", true, 0.6, "no lane lines, a ragged edge cuts into the lane", UnclearBoundary},
    {"temporary_rule_change", true, 0.6, "cones and barriers close the lane", TemporaryRuleChange},
    {"unconventional_obstacle", true, 0.6, "animals, wheelchairs, debris in the road", UnconventionalObstacle},
    {"challenging_conditions", true, 0.6, "slippery road: crawling or spun-out traffic met at speed", ChallengingConditions},
};

}  // namespace

absl::Span<const Family> Families() { return kFamilies; }

const Family* FindFamily(const char* name) {
  for (const Family& family : kFamilies) {
    if (std::strcmp(family.name, name) == 0) return &family;
  }
  return nullptr;
}

}  // namespace swerve::generator
