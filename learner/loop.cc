#include "learner/loop.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/time/clock.h"
#include "base/sha256.h"
#include "evaluation/teacher_changes.h"
#include "learner/metrics.h"
#include "policy/checkpoint.h"

namespace swerve {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using Values = std::map<std::string, double>;

// {1,2,3,7} as [[1,3],[7,7]].
json ToRanges(const std::set<uint64_t>& numbers) {
  json ranges = json::array();
  for (uint64_t n : numbers) {
    if (!ranges.empty() && ranges.back()[1].get<uint64_t>() + 1 == n) {
      ranges.back()[1] = n;
    } else {
      ranges.push_back({n, n});
    }
  }
  return ranges;
}

// Numbers of a step as JSON has them: those that are not finite are left out.
json ToRow(const Values& values) {
  json row = json::object();
  for (const auto& [name, value] : values) {
    if (std::isfinite(value)) row[name] = value;
  }
  return row;
}

Values FromRow(const json& row) {
  Values values;
  for (const auto& [name, value] : row.items()) {
    if (value.is_number()) values[name] = value.get<double>();
  }
  return values;
}

std::set<uint64_t> FromRanges(const json& ranges) {
  std::set<uint64_t> numbers;
  for (const json& range : ranges) {
    for (uint64_t n = range[0].get<uint64_t>(); n <= range[1].get<uint64_t>(); ++n) numbers.insert(n);
  }
  return numbers;
}

void CountGroups(const ObjectivePlan& plan, std::map<std::string, double>* values) {
  double kept = 0;
  for (const char* cause : {"all_failed", "all_succeeded", "no_spread", "no_originals"}) {
    (*values)[std::string("groups/dropped_") + cause] = 0;
  }
  for (const GroupPlan& group : plan.groups()) {
    kept += group.kept;
    if (!group.kept) (*values)["groups/dropped_" + group.drop_cause] += 1;
  }
  (*values)["groups/kept"] = kept;
}

}  // namespace

std::string ConfigHash(const v1::RunConfig& config) {
  v1::RunConfig kept;
  kept.set_seed(config.seed());
  *kept.mutable_policy() = config.policy();
  *kept.mutable_learner() = config.learner();
  for (auto clear : {&v1::LearnerConfig::clear_steps, &v1::LearnerConfig::clear_max_seconds,
                     &v1::LearnerConfig::clear_checkpoint_every, &v1::LearnerConfig::clear_keep_checkpoints,
                     &v1::LearnerConfig::clear_threads}) {
    (kept.mutable_learner()->*clear)();
  }
  return Sha256(kept.SerializeAsString());
}

LearnerLoop::LearnerLoop(Options options)
    : options_(std::move(options)), learner_(options_.config.learner()),
      checkpoints_(options_.run.checkpoints(), learner_.keep_checkpoints()), started_(absl::Now()) {}

double LearnerLoop::Elapsed() const { return elapsed_before_ + absl::ToDoubleSeconds(absl::Now() - started_); }

bool LearnerLoop::OutOfTime() const { return learner_.max_seconds() > 0 && Elapsed() >= learner_.max_seconds(); }

absl::Status LearnerLoop::Run() {
  SWERVE_ASSIGN_OR_RETURN(const std::optional<Checkpoint> found, Resume());
  PruneWeights();
  RunLog::Options log;
  log.tensorboard = options_.config.telemetry().tensorboard();
  log.keep_through = static_cast<int64_t>(step_);
  SWERVE_ASSIGN_OR_RETURN(log_, RunLog::Open(options_.run.root(), log));
  SWERVE_ASSIGN_OR_RETURN(groups_, GroupLog::Open(options_.run.root(), options_.config.rollout().success_threshold()));
  SWERVE_ASSIGN_OR_RETURN(busy_, BusyLog::Open(options_.run, "learner"));
  if (found) {
    SWERVE_RETURN_IF_ERROR(LogRestored(found->state));
    SWERVE_RETURN_IF_ERROR(Acknowledge());
  }
  SWERVE_RETURN_IF_ERROR(PublishRestored(found.has_value()));
  while (step_ < static_cast<uint64_t>(learner_.steps()) && !OutOfTime()) {
    SWERVE_ASSIGN_OR_RETURN(const auto episodes, NextBatch());
    if (!episodes) break;
    SWERVE_RETURN_IF_ERROR(TrainOn(*episodes));
  }
  if (saved_step_ != step_) SWERVE_RETURN_IF_ERROR(SaveCheckpoint(last_row_));
  SWERVE_RETURN_IF_ERROR(Acknowledge());
  const bool finished = step_ >= static_cast<uint64_t>(learner_.steps()) || OutOfTime();
  Tell({}, finished);
  spdlog::info("{} after {} batches, weight version {}", finished ? "done" : "stopped", step_, version_);
  return absl::OkStatus();
}

absl::StatusOr<std::optional<Checkpoint>> LearnerLoop::Resume() {
  absl::StatusOr<Checkpoint> found = checkpoints_.Newest();
  if (absl::IsNotFound(found.status())) return std::nullopt;
  if (!found.ok()) return found.status();
  const json& state = found->state;
  SWERVE_RETURN_IF_ERROR(options_.trainer->LoadState(found->dir + "/trainer"));
  step_ = saved_step_ = found->step;
  version_ = state.value("version", int64_t{0});
  elapsed_before_ = state.value("elapsed_seconds", 0.0);
  consumed_ = FromRanges(state.value("consumed", json::array()));
  unacknowledged_ = state.value("unacknowledged", std::vector<uint64_t>{});
  teacher_changes_ = state.value("teacher_changes", uint64_t{0});
  if (state.contains("least_gap")) gap_ = GapWatch(state.value("least_gap", 0.0));
  spdlog::info("going on from checkpoint {} (weight version {}, {} groups consumed)", found->dir, version_, consumed_.size());
  if (state.value("config_hash", "") != ConfigHash(options_.config)) {
    spdlog::warn("objective, optimiser or starting policy are configured otherwise than when this run began");
  }
  return *std::move(found);
}

// A learner that died between its checkpoint and its logs left them without that step: the checkpoint has the numbers,
// and the store has the groups, since they are acknowledged after they are logged.
absl::Status LearnerLoop::LogRestored(const json& state) {
  last_row_ = FromRow(state.value("row", json::object()));
  last_events_ = state.value("events", std::vector<std::string>{});
  const absl::StatusOr<std::vector<MetricsRow>> rows = ReadMetrics(options_.run.root());
  const bool there = rows.ok() && !rows->empty() && rows->back().step >= static_cast<int64_t>(step_);
  if (!there && !last_row_.empty()) SWERVE_RETURN_IF_ERROR(log_->Write(static_cast<int64_t>(step_), last_row_, last_events_));
  const std::set<uint64_t> missing(unacknowledged_.begin(), unacknowledged_.end());
  if (missing.empty()) return absl::OkStatus();
  SWERVE_ASSIGN_OR_RETURN(const std::vector<v1::Episode> episodes,
                          options_.episodes->Read(*missing.begin(), static_cast<int>(missing.size())));
  for (const v1::Episode& e : episodes) {
    if (missing.contains(e.group())) SWERVE_RETURN_IF_ERROR(groups_->Write(e));
  }
  return absl::OkStatus();
}

// A change is told with the step that ends after it was made. The checkpoint says which ones are, and has the newest ones'
// texts, so that each is in the log once, whenever the learner dies.
void LearnerLoop::NoteTeacherChanges() {
  last_events_.clear();
  absl::StatusOr<TeacherChanges> found = ReadTeacherChanges(options_.run.root(), teacher_changes_);
  if (!found.ok()) {
    spdlog::warn("changes of the teachers: {}", std::string(found.status().message()));
    return;
  }
  teacher_changes_ = std::max(teacher_changes_, found->lines);
  last_events_ = std::move(found->texts);
  CountTeacherChanges(last_events_.size());
}

void LearnerLoop::WatchGap(const Values& values) {
  const auto gap = values.find(kSameWeightsGap);
  if (gap == values.end()) return;
  trouble_ = gap_.See(gap->second);
  if (!trouble_.empty()) spdlog::warn("batch {}: {}", step_, trouble_);
}

// Announced weights that no checkpoint holds were trained on groups that will be trained on again: the restored ones go
// out under a new number, since a number stands for one set of bytes. In deterministic mode they will be the same bytes.
absl::Status LearnerLoop::PublishRestored(bool found) {
  SWERVE_ASSIGN_OR_RETURN(const v1::PolicyManifest newest, options_.orchestrator->Newest());
  if (!found && newest.version() == 0) return absl::OkStatus();
  if (!options_.config.deterministic() && newest.version() > version_) version_ = newest.version() + 1;
  if (newest.version() == version_ && !newest.checksum().empty()) return absl::OkStatus();
  return Publish();
}

absl::StatusOr<std::vector<v1::Episode>> LearnerLoop::ReadBatch() {
  const uint64_t want = static_cast<uint64_t>(learner_.batch_groups());
  const uint64_t known = unacknowledged_.size();  // still in the store, trained on already
  SWERVE_ASSIGN_OR_RETURN(const EpisodeStats stats, options_.episodes->Stats());
  if (stats.waiting() < want + known) return std::vector<v1::Episode>{};
  const bool fixed = options_.config.deterministic();
  SWERVE_ASSIGN_OR_RETURN(std::vector<v1::Episode> read,
                          options_.episodes->Read(fixed ? step_ * want : 0, static_cast<int>(want + (fixed ? 0 : known))));
  std::erase_if(read, [&](const v1::Episode& e) { return consumed_.contains(e.group()); });
  if (read.size() > want) read.resize(want);
  // Fixed batches: exactly groups step·B … (step+1)·B − 1.
  if (read.size() < want || (fixed && read.back().group() != (step_ + 1) * want - 1)) return std::vector<v1::Episode>{};
  return read;
}

absl::StatusOr<std::optional<std::vector<v1::Episode>>> LearnerLoop::NextBatch() {
  const absl::Time begin = absl::Now();
  absl::Time told = begin;
  while (true) {
    absl::StatusOr<std::vector<v1::Episode>> read = ReadBatch();
    if (!read.ok() && !IsRetryable(read.status())) return read.status();
    waited_ = absl::ToDoubleSeconds(absl::Now() - begin);
    if (read.ok() && !read->empty()) return *std::move(read);
    if (draining_ || OutOfTime()) return std::nullopt;
    if (absl::Now() - told > absl::Seconds(1)) {
      told = absl::Now();
      Tell({{"learner/waiting_seconds", waited_}}, false);
    }
    if (options_.stop_within(absl::Milliseconds(read.ok() ? 30 : 300))) return std::nullopt;
  }
}

absl::Status LearnerLoop::TrainOn(const std::vector<v1::Episode>& episodes) {
  const absl::Time begin = absl::Now();
  SWERVE_ASSIGN_OR_RETURN(const ObjectiveSettings objective, ObjectiveOf(options_.config));
  SWERVE_ASSIGN_OR_RETURN(Batch batch,
                          MakeBatch(episodes, objective, options_.images, version_, options_.check));
  SWERVE_ASSIGN_OR_RETURN(const ObjectivePlan plan,
                          ObjectivePlan::Create(*objective.profile, objective.knobs, batch.objective, objective.T));
  if (learner_.max_seconds() > 0 && !options_.config.deterministic()) {
    batch.clock_share = std::clamp(Elapsed() / learner_.max_seconds(), 0.0, 1.0);
  }
  const absl::Time made = absl::Now();
  SWERVE_ASSIGN_OR_RETURN(Values values, options_.trainer->Train(batch, plan));
  const absl::Time trained = absl::Now();
  busy_->Add(made, trained);
  ++step_;
  ++version_;
  for (const v1::Episode& e : episodes) {
    consumed_.insert(e.group());
    unacknowledged_.push_back(e.group());
  }
  values.insert(batch.metrics.begin(), batch.metrics.end());
  CountGroups(plan, &values);
  idle_total_ += waited_;
  values["timing_s/batch"] = absl::ToDoubleSeconds(made - begin);
  values["timing_s/train"] = absl::ToDoubleSeconds(trained - made);
  values["timing_s/wait"] = waited_;
  values["trainer/idle_seconds_total"] = idle_total_;
  values["weight_version"] = static_cast<double>(version_);
  values["groups/consumed"] = static_cast<double>(consumed_.size());
  last_row_ = values;
  NoteTeacherChanges();
  WatchGap(values);

  const bool last = step_ >= static_cast<uint64_t>(learner_.steps()) || OutOfTime();
  const bool due = last || step_ % static_cast<uint64_t>(std::max(1, learner_.checkpoint_every())) == 0;
  if (due) SWERVE_RETURN_IF_ERROR(SaveCheckpoint(last_row_));
  SWERVE_RETURN_IF_ERROR(Publish());
  const double work = absl::ToDoubleSeconds(absl::Now() - begin);
  values["timing_s/publish"] = absl::ToDoubleSeconds(absl::Now() - trained);
  values["timing_s/step"] = work + waited_;
  values["trainer/idle_ratio"] = waited_ / std::max(1e-9, work + waited_);
  SWERVE_RETURN_IF_ERROR(log_->Write(static_cast<int64_t>(step_), values, last_events_));
  for (const v1::Episode& e : episodes) {
    SWERVE_RETURN_IF_ERROR(groups_->Write(e));
    CountTeachers(TallyTeachers(e, options_.config.rollout().success_threshold()));
  }
  if (due) SWERVE_RETURN_IF_ERROR(Acknowledge());
  ExportMetrics(values);
  Tell(values, false);
  return absl::OkStatus();
}

absl::Status LearnerLoop::SaveCheckpoint(const Values& row) {
  json state = {{"version", version_},
                {"row", ToRow(row)},
                {"events", last_events_},
                {"teacher_changes", teacher_changes_},
                {"profile", learner_.profile()},
                {"reference", options_.config.policy().model()},
                {"seed", options_.config.seed()},  // every draw is named by it; there is no other generator state
                {"config_hash", ConfigHash(options_.config)},
                {"consumed", ToRanges(consumed_)},
                {"unacknowledged", unacknowledged_},
                {"elapsed_seconds", Elapsed()}};
  if (std::isfinite(gap_.least())) state["least_gap"] = gap_.least();
  SWERVE_RETURN_IF_ERROR(checkpoints_.Save(step_, state, [&](const std::string& dir) -> absl::Status {
    std::error_code error;
    fs::create_directory(dir + "/trainer", error);
    if (error) return absl::InternalError(absl::StrCat("cannot make ", dir, "/trainer: ", error.message()));
    return options_.trainer->SaveState(dir + "/trainer");
  }));
  saved_step_ = step_;
  return absl::OkStatus();
}

absl::Status LearnerLoop::Publish() {
  v1::PolicyManifest manifest;
  manifest.set_version(version_);
  manifest.set_step(step_);
  manifest.set_directory(options_.run.weights(version_));
  SWERVE_RETURN_IF_ERROR(options_.trainer->SavePolicy(manifest.directory()));
  SWERVE_ASSIGN_OR_RETURN(*manifest.mutable_checksum(), WeightsChecksum(manifest.directory()));
  SWERVE_RETURN_IF_ERROR(Annotate(options_.orchestrator->Announce(manifest), "announcing weights"));
  published_ = manifest;
  PruneWeights();
  return absl::OkStatus();
}

absl::Status LearnerLoop::Acknowledge() {
  if (unacknowledged_.empty()) return absl::OkStatus();
  absl::Status status = options_.episodes->Ack(unacknowledged_);
  for (int attempt = 0; IsRetryable(status) && attempt < 20; ++attempt) {
    options_.stop_within(absl::Milliseconds(200));
    status = options_.episodes->Ack(unacknowledged_);
  }
  if (status.ok()) unacknowledged_.clear();
  return status;
}

void LearnerLoop::Tell(const std::map<std::string, double>& values, bool finished) {
  const absl::StatusOr<bool> stop = options_.orchestrator->Report(values, step_, finished, trouble_);
  if (stop.ok()) {
    draining_ = draining_ || *stop;
  } else {
    spdlog::debug("the orchestrator did not take the report: {}", std::string(stop.status().message()));
  }
}

// Workers load the newest version or one that is about to be replaced; a few older ones stay for slow readers. What a
// killed learner, or one without room, was writing under a temporary name would fill the disk with each of its deaths.
void LearnerLoop::PruneWeights() const {
  const int64_t keep = options_.config.orchestrator().max_staleness() + 3;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(options_.run.weights(), error)) {
    const std::string name = entry.path().filename().string();
    int64_t version = 0;
    const bool old = name.size() > 1 && name[0] == 'v' && absl::SimpleAtoi(name.substr(1), &version) && version <= version_ - keep;
    if (old || absl::StrContains(name, ".tmp.")) {
      fs::remove_all(entry.path(), error);
    }
  }
}

}  // namespace swerve
