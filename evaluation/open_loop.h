// Open-loop metrics: how far a plan is from what the good driver did, and what it would have hit, with every road user
// replayed as recorded (spec: systems §1.6). Published numbers of one name come from different rules, up to a factor of two
// apart; each value here belongs to a named protocol. Plans and ground truth: 8 poses, 0.5 … 4.0 s, ego frame, metres.
//
// L2      distance of planned and driven point at each step.
//   uniad   at 1, 2, 3, 4 s: the step at that time.      st_p3   at h: the mean of all steps up to h (as VAD made usual).
//   mean    of the values at 1, 2 and 3 s, as published; the 4 s value is ours, for plans of 4 s, and not in the mean.
// Collision rate: share of scenes hit at a step, horizons and mean as for L2, decided on the grid of bev_occupancy.h.
//   uniad   vehicles (two-wheelers included, as in nuScenes).      st_p3   vehicles and pedestrians.
//   A step at which the ground truth itself hits counts as no hit and stays in the denominator: the released code of both.
//   The benchmarks plan for the LiDAR, our poses are of the rear axle: a point is moved 0.94 m ahead (the mount of the
//   nuScenes car) before it is put on the grid, so that the box lies on the car and not a metre behind it.
// ADE, FDE  mean of the 8 distances; the last. (ADE over 3 s is st_p3's L2 at 3 s, FDE at 3 s uniad's.)
// Miss rate nuscenes: any of the 8 points more than 2 m off; argoverse: the last point more than 2 m off.
// Planning accuracy: speed action, path action and both (joint) equal to those of the ground truth.
//   swerve     scenes/objects.h, with the route's centre line; joint is `planning_accuracy` of eval.h.
//   impromptu  the only published thresholds, from the points alone (ImpromptuAction).
// An answer without 8 finite poses has no distance and no place: it is left out of L2, collisions, ADE and FDE, whose
// denominator is `answered`, and is a miss and a wrong plan in the rates, whose denominator is `scenes`.
// Pure functions, thread-safe.
#ifndef SWERVE_EVALUATION_OPEN_LOOP_H_
#define SWERVE_EVALUATION_OPEN_LOOP_H_

#include <array>
#include <map>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "base/status.h"
#include "evaluation/eval.h"
#include "scenes/objects.h"
#include "scenes/store.h"
#include "swerve/v1/scene.pb.h"

namespace swerve {

inline constexpr int kOpenLoopSteps = 8;     // 0.5 s each
inline constexpr int kOpenLoopHorizons = 4;  // 1 … 4 s
inline constexpr double kMissDistance = 2.0;          // m
inline constexpr double kLidarAheadOfRearAxle = 0.943713;  // m, LIDAR_TOP of nuScenes

template <typename T>
using PerStep = std::array<T, kOpenLoopSteps>;

// What one scene adds.
struct OpenLoopScene {
  std::string family;
  bool answered = false;
  PerStep<double> l2{};       // m; zeros when not answered
  PerStep<bool> hit_uniad{};  // false where the ground truth hits
  PerStep<bool> hit_st_p3{};
  bool swerve_speed_ok = false, swerve_path_ok = false;
  bool impromptu_speed_ok = false, impromptu_path_ok = false;
};

// INVALID_ARGUMENT: the scene has no 8 ground-truth poses. A plan that is not 8 finite poses is not an error.
absl::StatusOr<OpenLoopScene> MeasureOpenLoop(const v1::Scene& scene, absl::Span<const v1::Pose> plan);

// Measures the greedy answer of every scene that Evaluate hands out, in its order; scenes come from `store`. Both must
// outlive the sink. Errors of the store and of MeasureOpenLoop.
AnswerSink MeasureGreedyAnswers(const SceneStore& store, std::vector<OpenLoopScene>* out);

struct Horizons {
  std::array<double, kOpenLoopHorizons> at{};  // 1, 2, 3, 4 s
  double mean = 0;                             // of 1, 2, 3 s
};
Horizons AtTheTime(const PerStep<double>& steps);  // uniad
Horizons UpToTheTime(const PerStep<double>& steps);  // st_p3

struct PlanningAccuracy {
  double speed = 0, path = 0, joint = 0;
};

// Averages. What is divided by `answered` is NaN when nothing was answered; an empty span gives zeros otherwise.
struct OpenLoopSummary {
  int scenes = 0;
  int answered = 0;
  Horizons l2_uniad, l2_st_p3;                // m
  Horizons collision_uniad, collision_st_p3;  // shares
  double ade = 0, fde = 0;                    // m
  double miss_nuscenes = 0, miss_argoverse = 0;
  PlanningAccuracy planning_swerve, planning_impromptu;
};
OpenLoopSummary SummariseOpenLoop(absl::Span<const OpenLoopScene> scenes);

struct OpenLoopResult {
  OpenLoopSummary overall;
  std::map<std::string, OpenLoopSummary> families;
};
OpenLoopResult SummariseOpenLoopByFamily(absl::Span<const OpenLoopScene> scenes);

// Impromptu VLA's labels (systems §1.4) of a path that starts at the origin, in MetaAction's words. Speeds are those of
// half-second steps. First speed < 2 m/s: stop; else speed 2 s later against it, by ±3 m/s: accelerate, decelerate; else
// maintain. The point at 1.5 s less than 1 m from the line of the first step: keep; else direction of the third step
// against the first by 5° or more: turn; else change, to the side of the difference. Needs 5 points; fewer: stop, keep.
MetaAction ImpromptuAction(absl::Span<const v1::Pose> plan);

}  // namespace swerve

#endif  // SWERVE_EVALUATION_OPEN_LOOP_H_
