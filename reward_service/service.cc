#include "reward_service/service.h"

#include <google/protobuf/arena.h>

#include <optional>
#include <string>
#include <utility>

#include "reward_service/retry_hint.h"

namespace swerve {
namespace {

constexpr int kExpected = 64;          // calls that may arrive between two looks
constexpr int kLook = 64;              // events handled in one look
constexpr size_t kSpare = 256;         // ended calls kept for the next ones
constexpr size_t kArenaBytes = 32768;  // of a group of 16 with its answer; larger ones take more, and give it back

gpr_timespec Past() { return gpr_inf_past(GPR_CLOCK_MONOTONIC); }

google::protobuf::ArenaOptions ArenaIn(char* block, size_t size) {
  google::protobuf::ArenaOptions options;
  options.initial_block = block;
  options.initial_block_size = size;
  return options;
}

bool Parse(grpc::ByteBuffer* bytes, google::protobuf::Message* request) {
  grpc::ProtoBufferReader reader(bytes);
  return reader.status().ok() && request->ParseFromZeroCopyStream(&reader);
}

grpc::ByteBuffer Serialize(const google::protobuf::Message& reply) {
  grpc::Slice slice(reply.ByteSizeLong());
  // The slice is this function's alone until it is in the buffer.
  reply.SerializeWithCachedSizesToArray(const_cast<uint8_t*>(slice.begin()));
  return grpc::ByteBuffer(&slice, 1);
}

}  // namespace

struct RewardService::Call {
  Call() : arena(ArenaIn(block, sizeof block)) {}

  struct Rpc {
    Rpc() : responder(&context) {}  // by hand: clang knows no default initializers before the class ends
    grpc::ServerContext context;
    grpc::ServerAsyncResponseWriter<grpc::ByteBuffer> responder;
    grpc::ByteBuffer bytes;
  };
  template <class Request, class Reply>
  void MakeMessages() {
    request = google::protobuf::Arena::CreateMessage<Request>(&arena);
    reply = google::protobuf::Arena::CreateMessage<Reply>(&arena);
  }

  Method method = Method::kScoreGroup;
  std::optional<Rpc> rpc;
  std::atomic<bool> gone{false};  // the caller
  std::atomic<int> events{2};     // of kAnswered and kEnded, those that have not come
  Tag arrived{this, Step::kArrived}, answered{this, Step::kAnswered}, ended{this, Step::kEnded};
  alignas(64) char block[kArenaBytes];
  google::protobuf::Arena arena;
  google::protobuf::Message* request = nullptr;  // in the arena, as is:
  google::protobuf::Message* reply = nullptr;
  std::atomic<int> groups{0};  // not answered yet
};

RewardService::RewardService(ScoringPool* pool) : pool_(pool) {}
RewardService::~RewardService() = default;

std::vector<GrpcService> RewardService::registrations() {
  const auto started = [this] {
    for (int i = 0; i < kExpected; ++i) Expect(Method::kScoreGroup);
    for (int i = 0; i < kExpected; ++i) Expect(Method::kScoreGroups);
    pool_->Serve(this);
  };
  return {{nullptr, v1::RewardService::service_full_name(),
           [this](grpc::ServerBuilder& builder) { Prepare(builder); }, started, [this] { End(); }},
          {nullptr, v1::RewardBatchService::service_full_name(), nullptr, nullptr, nullptr}};  // with the other
}

void RewardService::Prepare(grpc::ServerBuilder& builder) {
  group_method_ = std::make_unique<GroupMethod>();
  groups_method_ = std::make_unique<GroupsMethod>();
  builder.RegisterService(group_method_.get());
  builder.RegisterService(groups_method_.get());
  queue_ = builder.AddCompletionQueue();
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
  while (queue_->Next(&tag, &ok)) Handle(tag, ok);
}

void RewardService::Poll() {
  void* tag;
  bool ok;
  for (int i = 0; i < kLook && queue_->AsyncNext(&tag, &ok, Past()) == grpc::CompletionQueue::GOT_EVENT; ++i) {
    Handle(tag, ok);
  }
}

void RewardService::Wait() {
  void* tag;
  bool ok;
  if (!queue_->Next(&tag, &ok)) return;
  Handle(tag, ok);
  Poll();
}

void RewardService::Wake() {
  if (!woken_.exchange(true)) alarm_.Set(queue_.get(), Past(), &wake_);
}

void RewardService::Expect(Method method) {
  std::unique_ptr<Call> call;
  {
    absl::MutexLock lock(&mu_);
    if (!spare_.empty()) {
      call = std::move(spare_.back());
      spare_.pop_back();
    }
  }
  if (call == nullptr) call = std::make_unique<Call>();
  Call* const c = call.release();  // the queue's, until it ends
  c->method = method;
  Call::Rpc& rpc = c->rpc.emplace();
  rpc.context.AsyncNotifyWhenDone(&c->ended);
  grpc::ServerCompletionQueue* const q = queue_.get();
  if (method == Method::kScoreGroup) {
    group_method_->RequestScoreGroup(&rpc.context, &rpc.bytes, &rpc.responder, q, q, &c->arrived);
  } else {
    groups_method_->RequestScoreGroups(&rpc.context, &rpc.bytes, &rpc.responder, q, q, &c->arrived);
  }
}

void RewardService::Handle(void* tag, bool ok) {
  const Tag& t = *static_cast<Tag*>(tag);
  if (t.call == nullptr) {
    woken_ = false;
    return;
  }
  switch (t.step) {
    case Step::kArrived:
      if (!ok) return Forget(t.call);  // the server shuts down; kEnded does not come either
      {
        absl::MutexLock lock(&mu_);
        ++running_;
      }
      Expect(t.call->method);
      return Begin(t.call);
    case Step::kEnded:
      t.call->gone = t.call->rpc->context.IsCancelled();
      return Release(t.call);
    case Step::kAnswered:
      return Release(t.call);
  }
}

void RewardService::Begin(Call* call) {
  Call::Rpc& rpc = *call->rpc;
  if (call->method == Method::kScoreGroup) {
    call->MakeMessages<v1::ScoreGroupRequest, v1::ScoreGroupReply>();
  } else {
    call->MakeMessages<v1::ScoreGroupsRequest, v1::ScoreGroupsReply>();
  }
  const auto bytes = static_cast<int64_t>(rpc.bytes.Length());
  if (!Parse(&rpc.bytes, call->request)) {
    return Answer(call, absl::InvalidArgumentError(absl::StrCat("the ", bytes, " bytes are no ", call->request->GetTypeName())));
  }
  rpc.bytes.Clear();
  // The caller's deadline is on the system clock; what is left of it counts from the groups' arrival.
  const absl::Duration left = absl::FromChrono(rpc.context.deadline()) - absl::Now();
  if (call->method == Method::kScoreGroup) {
    ScoreGroup(call, bytes, left);
  } else {
    ScoreGroups(call, bytes, left);
  }
}

void RewardService::ScoreGroup(Call* call, int64_t bytes, absl::Duration left) {
  pool_->Submit({static_cast<const v1::ScoreGroupRequest*>(call->request),
                 static_cast<v1::ScoreGroupReply*>(call->reply), bytes, left, [call] { return call->gone.load(); },
                 [this, call](const absl::Status& status) { Answer(call, status); }});
}

void RewardService::ScoreGroups(Call* call, int64_t bytes, absl::Duration left) {
  const auto& groups = static_cast<const v1::ScoreGroupsRequest*>(call->request)->groups();
  auto* const answers = static_cast<v1::ScoreGroupsReply*>(call->reply)->mutable_answers();
  const int n = groups.size();
  if (n == 0) return Answer(call, absl::OkStatus());
  call->groups = n;
  for (int i = 0; i < n; ++i) answers->Add();
  for (int i = 0; i < n; ++i) {  // the call may end once the last has been submitted
    v1::GroupAnswer* const answer = answers->Mutable(i);
    pool_->Submit({&groups[i], answer->mutable_reply(), bytes / n, left, [call] { return call->gone.load(); },
                   [this, call, answer](const absl::Status& status) {
                     if (!status.ok()) *answer->mutable_error() = ToRpcStatus(status);
                     if (call->groups.fetch_sub(1) == 1) Answer(call, absl::OkStatus());
                   }});
  }
}

void RewardService::Answer(Call* call, const absl::Status& status) {
  Call::Rpc& rpc = *call->rpc;
  if (status.ok()) return rpc.responder.Finish(Serialize(*call->reply), grpc::Status::OK, &call->answered);
  if (const auto delay = RetryAfter(status)) {
    // Clients with a retry policy in their service config obey this by themselves.
    rpc.context.AddTrailingMetadata("grpc-retry-pushback-ms", std::to_string(absl::ToInt64Milliseconds(*delay)));
  }
  rpc.responder.FinishWithError(ToGrpcWithHint(status), &call->answered);
}

void RewardService::Release(Call* call) {
  if (call->events.fetch_sub(1) != 1) return;
  Forget(call);
  absl::MutexLock lock(&mu_);
  --running_;
}

void RewardService::Forget(Call* call) {
  std::unique_ptr<Call> ended(call);
  ended->rpc.reset();
  ended->arena.Reset();
  ended->gone = false;
  ended->events = 2;
  absl::MutexLock lock(&mu_);
  if (spare_.size() < kSpare) spare_.push_back(std::move(ended));
}

}  // namespace swerve
