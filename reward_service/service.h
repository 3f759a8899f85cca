// The reward service's gRPC face: one group per call (reward.proto), several, or a stream of them (reward_batch.proto).
// Calls arrive at a completion queue that the scoring pool's threads read themselves (call_source.h); a group's bytes are
// read where it is scored (asked_group.h).
#ifndef SWERVE_REWARD_SERVICE_SERVICE_H_
#define SWERVE_REWARD_SERVICE_SERVICE_H_

#include <grpcpp/alarm.h>

#include <atomic>
#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_set.h"
#include "absl/synchronization/mutex.h"
#include "base/grpc_server.h"
#include "reward_service/asked_group.h"
#include "reward_service/call_source.h"
#include "reward_service/group_stream.h"
#include "reward_service/queue_tag.h"
#include "reward_service/scoring_pool.h"
#include "swerve/v1/reward.grpc.pb.h"
#include "swerve/v1/reward_batch.grpc.pb.h"

namespace swerve {

// Thread-safe. Statuses: the protos; INVALID_ARGUMENT for bytes that are no request. The pool must outlive it. Serves
// one server, once, which must be shut down before this ends.
class RewardService final : private CallSource, private GroupStream::Host {
 public:
  explicit RewardService(ScoringPool* pool);
  ~RewardService() override;

  // For GrpcServer::Start, all of them.
  std::vector<GrpcService> registrations();

 private:
  class Call;  // of the first two methods
  enum class Method { kScoreGroup, kScoreGroups };

  // CallSource:
  void Poll() override;
  void Wait() override;
  void Wake() override;
  // GroupStream::Host:
  ScoringPool& pool() override { return *pool_; }
  GroupSlots& slots() override { return slots_; }
  void Arrived(GroupStream* stream) override ABSL_LOCKS_EXCLUDED(mu_);
  void NeedsFlush(GroupStream* stream) override ABSL_LOCKS_EXCLUDED(flush_mu_);
  void Gone(std::unique_ptr<GroupStream> stream, bool arrived) override ABSL_LOCKS_EXCLUDED(mu_);

  void Prepare(grpc::ServerBuilder& builder);
  // Streams end as soon as they have nothing left to answer.
  void Close() ABSL_LOCKS_EXCLUDED(mu_);
  // Blocks until all calls have ended.
  void End() ABSL_LOCKS_EXCLUDED(mu_);
  // Waits for one more call.
  void Expect(Method method) ABSL_LOCKS_EXCLUDED(mu_);
  void ExpectStream();
  void Woken(bool ok);
  // Events that are there, kLook at most.
  void Handle();
  // Has streams send what they have gathered, and read on; whether there were any.
  bool FlushStreams() ABSL_LOCKS_EXCLUDED(flush_mu_);
  void Forget(Call* call, bool arrived) ABSL_LOCKS_EXCLUDED(mu_);
  bool NoneRuns() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return running_ == 0; }

  ScoringPool* const pool_;
  GroupSlots slots_;
  // Made when the server is built.
  using GroupMethod = v1::RewardService::WithRawMethod_ScoreGroup<v1::RewardService::Service>;
  using BatchMethods = v1::RewardBatchService::WithRawMethod_ScoreGroups<
      v1::RewardBatchService::WithRawMethod_ScoreStream<v1::RewardBatchService::Service>>;
  std::unique_ptr<GroupMethod> group_method_;
  std::unique_ptr<BatchMethods> batch_methods_;
  std::unique_ptr<grpc::ServerCompletionQueue> queue_;
  grpc::Alarm alarm_;
  MemberTag<RewardService> woken_tag_{this, &RewardService::Woken};
  std::atomic<bool> woken_{false};  // the alarm is under way
  absl::Mutex mu_;
  std::vector<std::unique_ptr<Call>> spare_ ABSL_GUARDED_BY(mu_);
  absl::flat_hash_set<GroupStream*> streams_ ABSL_GUARDED_BY(mu_);  // that arrived
  bool closed_ ABSL_GUARDED_BY(mu_) = false;
  int running_ ABSL_GUARDED_BY(mu_) = 0;  // calls and streams that arrived and have not ended
  absl::Mutex flush_mu_;
  std::vector<GroupStream*> to_flush_ ABSL_GUARDED_BY(flush_mu_);
};

}  // namespace swerve

#endif  // SWERVE_REWARD_SERVICE_SERVICE_H_
