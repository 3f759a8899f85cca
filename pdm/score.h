// PDMS of a candidate trajectory, v1 rules (spec: PDM score), with the facts behind a failure.
// Pure and thread-safe. A candidate is scored by itself: other candidates never change its score.
#ifndef SWERVE_PDM_SCORE_H_
#define SWERVE_PDM_SCORE_H_

#include <memory>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/types/span.h"
#include "base/status.h"
#include "pdm/prepared_scene.h"
#include "pdm/types.h"
#include "swerve/v1/reward.pb.h"
#include "swerve/v1/scene.pb.h"

namespace swerve::pdm {

// From Scene.ego and Scene.resolved_v1. INVALID_ARGUMENT names the field.
absl::StatusOr<std::shared_ptr<const PreparedScene>> Prepare(const v1::Scene& scene);

struct Score {
  v1::InvalidReason invalid = v1::INVALID_REASON_UNSPECIFIED;  // set: every score is 0 and there are no facts
  v1::SubScores scores;
  v1::FailureFacts facts;
};

// `poses`: ego frame at t = 0, 0.5 … 4.0 s; anything but 8 of them is WRONG_SHAPE. Never fails, never throws.
// Without facts it is faster and `facts` stays empty. The scene must have been prepared with the rules of v1.1 or v1.0.
Score ScoreTrajectory(const PreparedScene& scene, absl::Span<const Pose2> poses, bool want_facts = true);

// The same for many, in order and several times as fast. What else is in `plans` does not change a bit of any score.
std::vector<Score> ScoreTrajectories(const PreparedScene& scene, absl::Span<const absl::Span<const Pose2>> plans,
                                     bool want_facts = true);

// Up to kLanes candidates, simulated side by side.
struct SimulatedCandidates {
  int count = 0;
  std::array<v1::InvalidReason, kLanes> invalid;  // unset: `states` holds the simulation
  LaneStates states;
};
void SimulateCandidates(const PreparedScene& scene, absl::Span<const absl::Span<const Pose2>> plans,
                        SimulatedCandidates* out);

// One candidate of EvaluateCandidates. What the pointers lead to is overwritten once the visitor has returned; the trace
// may be moved from.
struct EvaluatedCandidate {
  size_t index = 0;
  v1::InvalidReason invalid = v1::INVALID_REASON_UNSPECIFIED;  // set: nothing below is
  const SimulatedCandidates* simulated = nullptr;
  int lane = 0;  // of simulated->states
  const Motion* motion = nullptr;
  const Metrics* metrics = nullptr;
  Trace* trace = nullptr;  // null unless asked for
};
// Simulates and evaluates in blocks of kLanes under the scene's rules, and visits each plan in order.
void EvaluateCandidates(const PreparedScene& scene, absl::Span<const absl::Span<const Pose2>> plans, bool want_trace,
                        absl::FunctionRef<void(const EvaluatedCandidate&)> visit);

// The simulation of one candidate, or why there is none.
v1::InvalidReason SimulateCandidate(const PreparedScene& scene, absl::Span<const Pose2> poses, States* states);

// Sub-scores and total of what was evaluated, under v1's rules. `out` must be empty.
void FillScores(const PreparedScene& scene, const Metrics& metrics, v1::SubScores* out);

// Facts of an evaluated simulation (pdm/facts.cc), under any rules. `out` must be empty.
void MakeFacts(const PreparedScene& scene, const Motion& motion, const Metrics& metrics, const Trace& trace,
               v1::FailureFacts* out);

}  // namespace swerve::pdm

#endif  // SWERVE_PDM_SCORE_H_
