// Step 4: the same policy answers again with the report in hand; better answers compete for the k places of the group
// (spec: algorithm §3.4-3.5).
#ifndef SWERVE_ROLLOUT_WORKERS_REFINE_H_
#define SWERVE_ROLLOUT_WORKERS_REFINE_H_

#include <optional>

#include "absl/types/span.h"
#include "rollout_workers/clients.h"
#include "rollout_workers/types.h"
#include "swerve/v1/config.pb.h"

namespace swerve {

// One answer to be sampled: which original it refines, and the feedback prompt with its one seed.
struct RefineRequest {
  int of_sample = 0;
  GenerateRequest generate;
};

// One per original with a feedback; correct ones only when rollout.refine_correct. None for injected answers.
std::vector<RefineRequest> RefineRequests(const DiagnosedGroup& group, const v1::RunConfig& config);

// True when RefineRequests or an injection gives step 4 something to do.
bool WantsRefinement(const DiagnosedGroup& group, const v1::RunConfig& config);

// Indices of the k refinements to inject, ascending: drawn without replacement, in a stream of (run seed, group), from
// those whose r_traj is greater than every original's. Fewer when fewer are.
std::vector<int> SelectRefinements(absl::Span<const double> r_traj, double best_original, int k, uint64_t run_seed,
                                   uint64_t group);

// `answers[i]` answers requests[i]; nothing where sampling it failed. Adds the teacher's injected answer (once per
// group; tokenised by `engine`, without log-probabilities, for nothing sampled it). Scores all in one call and selects.
// Marks those that drive the ground truth: every pose less than 0.05 m in x and in y and 0.05 rad from the ground truth
// as the engine's codec writes it. A refinement that was not sampled or not scored is left out; when the whole call
// failed, all are, and `failure` (optional) gets the status: the group trains without refinements. Blocks on the service.
RefinedGroup FinishRefine(DiagnosedGroup group, const std::vector<RefineRequest>& requests,
                          std::vector<std::optional<v1::Response>> answers, const v1::RunConfig& config,
                          const Engine& engine, RewardClient& service, absl::Status* failure = nullptr);

}  // namespace swerve

#endif  // SWERVE_ROLLOUT_WORKERS_REFINE_H_
