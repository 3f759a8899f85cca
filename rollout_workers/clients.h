// The services a worker talks to, as it sees them. Implementations retry what may pass (unavailable, exhausted) with
// backoff and jitter inside their deadline, so an error returned here is final for the caller. Thread-safe; block.
#ifndef SWERVE_ROLLOUT_WORKERS_CLIENTS_H_
#define SWERVE_ROLLOUT_WORKERS_CLIENTS_H_

#include "base/status.h"
#include "swerve/v1/feedback.pb.h"
#include "swerve/v1/orchestrator.pb.h"
#include "swerve/v1/reward.pb.h"

namespace swerve {

class RewardClient {
 public:
  virtual ~RewardClient() = default;
  virtual absl::StatusOr<v1::ScoreGroupReply> ScoreGroup(const v1::ScoreGroupRequest& request) = 0;
};

class TeacherClient {
 public:
  virtual ~TeacherClient() = default;
  virtual absl::StatusOr<v1::DiagnoseReply> Diagnose(const v1::DiagnoseRequest& request) = 0;
};

class OrchestratorClient {
 public:
  virtual ~OrchestratorClient() = default;
  virtual absl::StatusOr<v1::LeaseReply> LeaseScenes(const v1::LeaseRequest& request) = 0;
  virtual absl::StatusOr<v1::CompleteReply> CompleteLease(const v1::CompleteRequest& request) = 0;
  virtual absl::StatusOr<v1::ReportReply> Report(const v1::ReportRequest& request) = 0;
};

}  // namespace swerve

#endif  // SWERVE_ROLLOUT_WORKERS_CLIENTS_H_
