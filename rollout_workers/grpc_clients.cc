#include "rollout_workers/grpc_clients.h"

#include <algorithm>
#include <utility>

#include "absl/time/clock.h"
#include "rollout_workers/reward_stream.h"
#include "swerve/v1/feedback.grpc.pb.h"
#include "swerve/v1/orchestrator.grpc.pb.h"
#include "swerve/v1/reward.grpc.pb.h"

namespace swerve {
namespace {

// One unary call with the channel's retries.
template <typename Service, typename Request, typename Reply>
absl::StatusOr<Reply> Unary(RoleChannel& line, absl::Duration timeout, const Request& request,
                            grpc::Status (Service::StubInterface::*method)(grpc::ClientContext*, const Request&,
                                                                           Reply*)) {
  Reply reply;
  SWERVE_RETURN_IF_ERROR(line.Call(
      [&](const std::shared_ptr<grpc::Channel>& channel, grpc::ClientContext* context) {
        reply.Clear();
        const std::unique_ptr<typename Service::StubInterface> stub = Service::NewStub(channel);
        return (stub.get()->*method)(context, request, &reply);
      },
      timeout));
  return reply;
}

// A service of before flat poses passes them over, and says that there are none: no fault of the policy's.
absl::Status CheckPosesWereRead(const v1::ScoreGroupRequest& request, const v1::ScoreGroupReply& reply) {
  const int n = std::min(request.candidates_size(), reply.rewards_size());
  for (int i = 0; i < n; ++i) {
    const v1::ScoreCandidate& candidate = request.candidates(i);
    if (reply.rewards(i).invalid() == v1::UNPARSED && candidate.parse() != v1::FAILED && !candidate.flat_poses().empty()) {
      return absl::UnimplementedError(
          "the reward service is older than this worker: it does not read flat_poses; run both of one version");
    }
  }
  return absl::OkStatus();
}

// Groups go over one stream for all threads; alone where the service knows no streams, or where one is too large for it.
class GrpcRewardClient final : public RewardClient {
 public:
  GrpcRewardClient(const RunDir& run, absl::Duration deadline, const RoleChannel::Options& options)
      : deadline_(deadline), admin_token_(options.admin_token), line_(run, "reward", options) {}

  absl::StatusOr<v1::ScoreGroupReply> ScoreGroup(const v1::ScoreGroupRequest& request) override {
    const bool small = request.ByteSizeLong() <= RewardStream::kMostBytes;
    v1::ScoreGroupReply reply;
    SWERVE_RETURN_IF_ERROR(line_.Call(
        [&](const std::shared_ptr<grpc::Channel>& channel, grpc::ClientContext* context) {
          if (const std::shared_ptr<RewardStream> stream = small ? StreamOn(channel) : nullptr) {
            auto answer = stream->Score(request, absl::FromChrono(context->deadline()) - absl::Now());
            if (answer.ok()) reply = *std::move(answer);
            if (!absl::IsUnimplemented(answer.status())) return ToGrpc(answer.status());
            NoStreamsOn(channel);
          }
          reply.Clear();
          return v1::RewardService::NewStub(channel)->ScoreGroup(context, request, &reply);
        },
        deadline_));
    SWERVE_RETURN_IF_ERROR(CheckPosesWereRead(request, reply));
    return reply;
  }

 private:
  // Null where there are none.
  std::shared_ptr<RewardStream> StreamOn(const std::shared_ptr<grpc::Channel>& channel) ABSL_LOCKS_EXCLUDED(mu_) {
    std::shared_ptr<RewardStream> before;  // ends outside the lock
    absl::MutexLock lock(&mu_);
    if (channel_ == channel && (stream_ == nullptr || !stream_->broken())) return stream_;
    before = std::move(stream_);
    channel_ = channel;
    return stream_ = std::make_shared<RewardStream>(channel, admin_token_);
  }
  void NoStreamsOn(const std::shared_ptr<grpc::Channel>& channel) ABSL_LOCKS_EXCLUDED(mu_) {
    std::shared_ptr<RewardStream> before;
    absl::MutexLock lock(&mu_);
    if (channel_ == channel) before = std::move(stream_);
  }

  const absl::Duration deadline_;
  const std::string admin_token_;
  RoleChannel line_;
  absl::Mutex mu_;
  std::shared_ptr<grpc::Channel> channel_ ABSL_GUARDED_BY(mu_);  // that stream_ is on
  std::shared_ptr<RewardStream> stream_ ABSL_GUARDED_BY(mu_);    // null: the service there knows none
};

class GrpcTeacherClient final : public TeacherClient {
 public:
  GrpcTeacherClient(const RunDir& run, absl::Duration deadline, const RoleChannel::Options& options)
      : deadline_(deadline), line_(run, "teacher", options) {}
  absl::StatusOr<v1::DiagnoseReply> Diagnose(const v1::DiagnoseRequest& request) override {
    return Unary<v1::TeacherGateway>(line_, deadline_, request, &v1::TeacherGateway::StubInterface::Diagnose);
  }

 private:
  const absl::Duration deadline_;
  RoleChannel line_;
};

class GrpcOrchestratorClient final : public OrchestratorClient {
 public:
  GrpcOrchestratorClient(const RunDir& run, const RoleChannel::Options& options) : line_(run, "orchestrator", options) {}
  absl::StatusOr<v1::LeaseReply> LeaseScenes(const v1::LeaseRequest& request) override {
    return Unary<v1::Orchestrator>(line_, absl::Seconds(10), request, &v1::Orchestrator::StubInterface::LeaseScenes);
  }
  absl::StatusOr<v1::CompleteReply> CompleteLease(const v1::CompleteRequest& request) override {
    return Unary<v1::Orchestrator>(line_, absl::Minutes(1), request, &v1::Orchestrator::StubInterface::CompleteLease);
  }
  absl::StatusOr<v1::ReportReply> Report(const v1::ReportRequest& request) override {
    return Unary<v1::Orchestrator>(line_, absl::Seconds(2), request, &v1::Orchestrator::StubInterface::Report);
  }

 private:
  RoleChannel line_;
};

}  // namespace

std::unique_ptr<RewardClient> MakeRewardClient(const RunDir& run, absl::Duration deadline,
                                               const RoleChannel::Options& options) {
  return std::make_unique<GrpcRewardClient>(run, deadline, options);
}
std::unique_ptr<TeacherClient> MakeTeacherClient(const RunDir& run, absl::Duration deadline,
                                                 const RoleChannel::Options& options) {
  return std::make_unique<GrpcTeacherClient>(run, deadline, options);
}
std::unique_ptr<OrchestratorClient> MakeOrchestratorClient(const RunDir& run, const RoleChannel::Options& options) {
  return std::make_unique<GrpcOrchestratorClient>(run, options);
}

}  // namespace swerve
