// The reward service's gRPC face: one unary call per group, answered by a fixed pool of scoring threads behind a
// bounded queue.
#ifndef SWERVE_REWARD_SERVICE_SERVICE_H_
#define SWERVE_REWARD_SERVICE_SERVICE_H_

#include <atomic>
#include <functional>
#include <thread>
#include <vector>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "base/bounded_queue.h"
#include "base/grpc_server.h"
#include "reward_service/target_cache.h"
#include "swerve/v1/reward.grpc.pb.h"

namespace swerve {

struct RewardServiceOptions {
  int threads = 1;
  int max_queue = 256;                          // groups waiting; more are refused with RESOURCE_EXHAUSTED
  absl::Duration deadline = absl::Seconds(30);  // per group, from its arrival; a shorter one of the caller wins
  int max_candidates = 4096;                    // per group; more are refused with INVALID_ARGUMENT
  int cached_scenes = 512;
  v1::RewardWeights default_weights = UnitWeights();  // of a request without weights
  std::function<absl::Time()> now = absl::Now;
};

// Thread-safe. Owns its threads and joins them in the destructor, which answers what still waits with UNAVAILABLE;
// shut the server down first. Statuses: reward.proto.
class RewardService final : public v1::RewardService::CallbackService {
 public:
  RewardService(const RewardServiceOptions& options, SceneLookup scenes);
  ~RewardService() override;

  grpc::ServerUnaryReactor* ScoreGroup(grpc::CallbackServerContext* context, const v1::ScoreGroupRequest* request,
                                       v1::ScoreGroupReply* reply) override;

  // For GrpcServer::Start.
  GrpcService registration() { return {this, v1::RewardService::service_full_name()}; }

 private:
  struct Job {
    grpc::CallbackServerContext* context;
    const v1::ScoreGroupRequest* request;
    v1::ScoreGroupReply* reply;
    grpc::ServerUnaryReactor* reactor;
    absl::Time arrival, deadline;
  };
  void Work();
  absl::Status Answer(const Job& job);
  void Finish(const Job& job, const absl::Status& status);

  const RewardServiceOptions options_;
  TargetCache cache_;
  BoundedQueue<Job> queue_;
  std::atomic<bool> stopping_{false};
  std::vector<std::thread> threads_;
};

}  // namespace swerve

#endif  // SWERVE_REWARD_SERVICE_SERVICE_H_
