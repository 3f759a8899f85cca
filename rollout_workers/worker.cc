#include "rollout_workers/worker.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <thread>
#include <utility>

#include "absl/time/clock.h"
#include "rollout_workers/rollout.h"

namespace swerve {
namespace {

std::string Text(const absl::Status& status) { return std::string(status.message()); }

// Side of the picture, pixels; a model without a vision tower gets none.
int ImageSize(const v1::RunConfig& config, const Engine& engine) {
  return engine.image_size() > 0 && config.policy().image_size() > 0 ? config.policy().image_size()
                                                                     : engine.image_size();
}

}  // namespace

Worker::Worker(v1::RunConfig config, WorkerParts parts, WorkerOptions options)
    : config_(std::move(config)),
      parts_(std::move(parts)),
      options_(std::move(options)),
      batch_(config_.deterministic() ? 1 : std::max(1, config_.rollout().groups_in_flight())),
      capacity_(config_.deterministic() ? 1 : 2 * batch_),
      image_size_(ImageSize(config_, *parts_.engine)),
      stats_(absl::Now()),
      io_(std::make_unique<TaskPool>(std::max(1, options_.io_threads), 4 * capacity_ + 4, "rollout-io")) {}

Worker::~Worker() = default;

absl::Status Worker::Run(const std::function<bool()>& stop) {
  stop_ = stop;
  std::thread lease([this] { LeaseLoop(); });
  pthread_setname_np(lease.native_handle(), "rollout-lease");
  absl::Status status;
  while (true) {
    std::vector<Job> jobs = NextJobs();
    if (jobs.empty()) break;
    RefreshWeights();
    status = GenerateFor(std::move(jobs));
    if (!status.ok()) break;
  }
  {
    absl::MutexLock lock(&mu_);
    closing_ = true;
    if (!fatal_.ok()) status = fatal_;
  }
  io_.reset();  // finishes what was submitted
  lease.join();
  ReportNow();
  absl::MutexLock lock(&mu_);
  return status.ok() ? fatal_ : status;
}

bool Worker::MayGenerate() const {
  if (!fatal_.ok()) return true;
  const int ready = static_cast<int>(leased_.size() + to_refine_.size());
  if (ready == 0) return draining_ && held_ == 0;
  // A fuller call is cheaper per token: while I/O will soon deliver more, a part of a batch waits for it.
  return ready >= batch_ || in_io_ == 0;
}

std::vector<Worker::Job> Worker::NextJobs() {
  std::vector<Job> jobs;
  while (!stop_()) {
    absl::MutexLock lock(&mu_);
    const bool due = mu_.AwaitWithTimeout(absl::Condition(this, &Worker::MayGenerate), options_.idle_poll);
    if (!fatal_.ok()) return jobs;
    // Not due after the wait: services are slow today, so take what is there rather than idle.
    if (!due && leased_.empty() && to_refine_.empty()) continue;
    if (stop_()) break;
    // Older groups first: their originals age.
    while (!to_refine_.empty() && static_cast<int>(jobs.size()) < batch_) {
      jobs.emplace_back(std::move(to_refine_.front()));
      to_refine_.pop_front();
    }
    while (!leased_.empty() && static_cast<int>(jobs.size()) < batch_) {
      jobs.emplace_back(std::move(leased_.front()));
      leased_.pop_front();
    }
    return jobs;  // empty here: drained
  }
  return jobs;
}

void Worker::RefreshWeights() {
  v1::PolicyManifest newest;
  {
    absl::MutexLock lock(&mu_);
    newest = newest_;
  }
  const v1::PolicyManifest current = parts_.engine->policy();
  if (newest.directory().empty() ||
      (newest.version() == current.version() && newest.checksum() == current.checksum())) {
    return;
  }
  const absl::Status loaded = parts_.engine->LoadWeights(newest);
  if (!loaded.ok()) {
    // Pruned already because a newer version exists, most likely: the next lease names that one.
    spdlog::warn("weights v{} could not be loaded, sampling goes on with v{}: {}", newest.version(), current.version(),
                 Text(loaded));
    return;
  }
  stats_.WeightVersion(newest.version());
  spdlog::debug("weights v{}", newest.version());
}

absl::StatusOr<std::vector<std::optional<GenerateResult>>> Worker::Generate(
    const std::vector<GenerateRequest>& requests) {
  std::vector<std::optional<GenerateResult>> out(requests.size());
  if (requests.empty()) return out;
  const absl::Time start = absl::Now();
  absl::StatusOr<std::vector<GenerateResult>> all = parts_.engine->Generate(requests);
  if (parts_.busy != nullptr) parts_.busy->Add(start, absl::Now());
  if (!all.ok() && IsRetryable(all.status())) {
    spdlog::warn("engine: {}", Text(all.status()));
    return out;
  }
  if (!all.ok()) return Annotate(all.status(), "engine");
  for (size_t i = 0; i < std::min(all->size(), out.size()); ++i) out[i] = std::move((*all)[i]);
  return out;
}

// A prompt that cannot be served costs its own group (or its refinement), never the call that it would have been in.
void Worker::PutAsideUnservable(std::vector<Job>* jobs) {
  std::vector<Job> kept;
  for (Job& job : *jobs) {
    if (auto* leased = std::get_if<LeasedGroup>(&job)) {
      if (const absl::Status ok = parts_.engine->Check(RolloutRequest(*leased, config_)); !ok.ok()) {
        spdlog::warn("group {} (scene {}): its prompt cannot be served: {}", leased->lease.group(),
                     leased->lease.scene_id(), Text(ok));
        Submit([this, lease = leased->lease] { Drop(lease, "prompt_unservable"); });
        continue;
      }
    } else {
      std::erase_if(std::get<ToRefine>(job).requests, [this](const RefineRequest& request) {
        const absl::Status ok = parts_.engine->Check(request.generate);
        if (ok.ok()) return false;
        spdlog::warn("a feedback prompt cannot be served: {}", Text(ok));
        stats_.RefinementFailed("prompt_unservable");
        return true;
      });
    }
    kept.push_back(std::move(job));
  }
  *jobs = std::move(kept);
}

absl::Status Worker::GenerateFor(std::vector<Job> jobs) {
  PutAsideUnservable(&jobs);
  if (jobs.empty()) return absl::OkStatus();
  std::vector<GenerateRequest> requests;
  for (const Job& job : jobs) {
    if (const auto* leased = std::get_if<LeasedGroup>(&job)) {
      requests.push_back(RolloutRequest(*leased, config_));
    } else {
      for (const RefineRequest& r : std::get<ToRefine>(job).requests) requests.push_back(r.generate);
    }
  }
  const absl::Time start = absl::Now();
  SWERVE_ASSIGN_OR_RETURN(std::vector<std::optional<GenerateResult>> results, Generate(requests));
  const absl::Duration took = absl::Now() - start;
  uint64_t tokens = 0;
  for (const auto& result : results) {
    if (!result) continue;
    for (const v1::Response& response : result->responses) tokens += response.token_ids_size();
  }
  stats_.Generated(tokens, took);
  const double seconds = absl::ToDoubleSeconds(took) / static_cast<double>(jobs.size());
  const v1::PolicyManifest policy = parts_.engine->policy();
  size_t next = 0;
  for (Job& job : jobs) {
    // std::function wants copyable closures, hence the shared pointers.
    if (auto* leased = std::get_if<LeasedGroup>(&job)) {
      std::optional<GenerateResult>& result = results[next++];
      if (!result) {
        Submit([this, lease = leased->lease] { Drop(lease, "generate_failed"); });
        continue;
      }
      auto group = std::make_shared<RolloutGroup>(
          FinishRollout(std::move(*leased), config_, *std::move(result), policy, seconds));
      Submit([this, group] { ScoreAndDiagnose(std::move(*group)); });
    } else {
      auto refine = std::make_shared<ToRefine>(std::move(std::get<ToRefine>(job)));
      refine->group.scored.rollout.generate_seconds += seconds;
      auto answers = std::make_shared<std::vector<std::optional<v1::Response>>>(refine->requests.size());
      for (std::optional<v1::Response>& answer : *answers) {
        std::optional<GenerateResult>& result = results[next++];
        if (result && result->responses.size() == 1) answer = std::move(result->responses[0]);
      }
      Submit([this, refine, answers] {
        FinishGroup(std::move(refine->group), refine->requests, std::move(*answers));
      });
    }
  }
  return absl::OkStatus();
}

void Worker::Submit(std::function<void()> task) {
  {
    absl::MutexLock lock(&mu_);
    ++in_io_;
  }
  io_->Submit([this, task = std::move(task)] {
    task();
    absl::MutexLock lock(&mu_);
    --in_io_;
  });
}

void Worker::Fail(absl::Status status) {
  absl::MutexLock lock(&mu_);
  if (fatal_.ok()) fatal_ = std::move(status);
}

bool Worker::Closing() const {
  absl::MutexLock lock(&mu_);
  return closing_;
}

bool Worker::Stopping() const { return stop_() || Closing(); }

}  // namespace swerve
