// The services a rollout worker talks to, scripted, in one process.
#ifndef SWERVE_TESTS_TESTING_FAKE_SERVICES_H_
#define SWERVE_TESTS_TESTING_FAKE_SERVICES_H_

#include <algorithm>
#include <deque>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "rollout_workers/clients.h"

namespace swerve {

// r_traj is what `score` says of the response's text; fmt 1, goal 0. With functions in the request's rules also the term
// "fake" of 0.5 to everyone. Thread-safe.
class FakeReward final : public RewardClient {
 public:
  explicit FakeReward(std::function<double(const std::string& text)> score) : score_(std::move(score)) {}

  absl::StatusOr<v1::ScoreGroupReply> ScoreGroup(const v1::ScoreGroupRequest& request) override {
    absl::MutexLock lock(&mu_);
    ++calls_;
    last_ = request;
    if (!failures_.empty()) {
      absl::Status status = std::move(failures_.front());
      failures_.pop_front();
      if (!status.ok()) return status;
    }
    v1::ScoreGroupReply reply;
    for (const v1::ScoreCandidate& candidate : request.candidates()) {
      v1::Reward* reward = reply.add_rewards();
      reward->set_traj(score_(candidate.text()));
      reward->set_fmt(1);
      reward->set_total(reward->traj() + 1);
      if (request.rules().functions().empty()) continue;
      reward->add_terms()->set_name("fake");
      reward->mutable_terms(0)->set_value(0.5);
      reward->set_total(reward->total() + 0.5);
    }
    return reply;
  }

  // What the next calls answer, in order; OK: the ordinary answer.
  void Fail(std::vector<absl::Status> statuses) {
    absl::MutexLock lock(&mu_);
    failures_.assign(statuses.begin(), statuses.end());
  }
  int calls() const {
    absl::MutexLock lock(&mu_);
    return calls_;
  }
  v1::ScoreGroupRequest last() const {
    absl::MutexLock lock(&mu_);
    return last_;
  }

 private:
  const std::function<double(const std::string&)> score_;
  mutable absl::Mutex mu_;
  std::deque<absl::Status> failures_ ABSL_GUARDED_BY(mu_);
  int calls_ ABSL_GUARDED_BY(mu_) = 0;
  v1::ScoreGroupRequest last_ ABSL_GUARDED_BY(mu_);
};

// Says "better" to every response below s and "right" to the others. Thread-safe.
class FakeTeacher final : public TeacherClient {
 public:
  absl::StatusOr<v1::DiagnoseReply> Diagnose(const v1::DiagnoseRequest& request) override {
    absl::MutexLock lock(&mu_);
    ++calls_;
    if (!failure_.ok()) return failure_;
    v1::DiagnoseReply reply;
    for (const v1::DiagnoseItem& item : request.items()) {
      v1::DiagnoseResult* result = reply.add_results();
      result->set_outcome(v1::OK);
      const bool right = item.reward().traj() >= request.success_threshold();
      result->mutable_feedback()->set_positive(right);
      result->mutable_feedback()->set_prompt_text(right ? "right" : "better");
    }
    return reply;
  }
  // Every call from now on answers this; OK: as usual.
  void Fail(absl::Status status) {
    absl::MutexLock lock(&mu_);
    failure_ = std::move(status);
  }
  int calls() const {
    absl::MutexLock lock(&mu_);
    return calls_;
  }

 private:
  mutable absl::Mutex mu_;
  absl::Status failure_ ABSL_GUARDED_BY(mu_);
  int calls_ ABSL_GUARDED_BY(mu_) = 0;
};

// Leases groups 0 … n-1 of scenes "s0", "s1", …; dropped groups are leased again; says stop when all are completed.
// Thread-safe.
class FakeOrchestrator final : public OrchestratorClient {
 public:
  FakeOrchestrator(int groups, int scenes) : groups_(groups), scenes_(scenes), attempts_(groups, 0) {
    for (int g = 0; g < groups; ++g) open_.push_back(g);
  }

  absl::StatusOr<v1::LeaseReply> LeaseScenes(const v1::LeaseRequest& request) override {
    absl::MutexLock lock(&mu_);
    v1::LeaseReply reply;
    reply.set_run_id("run");
    *reply.mutable_policy() = policy_;
    reply.set_retry_after_ms(1);
    while (!open_.empty() && reply.leases_size() < static_cast<int>(request.max_groups())) {
      const uint64_t group = open_.front();
      open_.pop_front();
      v1::Lease* lease = reply.add_leases();
      lease->set_group(group);
      lease->set_scene_id(absl::StrCat("s", group % scenes_));
      lease->set_attempt(++attempts_[group]);
    }
    largest_ = std::max(largest_, reply.leases_size());
    reply.set_stop(static_cast<int>(accepted_.size()) == groups_);
    return reply;
  }
  absl::StatusOr<v1::CompleteReply> CompleteLease(const v1::CompleteRequest& request) override {
    absl::MutexLock lock(&mu_);
    v1::CompleteReply reply;
    if (request.dropped().empty() || request.dropped() == "duplicate") {
      accepted_.push_back(request.group());
      reply.set_accepted(true);
    } else {
      dropped_.push_back(request.dropped());
      open_.push_back(request.group());
    }
    return reply;
  }
  absl::StatusOr<v1::ReportReply> Report(const v1::ReportRequest& request) override {
    absl::MutexLock lock(&mu_);
    last_report_ = request;
    return v1::ReportReply();
  }

  void Announce(v1::PolicyManifest policy) {
    absl::MutexLock lock(&mu_);
    policy_ = std::move(policy);
  }
  std::vector<uint64_t> accepted() const {
    absl::MutexLock lock(&mu_);
    return accepted_;
  }
  std::vector<std::string> dropped() const {
    absl::MutexLock lock(&mu_);
    return dropped_;
  }
  v1::ReportRequest last_report() const {
    absl::MutexLock lock(&mu_);
    return last_report_;
  }
  int largest_lease() const {
    absl::MutexLock lock(&mu_);
    return largest_;
  }

 private:
  const int groups_;
  const int scenes_;
  mutable absl::Mutex mu_;
  std::deque<uint64_t> open_ ABSL_GUARDED_BY(mu_);
  std::vector<uint32_t> attempts_ ABSL_GUARDED_BY(mu_);
  std::vector<uint64_t> accepted_ ABSL_GUARDED_BY(mu_);
  std::vector<std::string> dropped_ ABSL_GUARDED_BY(mu_);
  v1::PolicyManifest policy_ ABSL_GUARDED_BY(mu_);
  v1::ReportRequest last_report_ ABSL_GUARDED_BY(mu_);
  int largest_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace swerve

#endif  // SWERVE_TESTS_TESTING_FAKE_SERVICES_H_
