#include "chaos/faulty_scorer.h"

#include <utility>

#include "absl/time/clock.h"

namespace swerve {
namespace {

constexpr absl::Duration kSlow = absl::Seconds(2);

}  // namespace

absl::StatusOr<std::unique_ptr<FaultyScorer>> FaultyScorer::Start() {
  std::unique_ptr<FaultyScorer> scorer(new FaultyScorer());
  GrpcServer::Options options;
  options.max_message_bytes = 256 << 20;
  SWERVE_ASSIGN_OR_RETURN(scorer->server_, GrpcServer::Start(options, {Serving<v1::RewardService>(scorer.get()),
                                                                Serving<v1::RewardBatchService>(&scorer->streams_)}));
  return scorer;
}

FaultyScorer::~FaultyScorer() { server_.reset(); }

void FaultyScorer::SetUpstream(int port) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 500);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  auto channel = grpc::CreateCustomChannel(absl::StrCat("127.0.0.1:", port), grpc::InsecureChannelCredentials(), arguments);
  absl::MutexLock lock(&mu_);
  upstream_ = std::move(channel);
}

absl::Status FaultyScorer::Fail(const std::string& manner) {
  for (const char* known : {"", "slow", "short", "long", "empty"}) {
    if (manner != known) continue;
    absl::MutexLock lock(&mu_);
    manner_ = manner;
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat("the faulty scorer knows no manner ", manner));
}

grpc::Status FaultyScorer::ScoreGroup(grpc::ServerContext* context, const v1::ScoreGroupRequest* request,
                                      v1::ScoreGroupReply* reply) {
  // Deadline and cancellation are the caller's.
  return PassOn(grpc::ClientContext::FromServerContext(*context), *request, reply);
}

grpc::Status FaultyScorer::Streams::ScoreStream(
    grpc::ServerContext*, grpc::ServerReaderWriter<v1::ScoreGroupsReply, v1::ScoreStreamRequest>* line) {
  absl::Mutex mu;
  int under_way = 0;
  v1::ScoreStreamRequest message;
  while (line->Read(&message)) {
    for (const v1::StreamedGroup& group : message.groups()) {
      {
        absl::MutexLock lock(&mu);
        ++under_way;
      }
      tasks_.Submit([&, group, until = absl::Now() + absl::Milliseconds(group.timeout_ms())] {
        auto onward = std::make_unique<grpc::ClientContext>();
        if (group.timeout_ms() > 0) onward->set_deadline(absl::ToChronoTime(until));
        v1::ScoreGroupsReply reply;
        v1::GroupAnswer* const answer = reply.add_answers();
        const grpc::Status status = scorer_.PassOn(std::move(onward), group.group(), answer->mutable_reply());
        answer->set_id(group.id());
        if (!status.ok()) {
          answer->mutable_error()->set_code(status.error_code());
          answer->mutable_error()->set_message(status.error_message());
        }
        absl::MutexLock lock(&mu);
        line->Write(reply);
        --under_way;
      });
    }
  }
  absl::MutexLock lock(&mu);
  mu.Await(absl::Condition(+[](int* n) { return *n == 0; }, &under_way));
  return grpc::Status::OK;
}

grpc::Status FaultyScorer::PassOn(std::unique_ptr<grpc::ClientContext> onward, const v1::ScoreGroupRequest& request,
                                  v1::ScoreGroupReply* reply) {
  std::shared_ptr<grpc::Channel> upstream;
  std::string manner;
  {
    absl::MutexLock lock(&mu_);
    upstream = upstream_;
    manner = manner_;
  }
  if (upstream == nullptr) return grpc::Status(grpc::StatusCode::UNAVAILABLE, "the reward service is not there yet");
  if (!manner.empty()) ++failed_;
  if (manner == "slow") absl::SleepFor(kSlow);
  const grpc::Status status = v1::RewardService::NewStub(upstream)->ScoreGroup(onward.get(), request, reply);
  if (!status.ok()) return status;
  if (manner == "short" && reply->rewards_size() > 0) reply->mutable_rewards()->RemoveLast();
  if (manner == "long") reply->add_rewards()->set_total(1);
  if (manner == "empty") reply->clear_rewards();
  return status;
}

}  // namespace swerve
