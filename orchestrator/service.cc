#include "orchestrator/service.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_split.h"
#include "base/files.h"
#include "scenes/store.h"

namespace swerve {
namespace {

// A worker that got nothing asks again after this long.
constexpr uint32_t kRetryMs = 200;

LedgerOptions OptionsOf(const v1::RunConfig& config) {
  LedgerOptions options;
  options.batch_groups = config.learner().batch_groups();
  options.max_staleness = config.deterministic() ? 0 : config.orchestrator().max_staleness();
  options.lease_us = static_cast<int64_t>(config.rollout().lease_seconds() * 1e6);
  return options;
}

// Groups in the store that the learner has not acknowledged. Those it has are known to the state file, or are found
// out by the next attempt's refused append.
absl::StatusOr<std::set<uint64_t>> StoredGroups(EpisodeStore& store) {
  std::set<uint64_t> groups;
  uint64_t from = 0;
  while (true) {
    SWERVE_ASSIGN_OR_RETURN(const std::vector<v1::Episode> episodes, store.Read(from, 64));
    if (episodes.empty()) return groups;
    for (const v1::Episode& episode : episodes) groups.insert(episode.group());
    from = episodes.back().group() + 1;
  }
}

absl::StatusOr<v1::LedgerState> LoadState(const std::string& path) {
  v1::LedgerState state;
  absl::StatusOr<std::string> bytes = ReadFile(path);
  if (absl::IsNotFound(bytes.status())) return state;
  SWERVE_RETURN_IF_ERROR(bytes.status());
  if (!state.ParseFromString(*bytes)) {
    return absl::InvalidArgumentError(absl::StrCat(path, " is not a ledger's state; start a new run directory"));
  }
  return state;
}

}  // namespace

OrchestratorService::OrchestratorService(Options options, Buffers* buffers, Ledger ledger)
    : options_(std::move(options)), buffers_(buffers), started_(options_.clock()), ledger_(std::move(ledger)) {}

absl::StatusOr<std::unique_ptr<OrchestratorService>> OrchestratorService::Create(Options options, Buffers* buffers) {
  if (options.scenes.empty()) return absl::InvalidArgumentError("there is no scene to train on");
  if (!options.clock) options.clock = [] { return absl::Now(); };
  SWERVE_ASSIGN_OR_RETURN(const v1::LedgerState state, LoadState(options.run.ledger()));
  SWERVE_ASSIGN_OR_RETURN(const std::set<uint64_t> stored, StoredGroups(buffers->episodes()));
  const v1::RunConfig& config = options.config;
  // By difficulty only where timing may decide: the records grow in the order in which workers finish.
  SceneSampler sampler(config.seed(), options.scenes,
                       config.deterministic() ? 0 : config.orchestrator().difficulty_weight());
  Ledger ledger(OptionsOf(config), std::move(sampler));
  ledger.Restore(state, stored);
  auto service = std::unique_ptr<OrchestratorService>(
      new OrchestratorService(std::move(options), buffers, std::move(ledger)));
  {
    absl::MutexLock lock(&service->mu_);
    service->policy_ = state.policy();
    if (service->policy_.directory().empty()) service->policy_.set_directory(service->options_.config.policy().model());
    // A run that is taken up again with more steps is not finished; the learner says so again if it is.
    service->finished_ = false;
    service->elapsed_before_ = state.elapsed_seconds();
    service->SetStep(state.step());
    service->CountMetrics();
  }
  service->RefreshDifficulty();
  return service;
}

double OrchestratorService::Elapsed() const {
  return elapsed_before_ + absl::ToDoubleSeconds(options_.clock() - started_);
}

void OrchestratorService::SetStep(uint64_t step) {
  step_ = step;
  ledger_.SetVersion(static_cast<int64_t>(step));
}

absl::Status OrchestratorService::Save() {
  CountMetrics();
  v1::LedgerState state;
  ledger_.Save(&state);
  *state.mutable_policy() = policy_;
  state.set_step(step_);
  state.set_finished(finished_);
  state.set_elapsed_seconds(Elapsed());
  return WriteFileAtomically(options_.run.ledger(), state.SerializeAsString());
}

void OrchestratorService::CountMetrics() {
  metrics_.admitted.Set(static_cast<double>(ledger_.admitted()));
  metrics_.running.Set(static_cast<double>(ledger_.running()));
  metrics_.accepted.Set(static_cast<double>(ledger_.accepted()));
  metrics_.expired.Set(static_cast<double>(ledger_.expired()));
  metrics_.dropped.Set(static_cast<double>(ledger_.dropped()));
  metrics_.version.Set(static_cast<double>(policy_.version()));
  metrics_.step.Set(static_cast<double>(step_));
  metrics_.draining.Set(draining_ ? 1 : 0);
}

void OrchestratorService::RefreshDifficulty() {
  const absl::StatusOr<std::vector<v1::DifficultyRecord>> records = buffers_->difficulty().All();
  if (!records.ok()) {
    // Sampling by older weights is better than not sampling.
    spdlog::warn("difficulty records not read: {}", std::string(records.status().message()));
    return;
  }
  absl::MutexLock lock(&mu_);
  ledger_.SetDifficulty(*records);
}

grpc::Status OrchestratorService::LeaseScenes(grpc::ServerContext*, const v1::LeaseRequest* request,
                                              v1::LeaseReply* reply) {
  if (request->worker().empty()) return ToGrpc(absl::InvalidArgumentError("LeaseScenes: worker has no name"));
  absl::MutexLock lock(&mu_);
  reply->set_run_id(options_.run_id);
  *reply->mutable_policy() = policy_;
  if (draining_ || finished_) {
    reply->set_stop(true);
    return grpc::Status::OK;
  }
  const int64_t now_us = absl::ToUnixMicros(options_.clock());
  const auto leases = ledger_.Lease(request->worker(), request->incarnation(), request->max_groups(), now_us);
  for (const v1::Lease& lease : leases) *reply->add_leases() = lease;
  if (leases.empty()) {
    reply->set_retry_after_ms(kRetryMs);
    metrics_.waits.Increment();
    return grpc::Status::OK;
  }
  return ToGrpc(Save());
}

grpc::Status OrchestratorService::CompleteLease(grpc::ServerContext*, const v1::CompleteRequest* request,
                                                v1::CompleteReply* reply) {
  absl::MutexLock lock(&mu_);
  const absl::StatusOr<bool> accepted = ledger_.Complete(*request);
  if (!accepted.ok()) return ToGrpc(accepted.status());
  reply->set_accepted(*accepted);
  if (!request->dropped().empty() && request->dropped() != kDroppedDuplicate) {
    spdlog::warn("{} dropped group {} (scene {}, attempt {}): {}", request->worker(), request->group(),
                 request->scene_id(), request->attempt(), request->dropped());
  }
  return ToGrpc(Save());
}

grpc::Status OrchestratorService::AnnouncePolicy(grpc::ServerContext*, const v1::AnnounceRequest* request,
                                                 v1::AnnounceReply*) {
  const v1::PolicyManifest& policy = request->policy();
  if (policy.directory().empty()) return ToGrpc(absl::InvalidArgumentError("AnnouncePolicy: no directory"));
  {
    absl::MutexLock lock(&mu_);
    // In deterministic mode a learner that went back makes the same versions again, with the same bytes.
    const bool other_bytes = policy.version() == policy_.version() && !policy_.checksum().empty() &&
                             policy.checksum() != policy_.checksum();
    if (other_bytes || (policy.version() < policy_.version() && !options_.config.deterministic())) {
      return ToGrpc(absl::FailedPreconditionError(absl::StrCat(
          "weight version ", policy.version(),
          other_bytes ? " is announced again with other bytes" : absl::StrCat(" is not newer than ", policy_.version()),
          "; a learner that starts again publishes under a new number")));
    }
    const v1::PolicyManifest former = policy_;
    const uint64_t former_step = step_;
    policy_ = policy;
    // Admission counts batches, not version numbers: a learner that went back to a checkpoint publishes under a number
    // of its own.
    SetStep(policy.step());
    if (const absl::Status saved = Save(); !saved.ok()) {  // nobody may hear of what a restart would not know
      policy_ = former;
      SetStep(former_step);
      return ToGrpc(saved);
    }
    spdlog::info("weight version {} (step {})", policy.version(), policy.step());
  }
  RefreshDifficulty();
  return grpc::Status::OK;
}

grpc::Status OrchestratorService::GetPolicy(grpc::ServerContext*, const v1::GetPolicyRequest*,
                                            v1::PolicyManifest* reply) {
  absl::MutexLock lock(&mu_);
  *reply = policy_;
  return grpc::Status::OK;
}

grpc::Status OrchestratorService::Report(grpc::ServerContext*, const v1::ReportRequest* request,
                                         v1::ReportReply* reply) {
  if (request->role().empty()) return ToGrpc(absl::InvalidArgumentError("Report: role has no name"));
  absl::MutexLock lock(&mu_);
  v1::RoleStatus& role = roles_[request->role()];
  role.set_role(request->role());
  role.set_last_seen_us(absl::ToUnixMicros(options_.clock()));
  for (const auto& [name, value] : request->values()) (*role.mutable_values())[name] = value;
  role.set_trouble(request->trouble());
  if (request->role() == "learner") {
    const bool news = request->step() != step_ || (request->finished() && !finished_);
    SetStep(request->step());
    finished_ = finished_ || request->finished();
    if (news) {
      if (const absl::Status saved = Save(); !saved.ok()) return ToGrpc(saved);
    }
  }
  reply->set_stop(draining_ || (finished_ && request->role() != "learner"));
  return grpc::Status::OK;
}

grpc::Status OrchestratorService::GetStatus(grpc::ServerContext*, const v1::StatusRequest*, v1::StatusReply* reply) {
  absl::MutexLock lock(&mu_);
  reply->set_run_id(options_.run_id);
  reply->set_step(step_);
  reply->set_steps_total(static_cast<uint64_t>(options_.config.learner().steps()));
  *reply->mutable_policy() = policy_;
  reply->set_groups_admitted(ledger_.admitted());
  reply->set_groups_running(ledger_.running());
  reply->set_groups_accepted(ledger_.accepted());
  reply->set_groups_dropped(ledger_.dropped());
  reply->set_groups_expired(ledger_.expired());
  for (const auto& [reason, count] : ledger_.drops()) (*reply->mutable_drops_by_reason())[reason] = count;
  for (const auto& [name, role] : roles_) *reply->add_roles() = role;
  reply->set_draining(draining_);
  reply->set_finished(finished_);
  reply->set_elapsed_seconds(Elapsed());
  reply->set_seconds_total(options_.config.learner().max_seconds());
  return grpc::Status::OK;
}

grpc::Status OrchestratorService::Drain(grpc::ServerContext*, const v1::DrainRequest*, v1::DrainReply*) {
  absl::MutexLock lock(&mu_);
  if (!draining_) spdlog::info("draining: no more leases");
  draining_ = true;
  return ToGrpc(Save());
}

absl::Status OrchestratorService::Health() {
  absl::MutexLock lock(&mu_);
  if (!ledger_.hopeless()) return absl::OkStatus();
  const auto commonest = std::max_element(ledger_.drops().begin(), ledger_.drops().end(),
                                          [](const auto& a, const auto& b) { return a.second < b.second; });
  return absl::FailedPreconditionError(absl::StrCat(
      "every attempt of the last hundreds was dropped, mostly for '", commonest->first,
      "'; see logs/rollout-0.log in the run directory, mend the cause and go on with swerve train --resume"));
}

absl::StatusOr<std::vector<std::string>> ReadCurated(const std::string& path) {
  SWERVE_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  std::vector<std::string> ids;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    if (line.empty() || line[0] == '#') continue;
    ids.emplace_back(line.substr(0, line.find('\t')));
  }
  return ids;
}

absl::StatusOr<std::vector<std::string>> TrainingScenes(const v1::ScenesConfig& config) {
  if (config.train().empty()) {
    return absl::InvalidArgumentError(
        "config: field 'scenes.train' is empty; name a directory of scenes, for example one that "
        "`swerve scenes generate` made");
  }
  SWERVE_ASSIGN_OR_RETURN(const auto store, SceneStore::Open({config.train().begin(), config.train().end()}));
  if (config.curated().empty()) return store->ids();
  SWERVE_ASSIGN_OR_RETURN(std::vector<std::string> ids, ReadCurated(config.curated()));
  const std::set<std::string> known(store->ids().begin(), store->ids().end());
  for (const std::string& id : ids) {
    if (!known.contains(id)) {
      return absl::InvalidArgumentError(absl::StrCat("config: field 'scenes.curated': ", config.curated(),
                                                     " names scene ", id, ", which scenes.train does not hold"));
    }
  }
  if (ids.empty()) {
    return absl::InvalidArgumentError(absl::StrCat("config: field 'scenes.curated': ", config.curated(),
                                                   " keeps no scene; curate with looser thresholds"));
  }
  return ids;
}

}  // namespace swerve
