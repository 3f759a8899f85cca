#include "rollout_workers/reward_stream.h"

#include <grpcpp/support/proto_buffer_reader.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/time/clock.h"

namespace swerve {
namespace {

constexpr char kMethod[] = "/swerve.v1.RewardBatchService/ScoreStream";
// What the service may take longer than a group's timeout to say so.
constexpr absl::Duration kGrace = absl::Seconds(1);

// One element of ScoreStreamRequest::groups as that message's bytes have it.
grpc::Slice BytesOf(const v1::ScoreStreamRequest& request) {
  grpc::Slice slice(request.ByteSizeLong());
  // The slice is this function's alone until it is returned.
  request.SerializeWithCachedSizesToArray(const_cast<uint8_t*>(slice.begin()));
  return slice;
}

bool Parse(grpc::ByteBuffer* bytes, v1::ScoreGroupsReply* reply) {
  grpc::ProtoBufferReader reader(bytes);
  return reader.status().ok() && reply->ParseFromZeroCopyStream(&reader);
}

absl::Status WhyItEnded(const grpc::Status& status) {
  switch (status.error_code()) {
    case grpc::OK: return absl::UnavailableError("the reward service ended the stream");
    case grpc::CANCELLED:
    case grpc::UNKNOWN:
    case grpc::INTERNAL: return absl::UnavailableError(absl::StrCat("the stream of rewards broke: ", status.error_message()));
    default: return FromGrpc(status);
  }
}

}  // namespace

RewardStream::RewardStream(const std::shared_ptr<grpc::Channel>& channel, const std::string& admin_token)
    : stub_(channel) {
  if (!admin_token.empty()) context_.AddMetadata("authorization", "Bearer " + admin_token);
  stub_.PrepareBidiStreamingCall(&context_, kMethod, {}, this);
  AddHold();  // Ask writes from outside
  StartRead(&in_);
  StartCall();
}

RewardStream::~RewardStream() {
  context_.TryCancel();
  ended_.WaitForNotification();
}

void RewardStream::Ask(const v1::ScoreGroupRequest& request, absl::Duration timeout, std::function<void(Answer)> done) {
  Enqueue(request, timeout, std::move(done));
}

uint64_t RewardStream::Enqueue(const v1::ScoreGroupRequest& request, absl::Duration timeout,
                               std::function<void(Answer)> done) {
  const int64_t ms = std::clamp<int64_t>(absl::ToInt64Milliseconds(timeout), 1, std::numeric_limits<uint32_t>::max());
  v1::ScoreStreamRequest message;
  v1::StreamedGroup* const group = message.add_groups();
  group->unsafe_arena_set_allocated_group(const_cast<v1::ScoreGroupRequest*>(&request));  // lent, not copied
  group->set_timeout_ms(static_cast<uint32_t>(ms));
  uint64_t id;
  absl::Status end;
  {
    absl::MutexLock lock(&mu_);
    id = ++last_id_;
    end = end_;
    if (end.ok()) asked_.emplace(id, std::move(done));
  }
  group->set_id(id);
  if (end.ok()) {
    grpc::Slice bytes = BytesOf(message);
    absl::MutexLock lock(&mu_);
    waiting_.push_back(std::move(bytes));
    Write();
  }
  group->unsafe_arena_release_group();
  if (!end.ok()) done(end);
  return id;
}

RewardStream::Answer RewardStream::Score(const v1::ScoreGroupRequest& request, absl::Duration timeout) {
  struct Waiting {
    absl::Notification done;
    Answer answer = absl::UnknownError("");
  };
  const auto waiting = std::make_shared<Waiting>();  // an answer may come after the wait
  const uint64_t id = Enqueue(request, timeout, [waiting](Answer answer) {
    waiting->answer = std::move(answer);
    waiting->done.Notify();
  });
  if (waiting->done.WaitForNotificationWithTimeout(timeout + kGrace)) return std::move(waiting->answer);
  Cancel(id);
  return absl::DeadlineExceededError(absl::StrCat("the reward service said nothing for ", absl::FormatDuration(timeout + kGrace)));
}

void RewardStream::Cancel(uint64_t id) {
  v1::ScoreStreamRequest message;
  message.add_cancelled(id);
  grpc::Slice bytes = BytesOf(message);
  absl::MutexLock lock(&mu_);
  if (asked_.erase(id) == 0 || broken_) return;
  waiting_.push_back(std::move(bytes));
  Write();
}

void RewardStream::Write() {
  if (writing_ || answering_ || broken_ || waiting_.empty()) return;
  size_t bytes = 0, n = 0;
  while (n < waiting_.size() && (n == 0 || bytes + waiting_[n].size() <= kMostBytes)) bytes += waiting_[n++].size();
  out_ = grpc::ByteBuffer(waiting_.data(), n);  // one message after the other is one message
  waiting_.erase(waiting_.begin(), waiting_.begin() + static_cast<ptrdiff_t>(n));
  writing_ = true;
  StartWrite(&out_);
}

void RewardStream::OnWriteDone(bool) {
  absl::MutexLock lock(&mu_);
  writing_ = false;
  Write();
}

void RewardStream::OnReadDone(bool ok) {
  v1::ScoreGroupsReply reply;
  if (!ok || !Parse(&in_, &reply)) {
    if (ok) context_.TryCancel();
    {
      absl::MutexLock lock(&mu_);
      broken_ = true;
    }
    return RemoveHold();
  }
  {
    absl::MutexLock lock(&mu_);
    answering_ = true;
  }
  for (v1::GroupAnswer& answer : *reply.mutable_answers()) {
    std::function<void(Answer)> done;
    {
      absl::MutexLock lock(&mu_);
      auto asked = asked_.extract(answer.id());
      if (asked.empty()) continue;  // nobody waits for it any more
      done = std::move(asked.mapped());
    }
    if (answer.has_reply()) {
      done(std::move(*answer.mutable_reply()));
    } else {
      done(absl::Status(static_cast<absl::StatusCode>(answer.error().code()), answer.error().message()));
    }
  }
  {
    absl::MutexLock lock(&mu_);
    answering_ = false;
    Write();
  }
  StartRead(&in_);
}

void RewardStream::OnDone(const grpc::Status& status) {
  absl::flat_hash_map<uint64_t, std::function<void(Answer)>> left;
  const absl::Status end = WhyItEnded(status);
  {
    absl::MutexLock lock(&mu_);
    broken_ = true;
    end_ = end;
    left.swap(asked_);
  }
  for (auto& [id, done] : left) done(end);
  ended_.Notify();
}

}  // namespace swerve
