// One call of RewardBatchService.ScoreStream, from its arrival to its end (proto/swerve/v1/reward_batch.proto). Answers are
// gathered until whoever reads the completion queue looks up (Flush), so that a busy service sends several in one message
// and an idle one each at once.
#ifndef SWERVE_REWARD_SERVICE_GROUP_STREAM_H_
#define SWERVE_REWARD_SERVICE_GROUP_STREAM_H_

#include <grpcpp/grpcpp.h>
#include <grpcpp/support/async_stream.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "reward_service/asked_group.h"
#include "reward_service/queue_tag.h"
#include "reward_service/scoring_pool.h"

namespace swerve {

// Thread-safe. Belongs to the completion queue and the pool until neither knows it any more, and then to its host.
class GroupStream {
 public:
  using Line = grpc::ServerAsyncReaderWriter<grpc::ByteBuffer, grpc::ByteBuffer>;

  // What serves it, and outlives it. Thread-safe.
  class Host {
   public:
    virtual ~Host() = default;
    virtual ScoringPool& pool() = 0;
    virtual GroupSlots& slots() = 0;
    // A caller is there: another stream is to be waited for.
    virtual void Arrived(GroupStream* stream) = 0;
    // It has answers, or is to read on: Flush is to be called soon. Not again until it has been.
    virtual void NeedsFlush(GroupStream* stream) = 0;
    // The last that is heard of it, to be destroyed; `arrived`: as above.
    virtual void Gone(std::unique_ptr<GroupStream> stream, bool arrived) = 0;
  };

  explicit GroupStream(Host* host);
  ~GroupStream();
  // For the method's Request….
  grpc::ServerContext* context() { return &context_; }
  Line* line() { return &line_; }
  QueueTag* arrived_tag() { return &arrived_tag_; }

  // After NeedsFlush: sends the answers, reads on.
  void Flush() ABSL_LOCKS_EXCLUDED(mu_);
  // No further group is read; those that were are answered, and then the caller hears UNAVAILABLE.
  void Close() ABSL_LOCKS_EXCLUDED(mu_);

 private:
  struct Group;  // between its arrival and its answer

  void Arrived(bool ok);
  void Read(bool ok) ABSL_LOCKS_EXCLUDED(mu_);
  void Written(bool ok) ABSL_LOCKS_EXCLUDED(mu_);
  void Finished(bool ok);
  void Ended(bool ok) ABSL_LOCKS_EXCLUDED(mu_);

  // False: the message is none.
  bool Submit(const grpc::Slice& message) ABSL_LOCKS_EXCLUDED(mu_);
  void Answer(Group* group, const absl::Status& status) ABSL_LOCKS_EXCLUDED(mu_);
  void Cancel(const std::vector<uint64_t>& ids) ABSL_LOCKS_EXCLUDED(mu_);
  void ReadMore() ABSL_LOCKS_EXCLUDED(mu_);
  // With the next flush.
  void ReadLater() ABSL_LOCKS_EXCLUDED(mu_);
  // What is there, unless it is at it already.
  void Send() ABSL_LOCKS_EXCLUDED(mu_);
  void FinishIfDone() ABSL_LOCKS_EXCLUDED(mu_);
  // One of those that held_ counts is over; may end this object.
  void Release();

  Host& host_;
  grpc::ServerContext context_;
  Line line_;
  MemberTag<GroupStream> arrived_tag_{this, &GroupStream::Arrived}, read_tag_{this, &GroupStream::Read},
      written_tag_{this, &GroupStream::Written}, finished_tag_{this, &GroupStream::Finished},
      ended_tag_{this, &GroupStream::Ended};
  std::atomic<int> held_{2};  // by tags that will come, groups, and the host's Flush; the first are arrived and ended
  std::atomic<bool> gone_{false};  // the caller
  grpc::ByteBuffer read_;  // of the thread that handles read_tag_

  absl::Mutex mu_;
  std::vector<std::unique_ptr<Group>> groups_ ABSL_GUARDED_BY(mu_), spare_ ABSL_GUARDED_BY(mu_);
  std::vector<grpc::Slice> answers_ ABSL_GUARDED_BY(mu_);  // not sent
  size_t answer_bytes_ ABSL_GUARDED_BY(mu_) = 0;           // of them
  bool announced_ ABSL_GUARDED_BY(mu_) = false;            // to the host
  bool reading_ ABSL_GUARDED_BY(mu_) = false, writing_ ABSL_GUARDED_BY(mu_) = false;
  bool read_later_ ABSL_GUARDED_BY(mu_) = false;
  bool closed_ ABSL_GUARDED_BY(mu_) = false;  // nothing is read any more
  bool finishing_ ABSL_GUARDED_BY(mu_) = false;
  grpc::Status end_ ABSL_GUARDED_BY(mu_);
};

}  // namespace swerve

#endif  // SWERVE_REWARD_SERVICE_GROUP_STREAM_H_
