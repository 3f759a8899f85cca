// A client's end of RewardBatchService.ScoreStream: many groups in flight over one call. What is asked while a message is
// under way goes with the next, so that many callers share few messages and one alone does not wait.
#ifndef SWERVE_ROLLOUT_WORKERS_REWARD_STREAM_H_
#define SWERVE_ROLLOUT_WORKERS_REWARD_STREAM_H_

#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "absl/time/time.h"
#include "base/status.h"
#include "swerve/v1/reward_batch.pb.h"

namespace swerve {

// Thread-safe. It may break at any time: what has no answer then, and what is asked later, ends with the reason, and the
// caller asks anew on another one.
class RewardStream final : private grpc::ClientBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer> {
 public:
  using Answer = absl::StatusOr<v1::ScoreGroupReply>;
  // Larger groups do not belong here: a message that the service finds too large would end the stream for all.
  static constexpr size_t kMostBytes = 512 << 10;

  // Opens one; does not block. `admin_token`: sent with it unless empty.
  explicit RewardStream(const std::shared_ptr<grpc::Channel>& channel, const std::string& admin_token = "");
  // Cancels what has no answer. Blocks until `done` has been called for it. Not from inside a `done`.
  ~RewardStream() override;

  // Does not block. `done` is called exactly once, on a thread of gRPC or before this returns, and must not block; it may
  // ask. Its status is the service's for the group (reward.proto); UNAVAILABLE when the stream broke, UNIMPLEMENTED
  // where the service knows no streams. `timeout` is kept by the service.
  void Ask(const v1::ScoreGroupRequest& request, absl::Duration timeout, std::function<void(Answer)> done)
      ABSL_LOCKS_EXCLUDED(mu_);
  // Ask, and wait: DEADLINE_EXCEEDED also where the service says nothing.
  Answer Score(const v1::ScoreGroupRequest& request, absl::Duration timeout) ABSL_LOCKS_EXCLUDED(mu_);

  bool broken() const ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    return broken_;
  }

 private:
  void OnReadDone(bool ok) override ABSL_LOCKS_EXCLUDED(mu_);
  void OnWriteDone(bool ok) override ABSL_LOCKS_EXCLUDED(mu_);
  void OnDone(const grpc::Status& status) override ABSL_LOCKS_EXCLUDED(mu_);

  uint64_t Enqueue(const v1::ScoreGroupRequest& request, absl::Duration timeout, std::function<void(Answer)> done)
      ABSL_LOCKS_EXCLUDED(mu_);
  // Nobody waits for it any more.
  void Cancel(uint64_t id) ABSL_LOCKS_EXCLUDED(mu_);
  // Of what waits, unless a message is under way or answers are being handed out.
  void Write() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  grpc::ClientContext context_;
  grpc::GenericStub stub_;
  grpc::ByteBuffer in_;  // of the read under way
  mutable absl::Mutex mu_;
  grpc::ByteBuffer out_ ABSL_GUARDED_BY(mu_);             // of the write under way
  std::vector<grpc::Slice> waiting_ ABSL_GUARDED_BY(mu_);  // to be written
  absl::flat_hash_map<uint64_t, std::function<void(Answer)>> asked_ ABSL_GUARDED_BY(mu_);
  uint64_t last_id_ ABSL_GUARDED_BY(mu_) = 0;
  bool writing_ ABSL_GUARDED_BY(mu_) = false, answering_ ABSL_GUARDED_BY(mu_) = false;
  bool broken_ ABSL_GUARDED_BY(mu_) = false;
  absl::Status end_ ABSL_GUARDED_BY(mu_);  // why; not OK once it has ended
  absl::Notification ended_;
};

}  // namespace swerve

#endif  // SWERVE_ROLLOUT_WORKERS_REWARD_STREAM_H_
