#include "reward_service/service.h"

#include <string>

#include "reward_service/retry_hint.h"

namespace swerve {

grpc::ServerUnaryReactor* RewardService::ScoreGroup(grpc::CallbackServerContext* context,
                                                    const v1::ScoreGroupRequest* request,
                                                    v1::ScoreGroupReply* reply) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  // The caller's deadline is on the system clock; what is left of it counts from the group's arrival.
  const absl::Duration left = absl::FromChrono(context->deadline()) - absl::Now();
  pool_->Submit({request, left, [context] { return context->IsCancelled(); },
                 [context, reply, reactor](absl::StatusOr<v1::ScoreGroupReply> answer) {
                   if (answer.ok()) {
                     *reply = *std::move(answer);
                   } else if (const auto delay = RetryAfter(answer.status())) {
                     // Clients with a retry policy in their service config obey this by themselves.
                     context->AddTrailingMetadata("grpc-retry-pushback-ms",
                                                  std::to_string(absl::ToInt64Milliseconds(*delay)));
                   }
                   reactor->Finish(ToGrpcWithHint(answer.status()));
                 }});
  return reactor;
}

}  // namespace swerve
