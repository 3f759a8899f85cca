// clients.h over gRPC to the roles of this run (base/role_channel.h: finds them again when they restart elsewhere).
#ifndef SWERVE_ROLLOUT_WORKERS_GRPC_CLIENTS_H_
#define SWERVE_ROLLOUT_WORKERS_GRPC_CLIENTS_H_

#include <memory>

#include "absl/time/time.h"
#include "base/role_channel.h"
#include "base/role_files.h"
#include "rollout_workers/clients.h"

namespace swerve {

// `deadline` is per call, retries included.
std::unique_ptr<RewardClient> MakeRewardClient(const RunDir& run, absl::Duration deadline,
                                               const RoleChannel::Options& options);
std::unique_ptr<TeacherClient> MakeTeacherClient(const RunDir& run, absl::Duration deadline,
                                                 const RoleChannel::Options& options);
// CompleteLease is retried for a minute, so that an orchestrator that restarts still hears of finished work; the
// other calls come again by themselves and give up after a few seconds.
std::unique_ptr<OrchestratorClient> MakeOrchestratorClient(const RunDir& run, const RoleChannel::Options& options = {});

}  // namespace swerve

#endif  // SWERVE_ROLLOUT_WORKERS_GRPC_CLIENTS_H_
