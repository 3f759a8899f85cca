#include "rollout_workers/diagnose.h"

#include <utility>

#include "absl/time/clock.h"

namespace swerve {

v1::Outcome OutcomeOf(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOk: return v1::OK;
    case absl::StatusCode::kDeadlineExceeded: return v1::TIMEOUT;
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kCancelled: return v1::UNAVAILABLE;
    case absl::StatusCode::kResourceExhausted: return v1::RATE_LIMITED;
    case absl::StatusCode::kPermissionDenied:
    case absl::StatusCode::kUnauthenticated: return v1::REFUSED;
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kDataLoss: return v1::SCHEMA_INVALID;
    default: return v1::INTERNAL;
  }
}

DiagnosedGroup Diagnose(ScoredGroup scored, const v1::RunConfig& config, TeacherClient& service) {
  DiagnosedGroup group{std::move(scored), config.teacher().kind(), 0, 0};
  if (config.teacher().kind() == "none" && config.teacher().teachers_file().empty()) return group;
  const v1::Lease& lease = group.scored.rollout.leased.lease;
  v1::DiagnoseRequest request;
  request.set_scene_id(lease.scene_id());
  request.set_group(lease.group());
  request.set_success_threshold(config.rollout().success_threshold());
  std::vector<v1::Sample*> asked;
  for (v1::Sample& sample : group.scored.rollout.samples) {
    if (sample.outcome() != v1::OK) continue;
    v1::DiagnoseItem* item = request.add_items();
    *item->mutable_reward() = sample.reward();
    // The teacher reads words and poses; token ids and log-probabilities stay here.
    v1::Response* response = item->mutable_response();
    response->set_text(sample.response().text());
    response->set_parse(sample.response().parse());
    *response->mutable_poses() = sample.response().poses();
    asked.push_back(&sample);
  }
  const absl::Time start = absl::Now();
  absl::StatusOr<v1::DiagnoseReply> reply = service.Diagnose(request);
  if (reply.ok() && reply->results_size() != static_cast<int>(asked.size())) {
    reply = absl::DataLossError("the teacher answered for another number of responses than it was asked");
  }
  if (reply.ok() && !reply->teacher().empty()) group.teacher = reply->teacher();  // one of several
  if (reply.ok()) group.teacher_set_version = reply->set_version();
  for (size_t i = 0; i < asked.size(); ++i) {
    if (!reply.ok()) {
      asked[i]->set_feedback_outcome(OutcomeOf(reply.status()));
      continue;
    }
    v1::DiagnoseResult& result = *reply->mutable_results(static_cast<int>(i));
    asked[i]->set_feedback_outcome(result.outcome());
    if (result.outcome() != v1::OK) {
      *asked[i]->mutable_feedback_failed() = std::move(*result.mutable_failed());
      if (result.has_cost()) *asked[i]->mutable_feedback_cost() = result.cost();
    }
    if (result.outcome() == v1::OK && result.has_feedback()) {
      *asked[i]->mutable_feedback() = std::move(*result.mutable_feedback());
    }
  }
  group.diagnose_seconds = absl::ToDoubleSeconds(absl::Now() - start);
  return group;
}

}  // namespace swerve
