#include "reward_service/service.h"

#include <optional>
#include <string>
#include <utility>

#include "reward_service/metrics.h"
#include "reward_service/retry_hint.h"

namespace swerve {
namespace {

constexpr int kExpected = 64;        // calls that may arrive between two looks
constexpr int kExpectedStreams = 8;  // the same of streams
constexpr int kLook = 64;            // events handled in one look
constexpr size_t kSpareCalls = 256;  // ended calls kept for the next ones

gpr_timespec Past() { return gpr_inf_past(GPR_CLOCK_MONOTONIC); }

}  // namespace

class RewardService::Call {
 public:
  explicit Call(RewardService* service) : service_(*service) {}
  // Waits for a caller. The queue's from here on, until Forget.
  void Expect(Method method);
  void Forget() { rpc_.reset(); }

 private:
  struct Rpc {
    Rpc() : responder(&context) {}  // by hand: clang knows no default initializers before the class ends
    grpc::ServerContext context;
    grpc::ServerAsyncResponseWriter<grpc::ByteBuffer> responder;
    grpc::ByteBuffer bytes;
  };
  struct Part {  // of a call of several groups
    AskedGroup asked;
    grpc::Slice answer;
  };

  void Arrived(bool ok);
  void Ended(bool);
  void Answered(bool) { Release(); }
  void ScoreGroup(grpc::Slice message, absl::Duration left);
  void ScoreGroups(const grpc::Slice& message, absl::Duration left);
  void Submit(AskedGroup* asked, absl::Duration left, std::function<void(const absl::Status&)> done);
  void Finish(const absl::Status& status, grpc::Slice* slices, size_t n);
  // One of the two events that end a call.
  void Release() {
    if (events_.fetch_sub(1) == 1) service_.Forget(this, true);
  }

  RewardService& service_;
  Method method_ = Method::kScoreGroup;
  std::optional<Rpc> rpc_;
  std::atomic<bool> gone_{false};  // the caller
  std::atomic<int> events_{2};     // of Answered and Ended, those that have not come
  MemberTag<Call> arrived_tag_{this, &Call::Arrived}, answered_tag_{this, &Call::Answered}, ended_tag_{this, &Call::Ended};
  AskedGroup group_;
  std::vector<Part> parts_;
  std::atomic<size_t> left_{0};  // of parts_, not answered yet
};

void RewardService::Call::Expect(Method method) {
  method_ = method;
  gone_ = false;
  events_ = 2;
  Rpc& rpc = rpc_.emplace();
  rpc.context.AsyncNotifyWhenDone(&ended_tag_);
  grpc::ServerCompletionQueue* const q = service_.queue_.get();
  if (method == Method::kScoreGroup) {
    service_.group_method_->RequestScoreGroup(&rpc.context, &rpc.bytes, &rpc.responder, q, q, &arrived_tag_);
  } else {
    service_.batch_methods_->RequestScoreGroups(&rpc.context, &rpc.bytes, &rpc.responder, q, q, &arrived_tag_);
  }
}

void RewardService::Call::Arrived(bool ok) {
  if (!ok) return service_.Forget(this, false);  // the server shuts down; Ended does not come either
  {
    absl::MutexLock lock(&service_.mu_);
    ++service_.running_;
  }
  service_.Expect(method_);
  grpc::Slice message = OnePiece(rpc_->bytes);
  rpc_->bytes.Clear();
  // The caller's deadline is on the system clock; what is left of it counts from the groups' arrival.
  const absl::Duration left = absl::FromChrono(rpc_->context.deadline()) - absl::Now();
  if (method_ == Method::kScoreGroup) {
    ScoreGroup(std::move(message), left);
  } else {
    ScoreGroups(message, left);
  }
}

void RewardService::Call::Ended(bool) {
  gone_ = rpc_->context.IsCancelled();
  Release();
}

void RewardService::Call::Submit(AskedGroup* asked, absl::Duration left, std::function<void(const absl::Status&)> done) {
  service_.pool_->Submit({.open = [this, asked](ScoringPool::Call* call) { return asked->Open(&service_.slots_, call); },
                          .bytes = asked->bytes(),
                          .timeout = left,
                          .cancelled = [this] { return gone_.load(); },
                          .done = std::move(done)});
}

void RewardService::Call::ScoreGroup(grpc::Slice message, absl::Duration left) {
  const absl::string_view bytes = View(message);
  group_.Ask(std::move(message), bytes);
  Submit(&group_, left, [this](const absl::Status& status) {
    if (!status.ok()) {
      group_.Drop(&service_.slots_);
      return Finish(status, nullptr, 0);
    }
    grpc::Slice reply = group_.Reply(&service_.slots_);
    Finish(status, &reply, 1);
  });
}

void RewardService::Call::ScoreGroups(const grpc::Slice& message, absl::Duration left) {
  std::vector<GroupBytes> groups;
  if (!SplitGroups(View(message), &groups)) {
    return Finish(absl::InvalidArgumentError(absl::StrCat("the ", message.size(), " bytes are no ",
                                                          v1::ScoreGroupsRequest::descriptor()->full_name())),
                  nullptr, 0);
  }
  if (groups.empty()) return Finish(absl::OkStatus(), nullptr, 0);
  parts_ = std::vector<Part>(groups.size());
  left_ = groups.size();
  for (size_t i = 0, n = groups.size(); i < n; ++i) {  // the call may end once the last has been submitted
    Part& part = parts_[i];
    part.asked.Ask(message, groups[i].group);
    Submit(&part.asked, left, [this, &part](const absl::Status& status) {
      part.answer = part.asked.Answer(status, 0, &service_.slots_);
      if (left_.fetch_sub(1) != 1) return;
      std::vector<grpc::Slice> answers;
      for (Part& p : parts_) answers.push_back(std::move(p.answer));
      parts_.clear();
      Finish(absl::OkStatus(), answers.data(), answers.size());
    });
  }
}

void RewardService::Call::Finish(const absl::Status& status, grpc::Slice* slices, size_t n) {
  auto& responder = rpc_->responder;
  if (status.ok()) return responder.Finish(grpc::ByteBuffer(slices, n), grpc::Status::OK, &answered_tag_);
  if (const auto delay = RetryAfter(status)) {
    // Clients with a retry policy in their service config obey this by themselves.
    rpc_->context.AddTrailingMetadata("grpc-retry-pushback-ms", std::to_string(absl::ToInt64Milliseconds(*delay)));
  }
  responder.FinishWithError(ToGrpcWithHint(status), &answered_tag_);
}

RewardService::RewardService(ScoringPool* pool) : pool_(pool) {}
RewardService::~RewardService() = default;

std::vector<GrpcService> RewardService::registrations() {
  const auto started = [this] {
    for (int i = 0; i < kExpected; ++i) Expect(Method::kScoreGroup);
    for (int i = 0; i < kExpected; ++i) Expect(Method::kScoreGroups);
    for (int i = 0; i < kExpectedStreams; ++i) ExpectStream();
    pool_->Serve(this);
  };
  GrpcService service{.name = v1::RewardService::service_full_name()};
  service.prepare = [this](grpc::ServerBuilder& builder) { Prepare(builder); };
  service.started = started;
  service.ending = [this] { Close(); };
  service.ended = [this] { End(); };
  return {service, {.name = v1::RewardBatchService::service_full_name()}};  // that one with the other
}

void RewardService::Prepare(grpc::ServerBuilder& builder) {
  group_method_ = std::make_unique<GroupMethod>();
  batch_methods_ = std::make_unique<BatchMethods>();
  builder.RegisterService(group_method_.get());
  builder.RegisterService(batch_methods_.get());
  queue_ = builder.AddCompletionQueue();
}

void RewardService::Close() {
  absl::MutexLock lock(&mu_);
  closed_ = true;
  for (GroupStream* stream : streams_) stream->Close();  // none ends meanwhile, since Gone waits for the lock
}

void RewardService::End() {
  {
    absl::MutexLock lock(&mu_);
    mu_.Await(absl::Condition(this, &RewardService::NoneRuns));  // none can be answered once the queue is shut down
  }
  // The threads of the pool take what is left of the queue as they leave.
  pool_->Leave([this] { queue_->Shutdown(); });
  void* tag;
  bool ok;
  while (queue_->Next(&tag, &ok)) static_cast<QueueTag*>(tag)->Happened(ok);
}

void RewardService::Handle() {
  void* tag;
  bool ok;
  for (int i = 0; i < kLook && queue_->AsyncNext(&tag, &ok, Past()) == grpc::CompletionQueue::GOT_EVENT; ++i) {
    static_cast<QueueTag*>(tag)->Happened(ok);
  }
}

void RewardService::Poll() {
  Handle();
  // A message is mostly written at once, and its event is then there. It comes with a kick of the queue that would keep the
  // next look from the sockets, were it not taken now.
  if (!FlushStreams()) return;
  Handle();
  FlushStreams();  // nothing may lie there while this thread scores
}

void RewardService::Wait() {
  FlushStreams();
  void* tag;
  bool ok;
  if (!queue_->Next(&tag, &ok)) return;
  static_cast<QueueTag*>(tag)->Happened(ok);
  Poll();
}

void RewardService::Wake() {
  if (!woken_.exchange(true)) alarm_.Set(queue_.get(), Past(), &woken_tag_);
}

void RewardService::Woken(bool) { woken_ = false; }

void RewardService::Expect(Method method) {
  std::unique_ptr<Call> call;
  {
    absl::MutexLock lock(&mu_);
    if (!spare_.empty()) {
      call = std::move(spare_.back());
      spare_.pop_back();
    }
  }
  if (call == nullptr) call = std::make_unique<Call>(this);
  call.release()->Expect(method);
}

void RewardService::Forget(Call* call, bool arrived) {
  std::unique_ptr<Call> ended(call);
  ended->Forget();
  absl::MutexLock lock(&mu_);
  if (spare_.size() < kSpareCalls) spare_.push_back(std::move(ended));
  if (arrived) --running_;
}

void RewardService::ExpectStream() {
  auto* const stream = new GroupStream(this);  // the queue's, until Gone
  grpc::ServerCompletionQueue* const q = queue_.get();
  batch_methods_->RequestScoreStream(stream->context(), stream->line(), q, q, stream->arrived_tag());
}

void RewardService::Arrived(GroupStream* stream) {
  {
    absl::MutexLock lock(&mu_);
    ++running_;
    streams_.insert(stream);
    RewardMetrics::Get().streams.Set(static_cast<double>(streams_.size()));
    if (closed_) stream->Close();
  }
  ExpectStream();
}

void RewardService::NeedsFlush(GroupStream* stream) {
  absl::MutexLock lock(&flush_mu_);
  to_flush_.push_back(stream);
}

bool RewardService::FlushStreams() {
  std::vector<GroupStream*> streams;
  {
    absl::MutexLock lock(&flush_mu_);
    streams.swap(to_flush_);
  }
  for (GroupStream* stream : streams) stream->Flush();
  return !streams.empty();
}

void RewardService::Gone(std::unique_ptr<GroupStream> stream, bool arrived) {
  if (!arrived) return;
  {
    absl::MutexLock lock(&mu_);
    streams_.erase(stream.get());
    RewardMetrics::Get().streams.Set(static_cast<double>(streams_.size()));
  }
  stream.reset();
  absl::MutexLock lock(&mu_);
  --running_;
}

}  // namespace swerve
