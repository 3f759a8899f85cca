#include "reward_service/group_stream.h"

#include <algorithm>
#include <utility>

#include "absl/time/clock.h"

namespace swerve {
namespace {

constexpr size_t kMessageBytes = 256 << 10;  // answers in one message, but at least one
constexpr size_t kUnsentBytes = 4 << 20;     // of answers, beyond which no groups are read
constexpr size_t kSpareGroups = 64;

}  // namespace

struct GroupStream::Group {
  GroupStream* stream = nullptr;
  AskedGroup asked;
  uint64_t id = 0;
  size_t place = 0;  // in groups_
  std::atomic<bool> cancelled{false};
};

GroupStream::GroupStream(Host* host) : host_(*host), line_(&context_) { context_.AsyncNotifyWhenDone(&ended_tag_); }
GroupStream::~GroupStream() = default;

void GroupStream::Arrived(bool ok) {
  if (!ok) return host_.Gone(std::unique_ptr<GroupStream>(this), false);  // the server shuts down; nor does ended_tag_ come
  host_.Arrived(this);
  ReadMore();
  Release();
}

void GroupStream::ReadMore() {
  {
    absl::MutexLock lock(&mu_);
    if (reading_ || closed_ || answer_bytes_ > kUnsentBytes) return;
    reading_ = true;
    ++held_;
  }
  line_.Read(&read_, &read_tag_);
}

void GroupStream::Read(bool ok) {
  const bool understood = ok && Submit(OnePiece(read_));
  {
    absl::MutexLock lock(&mu_);
    reading_ = false;
    if (ok && !understood && end_.ok()) {
      end_ = grpc::Status(grpc::INVALID_ARGUMENT, absl::StrCat("the ", read_.Length(), " bytes are no ",
                                                               v1::ScoreStreamRequest::descriptor()->full_name()));
    }
    if (!understood) closed_ = true;
  }
  read_.Clear();
  // To read on tells the caller at once how much more it may send. That wakes it, which costs what a message costs; right behind
  // answers it costs little.
  if (understood) ReadLater();
  FinishIfDone();
  Release();
}

void GroupStream::ReadLater() {
  {
    absl::MutexLock lock(&mu_);
    read_later_ = true;
    if (announced_) return;
    announced_ = true;
    ++held_;
  }
  host_.NeedsFlush(this);
}

bool GroupStream::Submit(const grpc::Slice& message) {
  std::vector<GroupBytes> arrived;
  std::vector<uint64_t> cancelled;
  if (!SplitStreamed(View(message), &arrived, &cancelled)) return false;
  const absl::Duration left = absl::FromChrono(context_.deadline()) - absl::Now();
  for (const GroupBytes& bytes : arrived) {
    Group* group;
    {
      absl::MutexLock lock(&mu_);
      std::unique_ptr<Group> made;
      if (spare_.empty()) {
        made = std::make_unique<Group>();
      } else {
        made = std::move(spare_.back());
        spare_.pop_back();
      }
      group = made.get();
      group->place = groups_.size();
      groups_.push_back(std::move(made));
    }
    ++held_;
    group->stream = this;
    group->id = bytes.id;
    group->cancelled = false;
    group->asked.Ask(message, bytes.group);
    host_.pool().Submit(
        {.open = [group](ScoringPool::Call* call) { return group->asked.Open(&group->stream->host_.slots(), call); },
         .bytes = group->asked.bytes(),
         .timeout = bytes.timeout_ms == 0 ? left : std::min(left, absl::Milliseconds(bytes.timeout_ms)),
         .cancelled = [group] { return group->cancelled || group->stream->gone_; },
         .done = [group](const absl::Status& status) { group->stream->Answer(group, status); }});
  }
  if (!cancelled.empty()) Cancel(cancelled);
  return true;
}

void GroupStream::Cancel(const std::vector<uint64_t>& ids) {
  absl::MutexLock lock(&mu_);
  for (const std::unique_ptr<Group>& group : groups_) {
    for (const uint64_t id : ids) {
      if (group->id == id) group->cancelled = true;
    }
  }
}

void GroupStream::Answer(Group* group, const absl::Status& status) {
  grpc::Slice answer = group->asked.Answer(status, group->id, &host_.slots());
  bool announce = false, flush = false;
  {
    absl::MutexLock lock(&mu_);
    answer_bytes_ += answer.size();
    answers_.push_back(std::move(answer));
    std::unique_ptr<Group> done = std::move(groups_[group->place]);
    if (group->place + 1 < groups_.size()) {
      groups_[group->place] = std::move(groups_.back());
      groups_[group->place]->place = group->place;
    }
    groups_.pop_back();
    if (spare_.size() < kSpareGroups) spare_.push_back(std::move(done));
    flush = answer_bytes_ > kMessageBytes && !writing_;
    announce = !announced_ && !flush;
    if (announce) announced_ = true, ++held_;
  }
  if (announce) host_.NeedsFlush(this);
  if (flush) Send();
  Release();
}

void GroupStream::Flush() {
  bool read = false;
  {
    absl::MutexLock lock(&mu_);
    announced_ = false;
    std::swap(read, read_later_);
  }
  Send();
  if (read) ReadMore();
  FinishIfDone();
  Release();
}

void GroupStream::Send() {
  std::vector<grpc::Slice> message;
  {
    absl::MutexLock lock(&mu_);
    if (gone_) answers_.clear();
    if (writing_ || finishing_ || answers_.empty()) return;
    size_t bytes = 0, n = 0;
    while (n < answers_.size() && (n == 0 || bytes + answers_[n].size() <= kMessageBytes)) bytes += answers_[n++].size();
    message.assign(std::make_move_iterator(answers_.begin()), std::make_move_iterator(answers_.begin() + static_cast<ptrdiff_t>(n)));
    answers_.erase(answers_.begin(), answers_.begin() + static_cast<ptrdiff_t>(n));
    answer_bytes_ -= bytes;
    writing_ = true;
    ++held_;
  }
  line_.Write(grpc::ByteBuffer(message.data(), message.size()), &written_tag_);
}

void GroupStream::Written(bool ok) {
  if (!ok) gone_ = true;
  {
    absl::MutexLock lock(&mu_);
    writing_ = false;
  }
  Send();
  ReadMore();
  FinishIfDone();
  Release();
}

void GroupStream::Close() {
  {
    absl::MutexLock lock(&mu_);
    closed_ = true;
    if (end_.ok()) end_ = grpc::Status(grpc::UNAVAILABLE, "the reward service is shutting down");
  }
  FinishIfDone();
}

void GroupStream::FinishIfDone() {
  grpc::Status end;
  {
    absl::MutexLock lock(&mu_);
    if (finishing_ || writing_ || !groups_.empty() || !(closed_ || gone_)) return;
    if (!answers_.empty() && !gone_) return;  // they are sent first
    finishing_ = true;
    ++held_;
    end = end_;
  }
  line_.Finish(end, &finished_tag_);
}

void GroupStream::Finished(bool) { Release(); }

void GroupStream::Ended(bool) {
  if (context_.IsCancelled()) gone_ = true;
  FinishIfDone();
  Release();
}

void GroupStream::Release() {
  if (held_.fetch_sub(1) == 1) host_.Gone(std::unique_ptr<GroupStream>(this), true);
}

}  // namespace swerve
