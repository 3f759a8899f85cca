// The worker's dealings with services: leases, scoring, diagnosis, storing. See worker.cc for the engine's side.
#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/time/clock.h"
#include "base/random.h"
#include "rollout_workers/diagnose.h"
#include "rollout_workers/episode.h"
#include "rollout_workers/rollout.h"
#include "rollout_workers/score.h"
#include "rollout_workers/worker.h"

namespace swerve {
namespace {

constexpr char kDuplicate[] = "duplicate";  // orchestrator: the group was stored under another attempt
constexpr absl::Duration kStorePatience = absl::Minutes(1);

std::string Text(const absl::Status& status) { return std::string(status.message()); }

// "score_deadline_exceeded": step and status code, a small fixed set.
std::string Reason(const char* step, const absl::Status& status) {
  return absl::StrCat(step, "_", absl::AsciiStrToLower(absl::StatusCodeToString(status.code())));
}

bool TeacherUnavailable(const DiagnosedGroup& group) {
  const auto& samples = group.scored.rollout.samples;
  return std::any_of(samples.begin(), samples.end(),
                     [](const v1::Sample& s) { return s.feedback_outcome() == v1::UNAVAILABLE; });
}

}  // namespace

absl::Duration PauseAfterDrops(int drops, int capacity) {
  const int rounds = drops / std::max(1, capacity);
  if (rounds == 0) return absl::ZeroDuration();
  return std::min(absl::Milliseconds(100) * (1 << std::min(rounds - 1, 6)), absl::Seconds(5));
}

void Worker::LeaseLoop() {
  absl::Time report_at = absl::Now() + options_.report_every;
  while (true) {
    int want = 0;
    {
      absl::MutexLock lock(&mu_);
      if (closing_) return;
      const auto room = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
        return closing_ || (!draining_ && held_ < capacity_);
      };
      mu_.AwaitWithTimeout(absl::Condition(&room), std::max(absl::ZeroDuration(), report_at - absl::Now()));
      if (closing_) return;
      if (!draining_) want = capacity_ - held_;
    }
    if (want > 0) LeaseSome(want);
    if (absl::Now() >= report_at) {
      ReportNow();
      report_at = absl::Now() + options_.report_every;
    }
  }
}

void Worker::LeaseSome(int want) {
  v1::LeaseRequest request;
  request.set_worker(options_.name);
  request.set_incarnation(options_.incarnation);
  request.set_max_groups(static_cast<uint32_t>(want));
  absl::StatusOr<v1::LeaseReply> reply = parts_.orchestrator->LeaseScenes(request);
  absl::Duration pause;
  if (!reply.ok()) {
    spdlog::warn("no lease: {}", Text(reply.status()));
    pause = absl::Milliseconds(500);
  } else if (reply->leases().empty()) {
    pause = absl::Milliseconds(reply->retry_after_ms() == 0 ? 200 : reply->retry_after_ms());
  }
  std::vector<LeasedGroup> groups;
  if (reply.ok()) {
    absl::MutexLock lock(&mu_);
    held_ += reply->leases_size();
    if (reply->stop()) draining_ = true;
    // Before the groups are there to be generated: deterministic runs depend on it.
    if (!reply->policy().directory().empty()) newest_ = reply->policy();
  }
  if (reply.ok()) {
    for (const v1::Lease& lease : reply->leases()) {
      absl::StatusOr<std::shared_ptr<const v1::Scene>> scene = parts_.scenes(lease.scene_id());
      if (!scene.ok()) {
        spdlog::warn("scene {}: {}", lease.scene_id(), Text(scene.status()));
        Drop(lease, Reason("scene", scene.status()));
        continue;
      }
      groups.push_back(Prepare(lease, reply->run_id(), *std::move(scene), image_size_, parts_.engine->codec().Ask()));
    }
  }
  absl::MutexLock lock(&mu_);
  for (LeasedGroup& group : groups) leased_.push_back(std::move(group));
  pause = std::max(pause, PauseAfterDrops(drops_in_row_, capacity_));
  if (pause > absl::ZeroDuration()) mu_.AwaitWithTimeout(absl::Condition(&closing_), pause);
}

void Worker::ReportNow() {
  int held = 0;
  {
    absl::MutexLock lock(&mu_);
    held = held_;
  }
  v1::ReportRequest request;
  request.set_role(options_.name);
  for (const auto& [name, value] : stats_.Report(absl::Now(), held)) (*request.mutable_values())[name] = value;
  request.set_trouble(stats_.trouble());
  const absl::StatusOr<v1::ReportReply> reply = parts_.orchestrator->Report(request);
  if (reply.ok() && reply->stop()) {
    absl::MutexLock lock(&mu_);
    draining_ = true;
  }
}

void Worker::ScoreAndDiagnose(RolloutGroup rollout) {
  if (Closing()) return;  // left to the next lease
  const v1::Lease lease = rollout.leased.lease;
  absl::StatusOr<ScoredGroup> scored = Score(std::move(rollout), config_, *parts_.reward);
  // Cut off by our own stop: left to the next lease. A service that cancels because it ends itself costs an attempt.
  if (absl::IsCancelled(scored.status()) && Stopping()) return;
  if (!scored.ok()) {
    spdlog::warn("group {} (scene {}) was not scored: {}", lease.group(), lease.scene_id(), Text(scored.status()));
    stats_.Trouble(absl::StrCat("scoring: ", Text(scored.status())));
    Drop(lease, Reason("score", scored.status()));
    return;
  }
  DiagnosedGroup group = Diagnose(*std::move(scored), config_, *parts_.teacher);
  // Stored now, it would train without the feedback that the next lease gets it.
  if (TeacherUnavailable(group) && Stopping()) return;
  if (!WantsRefinement(group, config_)) {
    Store(RefinedGroup{std::move(group), {}});
    return;
  }
  std::vector<RefineRequest> requests = RefineRequests(group, config_);
  if (requests.empty()) {
    FinishGroup(std::move(group), requests, {});
    return;
  }
  absl::MutexLock lock(&mu_);
  to_refine_.push_back({std::move(group), std::move(requests)});
}

void Worker::FinishGroup(DiagnosedGroup group, const std::vector<RefineRequest>& requests,
                         std::vector<std::optional<v1::Response>> answers) {
  const uint64_t number = group.scored.rollout.leased.lease.group();
  absl::Status failure;
  RefinedGroup refined = FinishRefine(std::move(group), requests, std::move(answers), config_, *parts_.engine,
                                      *parts_.reward, &failure);
  // Cut off by our own stop: stored without refinements it would count as unrescued.
  if (absl::IsCancelled(failure) && Stopping()) return;
  if (!failure.ok()) {
    spdlog::warn("group {} goes without refinements: {}", number, Text(failure));
    stats_.RefinementFailed(Reason("refine", failure));
  }
  Store(std::move(refined));
}

void Worker::Store(RefinedGroup group) {
  const v1::Lease lease = group.diagnosed.scored.rollout.leased.lease;
  const RolloutStats::Seconds seconds{group.diagnosed.scored.rollout.generate_seconds,
                                      group.diagnosed.scored.score_seconds, group.diagnosed.diagnose_seconds};
  const v1::Episode episode = MakeEpisode(std::move(group), config_, absl::Now());
  const absl::Time until = absl::Now() + kStorePatience;
  Random jitter(StreamSeed(options_.incarnation, HashName("store"), lease.group()));
  absl::Duration pause = absl::Milliseconds(50);
  absl::Status stored;
  while (IsRetryable(stored = parts_.buffers->episodes().Append(episode)) && absl::Now() < until && !Closing()) {
    absl::SleepFor(pause * jitter.Uniform(0.5, 1.5));
    pause = std::min(2 * pause, absl::Seconds(2));
  }
  if (absl::IsAlreadyExists(stored)) {
    stats_.Duplicate();
    Complete(lease, kDuplicate);
    return;
  }
  if (IsRetryable(stored)) {
    stats_.Trouble(absl::StrCat("storing: ", Text(stored)));
    Drop(lease, Reason("store", stored));
    return;
  }
  if (!stored.ok()) {
    Fail(Annotate(stored, absl::StrCat("group ", lease.group(), " cannot be stored")));
    return;
  }
  // After the append: a worker that dies between the two loses a statistic, not an episode.
  const absl::Status difficulty = parts_.buffers->difficulty().Update(lease.scene_id(), OutcomeOf(episode));
  if (!difficulty.ok()) spdlog::warn("difficulty of scene {}: {}", lease.scene_id(), Text(difficulty));
  stats_.Stored(episode, seconds);
  Complete(lease, "");
}

void Worker::Drop(const v1::Lease& lease, const std::string& reason) {
  stats_.Dropped(reason);
  Complete(lease, reason);
}

void Worker::Complete(const v1::Lease& lease, const std::string& dropped) {
  v1::CompleteRequest request;
  request.set_worker(options_.name);
  request.set_scene_id(lease.scene_id());
  request.set_group(lease.group());
  request.set_attempt(lease.attempt());
  request.set_dropped(dropped);
  const absl::StatusOr<v1::CompleteReply> reply = parts_.orchestrator->CompleteLease(request);
  // Not heard: the lease runs out, and the next attempt finds the group stored.
  if (!reply.ok()) spdlog::warn("group {} could not be completed: {}", lease.group(), Text(reply.status()));
  absl::MutexLock lock(&mu_);
  drops_in_row_ = dropped.empty() || dropped == kDuplicate ? 0 : drops_in_row_ + 1;
  --held_;
}

}  // namespace swerve
