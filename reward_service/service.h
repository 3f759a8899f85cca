// The reward service's gRPC face: one group per call (reward.proto) or several (reward_batch.proto). Calls arrive at a
// completion queue that the scoring pool's threads read themselves (call_source.h); request and reply live in one arena per
// call, which is used again.
#ifndef SWERVE_REWARD_SERVICE_SERVICE_H_
#define SWERVE_REWARD_SERVICE_SERVICE_H_

#include <grpcpp/alarm.h>

#include <atomic>
#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "base/grpc_server.h"
#include "reward_service/call_source.h"
#include "reward_service/scoring_pool.h"
#include "swerve/v1/reward.grpc.pb.h"
#include "swerve/v1/reward_batch.grpc.pb.h"

namespace swerve {

// Thread-safe. Statuses: the protos; INVALID_ARGUMENT for bytes that are no request. The pool must outlive it. Serves
// one server, once, which must be shut down before this ends.
class RewardService final : private CallSource {
 public:
  explicit RewardService(ScoringPool* pool);
  ~RewardService() override;

  // For GrpcServer::Start, all of them.
  std::vector<GrpcService> registrations();

 private:
  struct Call;
  enum class Method { kScoreGroup, kScoreGroups };
  enum class Step { kArrived, kAnswered, kEnded };
  struct Tag {  // what the completion queue hands back; the one without a call wakes
    Call* call = nullptr;
    Step step = Step::kArrived;
  };

  void Poll() override;
  void Wait() override;
  void Wake() override;

  // Blocks until all calls have ended.
  void End() ABSL_LOCKS_EXCLUDED(mu_);
  void Prepare(grpc::ServerBuilder& builder);
  // Waits for one more call.
  void Expect(Method method) ABSL_LOCKS_EXCLUDED(mu_);
  void Handle(void* tag, bool ok);
  void Begin(Call* call);
  void ScoreGroup(Call* call, int64_t bytes, absl::Duration left);
  void ScoreGroups(Call* call, int64_t bytes, absl::Duration left);
  void Answer(Call* call, const absl::Status& status);
  // One of the two events that end a call.
  void Release(Call* call) ABSL_LOCKS_EXCLUDED(mu_);
  void Forget(Call* call) ABSL_LOCKS_EXCLUDED(mu_);
  bool NoneRuns() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return running_ == 0; }

  ScoringPool* const pool_;
  // Made when the server is built.
  using GroupMethod = v1::RewardService::WithRawMethod_ScoreGroup<v1::RewardService::Service>;
  using GroupsMethod = v1::RewardBatchService::WithRawMethod_ScoreGroups<v1::RewardBatchService::Service>;
  std::unique_ptr<GroupMethod> group_method_;
  std::unique_ptr<GroupsMethod> groups_method_;
  std::unique_ptr<grpc::ServerCompletionQueue> queue_;
  grpc::Alarm alarm_;
  Tag wake_;
  std::atomic<bool> woken_{false};  // the alarm is under way
  absl::Mutex mu_;
  std::vector<std::unique_ptr<Call>> spare_ ABSL_GUARDED_BY(mu_);
  int running_ ABSL_GUARDED_BY(mu_) = 0;  // calls that arrived and have not ended
};

}  // namespace swerve

#endif  // SWERVE_REWARD_SERVICE_SERVICE_H_
