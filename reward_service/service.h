// The reward service's gRPC face: one unary call per group, answered by the scoring pool.
#ifndef SWERVE_REWARD_SERVICE_SERVICE_H_
#define SWERVE_REWARD_SERVICE_SERVICE_H_

#include "base/grpc_server.h"
#include "reward_service/scoring_pool.h"
#include "swerve/v1/reward.grpc.pb.h"

namespace swerve {

// Thread-safe. Statuses: reward.proto. The pool must outlive the server that this is registered with; destroying the
// pool answers what still waits, so shut the server down first.
class RewardService final : public v1::RewardService::CallbackService {
 public:
  explicit RewardService(ScoringPool* pool) : pool_(pool) {}

  grpc::ServerUnaryReactor* ScoreGroup(grpc::CallbackServerContext* context, const v1::ScoreGroupRequest* request,
                                       v1::ScoreGroupReply* reply) override;

  // For GrpcServer::Start.
  GrpcService registration() { return {this, v1::RewardService::service_full_name()}; }

 private:
  ScoringPool* const pool_;
};

}  // namespace swerve

#endif  // SWERVE_REWARD_SERVICE_SERVICE_H_
