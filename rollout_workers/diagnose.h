// Step 3: the teacher's report on every scored response (spec: algorithm §3.3).
#ifndef SWERVE_ROLLOUT_WORKERS_DIAGNOSE_H_
#define SWERVE_ROLLOUT_WORKERS_DIAGNOSE_H_

#include "rollout_workers/clients.h"
#include "rollout_workers/types.h"
#include "swerve/v1/config.pb.h"

namespace swerve {

// Never fails: a teacher that gives no answer leaves the group without feedback, and every sample's feedback_outcome
// says why (such a group trains as plain GRPO). Kind `none` without a teachers file is not asked. Blocks on the service.
DiagnosedGroup Diagnose(ScoredGroup group, const v1::RunConfig& config, TeacherClient& service);

// The outcome that stands for a failed call.
v1::Outcome OutcomeOf(const absl::Status& status);

}  // namespace swerve

#endif  // SWERVE_ROLLOUT_WORKERS_DIAGNOSE_H_
