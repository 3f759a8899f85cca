// A reward service in front of the real one: passes everything on, slowly or with answers of wrong size when told to.
#ifndef SWERVE_CHAOS_FAULTY_SCORER_H_
#define SWERVE_CHAOS_FAULTY_SCORER_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "base/grpc_server.h"
#include "base/status.h"
#include "base/task_pool.h"
#include "swerve/v1/reward.grpc.pb.h"
#include "swerve/v1/reward_batch.grpc.pb.h"

namespace swerve {

// Thread-safe.
class FaultyScorer : public v1::RewardService::Service {
 public:
  // Serves on a free port of loopback. UNAVAILABLE when it cannot.
  static absl::StatusOr<std::unique_ptr<FaultyScorer>> Start();
  ~FaultyScorer() override;

  int port() const { return server_->port(); }
  // Port of the real service. Until it is set, answers are UNAVAILABLE.
  void SetUpstream(int port) ABSL_LOCKS_EXCLUDED(mu_);

  // Of groups from now on: "" as the real service answers; "slow" (each waits 2 s before it is passed on), "short" (one
  // reward is missing), "long" (one too many), "empty" (none). INVALID_ARGUMENT: another manner.
  absl::Status Fail(const std::string& manner) ABSL_LOCKS_EXCLUDED(mu_);

  uint64_t failed() const { return failed_; }

  grpc::Status ScoreGroup(grpc::ServerContext* context, const v1::ScoreGroupRequest* request,
                          v1::ScoreGroupReply* reply) override;

 private:
  // Streams: each group is passed on by a call of its own, many at once.
  class Streams final : public v1::RewardBatchService::Service {
   public:
    explicit Streams(FaultyScorer* scorer) : scorer_(*scorer) {}
    grpc::Status ScoreStream(grpc::ServerContext* context,
                             grpc::ServerReaderWriter<v1::ScoreGroupsReply, v1::ScoreStreamRequest>* line) override;

   private:
    FaultyScorer& scorer_;
    TaskPool tasks_{16, 256, "faulty-scorer"};
  };

  FaultyScorer() : streams_(this) {}
  grpc::Status PassOn(std::unique_ptr<grpc::ClientContext> onward, const v1::ScoreGroupRequest& request,
                      v1::ScoreGroupReply* reply) ABSL_LOCKS_EXCLUDED(mu_);

  Streams streams_;
  std::unique_ptr<GrpcServer> server_;
  std::atomic<uint64_t> failed_{0};
  absl::Mutex mu_;
  std::shared_ptr<grpc::Channel> upstream_ ABSL_GUARDED_BY(mu_);
  std::string manner_ ABSL_GUARDED_BY(mu_);
};

}  // namespace swerve

#endif  // SWERVE_CHAOS_FAULTY_SCORER_H_
