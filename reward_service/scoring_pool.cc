#include "reward_service/scoring_pool.h"

#include <pthread.h>

#include <algorithm>
#include <array>
#include <utility>

#include "absl/synchronization/notification.h"
#include "reward_service/metrics.h"
#include "reward_service/retry_hint.h"

namespace swerve {
namespace {

// Candidates a thread takes at once: long enough that a lock is nothing, short enough to share a group of 64.
constexpr int kChunk = 16;
// When all threads are busy, how long calls may go unread. Scoring a chunk takes a tenth of it.
constexpr absl::Duration kAttention = absl::Milliseconds(5);
// How long calls go unread, and answers of streams unsent, while there is work. A look costs much the same for one or ten, most of
// it to wake the callers. So until a fifth of what waited after the last look is left, or for long.
constexpr int kFewOf = 5;
constexpr absl::Duration kLeastUnlooked = absl::Microseconds(250), kMostUnlooked = absl::Milliseconds(4);

// The pool that this thread scores for.
thread_local const ScoringPool* working_for = nullptr;

}  // namespace

// Call, arrival and deadline never change. Target, weights and reply are written by the thread that begins the job,
// before any other thread gets at it through mu_; after that each thread writes the rewards of its own candidates.
struct ScoringPool::Job {
  Call call;
  absl::Time arrival, deadline;
  absl::Time begun, ready;  // taken by a thread; its scene prepared
  std::shared_ptr<const RewardTarget> target;
  v1::RewardWeights weights;
  RewardFunctions functions;
  std::vector<v1::Reward*> rewards;  // of the reply, one per candidate
  // Guarded by the pool's mu_.
  bool prepared = false;
  int next = 0;         // first candidate nobody has taken
  int outstanding = 0;  // chunks being scored
  absl::Status failure;
};

ScoringPool::ScoringPool(const ScoringOptions& options, SceneLookup scenes)
    : options_(options), cache_(std::move(scenes), options.cache_bytes) {
  RewardMetrics::Get();  // exposed from the start, not from the first group on
  const int threads = options.threads > 0 ? options.threads : std::max(1u, std::thread::hardware_concurrency());
  for (int i = 0; i < threads; ++i) {
    threads_.emplace_back([this] { Work(); });
    pthread_setname_np(threads_.back().native_handle(), "reward-score");
  }
  attendant_ = std::thread([this] { Attend(); });
  pthread_setname_np(attendant_.native_handle(), "reward-attend");
}

ScoringPool::~ScoringPool() {
  {
    absl::MutexLock lock(&mu_);  // wakes those that wait for work
    stopping_ = true;
  }
  for (std::thread& t : threads_) t.join();
  attendant_.join();
}

void ScoringPool::Submit(Call call) {
  auto job = std::make_shared<Job>();
  job->arrival = options_.now();
  job->deadline = job->arrival + std::min(call.timeout, options_.deadline);
  job->call = std::move(call);
  absl::Status status;
  if (job->call.request != nullptr) status = CheckSize(*job->call.request);
  if (status.ok()) status = Enqueue(job);
  if (!status.ok()) Answer(*job, status);
}

absl::Status ScoringPool::CheckSize(const v1::ScoreGroupRequest& request) const {
  const int candidates = request.candidates_size() + request.peers_size();
  if (candidates <= options_.max_candidates) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("candidates: ", candidates, " in one group, at most ",
                                                 options_.max_candidates, " (reward.max_candidates)"));
}

absl::StatusOr<v1::ScoreGroupReply> ScoringPool::Score(const v1::ScoreGroupRequest& request, absl::Duration timeout) {
  v1::ScoreGroupReply reply;
  absl::Status status;
  absl::Notification done;
  Submit({.request = &request,
          .reply = &reply,
          .bytes = static_cast<int64_t>(request.ByteSizeLong()),
          .timeout = timeout,
          .done = [&](const absl::Status& s) {
            status = s;
            done.Notify();
          }});
  done.WaitForNotification();
  SWERVE_RETURN_IF_ERROR(status);
  return reply;
}

void ScoringPool::Serve(CallSource* source) {
  absl::MutexLock lock(&mu_);
  source_ = source;
}

void ScoringPool::Leave(const std::function<void()>& leave) {
  {
    absl::MutexLock lock(&mu_);
    source_ = nullptr;
  }
  leave();
  absl::MutexLock lock(&mu_);
  mu_.Await(absl::Condition(this, &ScoringPool::NobodyThere));
}

absl::Status ScoringPool::Enqueue(const JobPtr& job) {
  std::vector<JobPtr> gone;
  absl::Status status;
  {
    absl::MutexLock lock(&mu_);
    if (stopping_) return absl::UnavailableError("the reward service is shutting down");
    if (Full(*job)) gone = DropGone();  // those who left must not keep others out
    if (Full(*job)) {
      status = WithRetryAfter(
          absl::ResourceExhaustedError(absl::StrCat("queue full: ", waiting_, " groups of ", waiting_bytes_ >> 10,
                                                    " KiB wait already; try again after the delay in RetryInfo")),
          RetryDelay());
    } else {
      jobs_.push_back(job);
      ++waiting_;
      waiting_bytes_ += job->call.bytes;
      // A thread of the pool itself will take it next.
      if (source_ != nullptr && idle_ > 0 && working_for != this) source_->Wake();
    }
    ShowQueue();
  }
  for (const JobPtr& left : gone) Answer(*left, GoOn(*left));
  return status;
}

bool ScoringPool::Full(const Job& job) const {
  return waiting_ >= options_.max_queue || (waiting_ > 0 && waiting_bytes_ + job.call.bytes > options_.max_queue_bytes);
}

std::vector<ScoringPool::JobPtr> ScoringPool::DropGone() {
  std::vector<JobPtr> gone;
  std::deque<JobPtr> stay;
  for (JobPtr& job : jobs_) {
    if (job->prepared || GoOn(*job).ok()) {
      stay.push_back(std::move(job));
      continue;
    }
    --waiting_;
    waiting_bytes_ -= job->call.bytes;
    gone.push_back(std::move(job));
  }
  jobs_ = std::move(stay);
  return gone;
}

absl::Duration ScoringPool::RetryDelay() const {
  // By then the groups that wait now are done, if they are like those before them.
  const double seconds = mean_seconds_ * waiting_ / static_cast<double>(threads_.size());
  return absl::Seconds(std::clamp(seconds, 0.05, 10.0));
}

void ScoringPool::ShowQueue() const {
  RewardMetrics::Get().queue.Set(waiting_);
  RewardMetrics::Get().queue_bytes.Set(static_cast<double>(waiting_bytes_));
}

void ScoringPool::Work() {
  working_for = this;
  Task task;
  while (true) {
    task = Take(task);
    if (task.job == nullptr) {
      if (task.source == nullptr) return;
      task.source->Wait();
      continue;
    }
    if (task.end == 0) {
      Begin(task.job);
    } else {
      Settle(task.job, ScoreSome(*task.job, task.begin, task.end));
    }
    if (task.look) task.source->Poll();
  }
}

ScoringPool::Task ScoringPool::Take(const Task& last) {
  absl::MutexLock lock(&mu_);
  if (last.source != nullptr) {
    --visitors_;
    if (last.job == nullptr) --idle_;
    if (last.look) looking_ = false;
    if (last.look || last.job == nullptr) {
      looked_ = options_.now();
      few_ = waiting_ / kFewOf;
    }
  }
  if (source_ == nullptr) mu_.Await(absl::Condition(this, &ScoringPool::HasWork));
  if (jobs_.empty() && stopping_) return {};
  if (source_ != nullptr) {
    ++visitors_;
    ++looks_;
  }
  if (jobs_.empty()) {
    ++idle_;
    return {.source = source_};
  }
  JobPtr job = jobs_.front();
  Task task{job, 0, 0, source_};
  if (!job->prepared) {
    jobs_.pop_front();
    --waiting_;
    waiting_bytes_ -= job->call.bytes;
    ShowQueue();
  } else {
    const int n = job->call.request->candidates_size();
    task.begin = job->next;
    task.end = job->next = std::min(job->next + kChunk, n);
    ++job->outstanding;
    if (job->next == n) jobs_.pop_front();
  }
  task.look = TimeToLook();
  if (source_ != nullptr && !jobs_.empty() && idle_ > 0) source_->Wake();  // who wakes another one in turn
  return task;
}

bool ScoringPool::TimeToLook() {
  if (source_ == nullptr || looking_) return false;
  // The last of what was there are left to do while the answers to the others reach their callers, and new calls come.
  looking_ = options_.now() - looked_ > (waiting_ <= few_ ? kLeastUnlooked : kMostUnlooked);
  return looking_;
}

void ScoringPool::Attend() {
  while (true) {
    CallSource* source;
    {
      absl::MutexLock lock(&mu_);
      mu_.Await(absl::Condition(this, &ScoringPool::Unattended));
      if (stopping_) return;
      const int64_t looks = looks_;
      mu_.AwaitWithTimeout(absl::Condition(this, &ScoringPool::Stopping), kAttention);
      if (looks_ != looks || !Unattended() || stopping_) continue;
      source = source_;
      ++visitors_;
    }
    source->Poll();
    absl::MutexLock lock(&mu_);
    --visitors_;
    // It may have taken the call that was to wake a thread which had become idle meanwhile.
    if (source_ != nullptr && !jobs_.empty() && idle_ > 0) source_->Wake();
  }
}

void ScoringPool::Begin(const JobPtr& job) {
  job->begun = options_.now();
  RewardMetrics::Get().queue_seconds.Observe(absl::ToDoubleSeconds(job->begun - job->arrival));
  const absl::Status status = Prepare(*job);
  if (!status.ok()) return Answer(*job, status);
  const int n = job->call.request->candidates_size();
  if (n == 0) return Answer(*job, status);
  if (n <= kChunk) {  // nothing to share
    job->next = n;
    job->outstanding = 1;
    return Settle(job, ScoreSome(*job, 0, n));
  }
  absl::MutexLock lock(&mu_);
  job->prepared = true;
  jobs_.push_front(job);
}

absl::Status ScoringPool::Prepare(Job& job) {
  SWERVE_RETURN_IF_ERROR(GoOn(job));
  if (job.call.open) {
    SWERVE_RETURN_IF_ERROR(job.call.open(&job.call));
    SWERVE_RETURN_IF_ERROR(CheckSize(*job.call.request));
  }
  const v1::ScoreGroupRequest& request = *job.call.request;
  SWERVE_RETURN_IF_ERROR(CheckPoses(request));
  SWERVE_ASSIGN_OR_RETURN(const pdm::Rules rules, RulesOf(request.pdm_rules(), options_.pdm_rules));
  switch (request.source_case()) {
    case v1::ScoreGroupRequest::kScene: {
      SWERVE_ASSIGN_OR_RETURN(job.target, PrepareTarget(request.scene(), rules));
      break;
    }
    case v1::ScoreGroupRequest::kSceneId: {
      SWERVE_ASSIGN_OR_RETURN(job.target, cache_.Get(request.scene_id(), rules));
      break;
    }
    default:
      return absl::InvalidArgumentError("source is not set; give scene_id or scene");
  }
  job.weights = request.has_weights() ? request.weights() : options_.default_weights;
  SWERVE_RETURN_IF_ERROR(CheckWeights(*job.target, job.weights));
  job.functions = options_.default_functions;
  if (request.has_rules()) {
    SWERVE_ASSIGN_OR_RETURN(job.functions, RewardFunctions::Make(request.rules()));
  }
  SWERVE_RETURN_IF_ERROR(job.functions.Check(*job.target, request));
  job.rewards.reserve(request.candidates_size());
  for (int i = 0; i < request.candidates_size(); ++i) job.rewards.push_back(job.call.reply->add_rewards());
  job.ready = options_.now();
  RewardMetrics::Get().prepare_seconds.Observe(absl::ToDoubleSeconds(job.ready - job.begun));
  return absl::OkStatus();
}

absl::Status ScoringPool::ScoreSome(Job& job, int begin, int end) {
  const v1::ScoreGroupRequest& request = *job.call.request;
  std::array<const v1::ScoreCandidate*, pdm::kLanes> candidates;
  for (int first = begin; first < end; first += pdm::kLanes) {
    SWERVE_RETURN_IF_ERROR(GoOn(job));
    const int n = std::min(pdm::kLanes, end - first);
    for (int i = 0; i < n; ++i) candidates[i] = &request.candidates(first + i);
    ScoreCandidates(*job.target, absl::MakeConstSpan(candidates.data(), n), job.weights,
                    absl::MakeConstSpan(job.rewards).subspan(first, n));
  }
  return absl::OkStatus();
}

void ScoringPool::Settle(const JobPtr& job, const absl::Status& status) {
  const int n = job->call.request->candidates_size();
  {
    absl::MutexLock lock(&mu_);
    --job->outstanding;
    if (!status.ok()) {
      job->failure.Update(status);
      if (job->next < n) {  // nobody starts on the rest
        job->next = n;
        jobs_.erase(std::find(jobs_.begin(), jobs_.end(), job));
      }
    }
    if (job->next < n || job->outstanding > 0) return;
    const double seconds = absl::ToDoubleSeconds(options_.now() - job->begun);
    mean_seconds_ = mean_seconds_ == 0 ? seconds : 0.9 * mean_seconds_ + 0.1 * seconds;
  }
  if (job->failure.ok()) {
    job->functions.Apply(*job->target, *job->call.request, job->weights, job->rewards);
    RewardMetrics::Get().candidates.Increment(n);
  }
  RewardMetrics::Get().score_seconds.Observe(absl::ToDoubleSeconds(options_.now() - job->ready));
  Answer(*job, job->failure);
}

absl::Status ScoringPool::GoOn(const Job& job) const {
  if (stopping_) return absl::UnavailableError("the reward service is shutting down");
  if (job.call.cancelled && job.call.cancelled()) return absl::CancelledError("the caller has gone");
  if (options_.now() > job.deadline) return absl::DeadlineExceededError("the group's deadline has passed");
  return absl::OkStatus();
}

void ScoringPool::Answer(Job& job, const absl::Status& status) {
  RewardMetrics& metrics = RewardMetrics::Get();
  (status.ok() ? metrics.groups_ok : RewardMetrics::Groups(absl::StatusCodeToString(status.code()))).Increment();
  metrics.group_seconds.Observe(absl::ToDoubleSeconds(options_.now() - job.arrival));
  if (!status.ok() && job.call.reply != nullptr) job.call.reply->Clear();
  job.call.done(status);
}

}  // namespace swerve
