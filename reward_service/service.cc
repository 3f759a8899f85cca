#include "reward_service/service.h"

#include <pthread.h>

#include <algorithm>

#include "reward_service/metrics.h"

namespace swerve {

RewardService::RewardService(const RewardServiceOptions& options, SceneLookup scenes)
    : options_(options),
      cache_(std::move(scenes), std::max(options.cached_scenes, 0)),
      queue_(std::max(options.max_queue, 1)) {
  RewardMetrics::Get();  // exposed from the start, not from the first group on
  for (int i = 0; i < std::max(options.threads, 1); ++i) {
    threads_.emplace_back([this] { Work(); });
    pthread_setname_np(threads_.back().native_handle(), "reward-score");
  }
}

RewardService::~RewardService() {
  stopping_ = true;
  queue_.Close();
  for (std::thread& t : threads_) t.join();
}

grpc::ServerUnaryReactor* RewardService::ScoreGroup(grpc::CallbackServerContext* context,
                                                    const v1::ScoreGroupRequest* request,
                                                    v1::ScoreGroupReply* reply) {
  absl::Time arrival = options_.now();
  // The caller's deadline is on the system clock; carry over what is left of it.
  absl::Duration left = absl::FromChrono(context->deadline()) - absl::Now();
  Job job{context, request, reply, context->DefaultReactor(), arrival, arrival + std::min(left, options_.deadline)};
  if (request->candidates_size() > options_.max_candidates) {
    Finish(job, absl::InvalidArgumentError(absl::StrCat("candidates: ", request->candidates_size(),
                                                        " in one group, at most ", options_.max_candidates)));
  } else if (Job queued = job; !queue_.TryPush(queued)) {
    Finish(job, stopping_ ? absl::UnavailableError("the reward service is shutting down")
                          : absl::ResourceExhaustedError(absl::StrCat("queue full: ", options_.max_queue,
                                                                      " groups wait already; try again later")));
  }
  RewardMetrics::Get().queue.Set(static_cast<double>(queue_.size()));
  return job.reactor;
}

void RewardService::Work() {
  while (std::optional<Job> job = queue_.Pop()) {
    RewardMetrics::Get().queue.Set(static_cast<double>(queue_.size()));
    Finish(*job, Answer(*job));
  }
}

absl::Status RewardService::Answer(const Job& job) {
  auto go_on = [&]() -> absl::Status {
    if (stopping_) return absl::UnavailableError("the reward service is shutting down");
    if (options_.now() > job.deadline) return absl::DeadlineExceededError("the group's deadline has passed");
    return absl::OkStatus();
  };
  SWERVE_RETURN_IF_ERROR(go_on());
  if (job.context->IsCancelled()) return absl::CancelledError("the caller has gone");
  std::shared_ptr<const RewardTarget> target;
  switch (job.request->source_case()) {
    case v1::ScoreGroupRequest::kScene: {
      SWERVE_ASSIGN_OR_RETURN(target, PrepareTarget(job.request->scene()));
      break;
    }
    case v1::ScoreGroupRequest::kSceneId: {
      SWERVE_ASSIGN_OR_RETURN(target, cache_.Get(job.request->scene_id()));
      break;
    }
    default:
      return absl::InvalidArgumentError("source is not set; give scene_id or scene");
  }
  const v1::RewardWeights* weights = job.request->has_weights() ? &job.request->weights() : &options_.default_weights;
  SWERVE_ASSIGN_OR_RETURN(*job.reply, swerve::ScoreGroup(*target, *job.request, *weights, go_on));
  RewardMetrics::Get().candidates.Increment(job.request->candidates_size());
  return absl::OkStatus();
}

void RewardService::Finish(const Job& job, const absl::Status& status) {
  RewardMetrics::Groups(absl::StatusCodeToString(status.code())).Increment();
  RewardMetrics::Get().group_seconds.Observe(absl::ToDoubleSeconds(options_.now() - job.arrival));
  if (!status.ok()) job.reply->Clear();  // never a partial answer
  job.reactor->Finish(ToGrpc(status));
}

}  // namespace swerve
