#include "rollout_workers/grpc_clients.h"

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

class GrpcRewardClient final : public RewardClient {
 public:
  GrpcRewardClient(const RunDir& run, absl::Duration deadline, const RoleChannel::Options& options)
      : deadline_(deadline), line_(run, "reward", options) {}
  absl::StatusOr<v1::ScoreGroupReply> ScoreGroup(const v1::ScoreGroupRequest& request) override {
    return Unary<v1::RewardService>(line_, deadline_, request, &v1::RewardService::StubInterface::ScoreGroup);
  }

 private:
  const absl::Duration deadline_;
  RoleChannel line_;
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
