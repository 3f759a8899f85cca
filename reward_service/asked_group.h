// A group between the bytes that ask for it and the bytes that answer. Its message is read where it is scored, in memory that
// the group before has left in the caches: what waits is bytes, and a message of many groups is taken apart without being
// read.
#ifndef SWERVE_REWARD_SERVICE_ASKED_GROUP_H_
#define SWERVE_REWARD_SERVICE_ASKED_GROUP_H_

#include <google/protobuf/arena.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/slice.h>

#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "reward_service/scoring_pool.h"
#include "swerve/v1/reward_batch.pb.h"

namespace swerve {

// Where one group is read and answered: a request that is used again keeps what it has allocated, which makes reading twice as
// fast as in an arena; answers in an arena lie side by side. Not thread-safe.
struct GroupSlot {
  static constexpr size_t kBytes = 32768;  // of a group of 16 with its answer; larger ones take more, and give it back
  GroupSlot();
  alignas(64) char block[kBytes];
  google::protobuf::Arena arena;
  v1::ScoreGroupRequest request;
  v1::GroupAnswer* answer = nullptr;  // in the arena
};

// Slots that are used again, the last one first; those of large groups are not. Thread-safe.
class GroupSlots {
 public:
  std::unique_ptr<GroupSlot> Take() ABSL_LOCKS_EXCLUDED(mu_);
  void Give(std::unique_ptr<GroupSlot> slot) ABSL_LOCKS_EXCLUDED(mu_);

 private:
  absl::Mutex mu_;
  std::vector<std::unique_ptr<GroupSlot>> spare_ ABSL_GUARDED_BY(mu_);
};

// Used by one thread at a time.
class AskedGroup {
 public:
  // `group`: a ScoreGroupRequest, part of `message`, which is kept until it is read.
  void Ask(grpc::Slice message, absl::string_view group);
  int64_t bytes() const { return static_cast<int64_t>(group_.size()); }
  // For ScoringPool::Call::open. INVALID_ARGUMENT: the bytes are no ScoreGroupRequest.
  absl::Status Open(GroupSlots* slots, ScoringPool::Call* call);
  // The answer under `id`, an element of ScoreGroupsReply::answers as that message's bytes have it. Gives the slot back, as
  // does:
  grpc::Slice Answer(const absl::Status& status, uint64_t id, GroupSlots* slots);
  // The ScoreGroupReply alone, where the pool said OK.
  grpc::Slice Reply(GroupSlots* slots);
  // Without an answer.
  void Drop(GroupSlots* slots);

 private:
  grpc::Slice message_;
  absl::string_view group_;
  std::unique_ptr<GroupSlot> slot_;
};

// The bytes in one piece: copied, unless they are that already.
grpc::Slice OnePiece(const grpc::ByteBuffer& bytes);
inline absl::string_view View(const grpc::Slice& slice) {
  return {reinterpret_cast<const char*>(slice.begin()), slice.size()};
}

struct GroupBytes {  // of a StreamedGroup; of a ScoreGroupsRequest only the group
  absl::string_view group;
  uint64_t id = 0;
  uint32_t timeout_ms = 0;
};
// The groups of a ScoreGroupsRequest, unread. False: it is none.
bool SplitGroups(absl::string_view message, std::vector<GroupBytes>* groups);
// The same of a ScoreStreamRequest, and the ids that it cancels.
bool SplitStreamed(absl::string_view message, std::vector<GroupBytes>* groups, std::vector<uint64_t>* cancelled);

}  // namespace swerve

#endif  // SWERVE_REWARD_SERVICE_ASKED_GROUP_H_
