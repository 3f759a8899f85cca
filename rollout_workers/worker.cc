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
      lanes_(config_.deterministic() ? 1 : std::max(1, config_.rollout().groups_in_flight())),
      capacity_(config_.deterministic() ? 1 : 2 * lanes_),
      image_size_(ImageSize(config_, *parts_.engine)),
      stats_(absl::Now()),
      io_(std::make_unique<TaskPool>(std::max(1, options_.io_threads), 4 * capacity_ + 4, "rollout-io")) {}

Worker::~Worker() = default;

absl::Status Worker::Run(const std::function<bool()>& stop) {
  stop_ = stop;
  std::thread lease([this] { LeaseLoop(); });
  pthread_setname_np(lease.native_handle(), "rollout-lease");
  std::vector<std::thread> lanes;
  for (int i = 0; i < lanes_; ++i) lanes.emplace_back([this] { Lane(); });
  for (std::thread& lane : lanes) lane.join();
  {
    absl::MutexLock lock(&mu_);
    closing_ = true;
  }
  io_.reset();  // finishes what was submitted
  lease.join();
  ReportNow();
  absl::MutexLock lock(&mu_);
  return fatal_;
}

void Worker::Lane() {
  while (std::optional<Job> job = NextJob()) {
    RefreshWeights();
    const absl::Status status = std::visit([this](auto&& each) { return GenerateFor(std::move(each)); }, *std::move(job));
    if (!status.ok()) Fail(status);
  }
}

bool Worker::MayGenerate() const {
  return !fatal_.ok() || !leased_.empty() || !to_refine_.empty() || (draining_ && held_ == 0);
}

std::optional<Worker::Job> Worker::NextJob() {
  while (!stop_()) {
    absl::MutexLock lock(&mu_);
    const bool due = mu_.AwaitWithTimeout(absl::Condition(this, &Worker::MayGenerate), options_.idle_poll);
    if (!fatal_.ok()) return std::nullopt;
    if (!due) continue;
    if (stop_()) break;
    std::optional<Job> job;
    if (!to_refine_.empty()) {  // older groups first: their originals age
      job.emplace(std::move(to_refine_.front()));
      to_refine_.pop_front();
    } else if (!leased_.empty()) {
      job.emplace(std::move(leased_.front()));
      leased_.pop_front();
    }
    return job;  // none here: drained
  }
  return std::nullopt;
}

// One lane loads, the others wait for it: what is sampled next is of the newest weights that are known here.
void Worker::RefreshWeights() {
  v1::PolicyManifest newest;
  {
    absl::MutexLock lock(&mu_);
    const auto idle = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return !refreshing_; };
    mu_.Await(absl::Condition(&idle));
    newest = newest_;
    const v1::PolicyManifest current = parts_.engine->policy();
    if (newest.directory().empty() ||
        (newest.version() == current.version() && newest.checksum() == current.checksum())) {
      return;
    }
    refreshing_ = true;
  }
  const absl::Status loaded = parts_.engine->LoadWeights(newest);
  if (loaded.ok()) {
    stats_.WeightVersion(newest.version());
    spdlog::debug("weights v{}", newest.version());
  } else {
    // Pruned already because a newer version exists, most likely: the next lease names that one.
    spdlog::warn("weights v{} could not be loaded, sampling goes on with v{}: {}", newest.version(),
                 parts_.engine->policy().version(), Text(loaded));
  }
  absl::MutexLock lock(&mu_);
  refreshing_ = false;
}

absl::Time Worker::BeginGenerating() {
  absl::MutexLock lock(&mu_);
  const absl::Time now = absl::Now();
  if (generating_++ == 0) counted_ = now;
  return now;
}

// Since when the engine's busy time was not counted: lanes overlap, and time counts once.
absl::Time Worker::EndGenerating(absl::Time now) {
  absl::MutexLock lock(&mu_);
  --generating_;
  return std::exchange(counted_, std::max(now, counted_));
}

absl::StatusOr<std::optional<Worker::Generated>> Worker::Generate(const std::vector<GenerateRequest>& requests) {
  if (requests.empty()) return Generated{};
  BeginGenerating();
  absl::StatusOr<std::vector<GenerateResult>> all = parts_.engine->Generate(requests);
  const absl::Time now = absl::Now(), since = EndGenerating(now);
  if (parts_.busy != nullptr && now > since) parts_.busy->Add(since, now);
  if (!all.ok() && IsRetryable(all.status())) {
    spdlog::warn("engine: {}", Text(all.status()));
    stats_.Trouble(absl::StrCat("engine: ", Text(all.status())));
    return std::optional<Generated>();
  }
  if (!all.ok()) return Annotate(all.status(), "engine");
  uint64_t tokens = 0;
  for (const GenerateResult& result : *all) {
    for (const v1::Response& response : result.responses) tokens += response.token_ids_size();
  }
  const absl::Duration took = std::max(absl::ZeroDuration(), now - since);
  stats_.Generated(tokens, took);
  return Generated{*std::move(all), absl::ToDoubleSeconds(took)};
}

bool Worker::Servable(const GenerateRequest& request, const std::string& what) {
  const absl::Status ok = parts_.engine->Check(request);
  if (!ok.ok()) spdlog::warn("{} cannot be served: {}", what, Text(ok));
  return ok.ok();
}

// A prompt that cannot be served costs its own group.
absl::Status Worker::GenerateFor(LeasedGroup leased) {
  const GenerateRequest request = RolloutRequest(leased, config_);
  if (!Servable(request, absl::StrCat("group ", leased.lease.group(), " (scene ", leased.lease.scene_id(), "): its prompt"))) {
    Submit([this, lease = leased.lease] { Drop(lease, "prompt_unservable"); });
    return absl::OkStatus();
  }
  SWERVE_ASSIGN_OR_RETURN(std::optional<Generated> done, Generate({request}));
  if (!done || done->results.empty()) {
    Submit([this, lease = leased.lease] { Drop(lease, "generate_failed"); });
    return absl::OkStatus();
  }
  GenerateResult& result = done->results[0];
  const v1::PolicyManifest policy = result.policy;
  // std::function wants copyable closures, hence the shared pointer.
  auto group = std::make_shared<RolloutGroup>(FinishRollout(std::move(leased), config_, std::move(result), policy, done->seconds));
  Submit([this, group] { ScoreAndDiagnose(std::move(*group)); });
  return absl::OkStatus();
}

// A feedback prompt that cannot be served costs its refinement.
absl::Status Worker::GenerateFor(ToRefine refine) {
  std::erase_if(refine.requests, [this](const RefineRequest& request) {
    if (Servable(request.generate, "a feedback prompt")) return false;
    stats_.RefinementFailed("prompt_unservable");
    return true;
  });
  std::vector<GenerateRequest> requests;
  for (const RefineRequest& r : refine.requests) requests.push_back(r.generate);
  SWERVE_ASSIGN_OR_RETURN(std::optional<Generated> done, Generate(requests));
  auto answers = std::make_shared<std::vector<std::optional<v1::Response>>>(refine.requests.size());
  if (done) {
    refine.group.scored.rollout.generate_seconds += done->seconds;
    for (size_t i = 0; i < std::min(answers->size(), done->results.size()); ++i) {
      GenerateResult& result = done->results[i];
      if (result.responses.size() == 1) (*answers)[i] = std::move(result.responses[0]);
    }
  }
  auto held = std::make_shared<ToRefine>(std::move(refine));
  Submit([this, held, answers] { FinishGroup(std::move(held->group), held->requests, std::move(*answers)); });
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
