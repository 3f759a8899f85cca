#include "teacher_gateway/gateway.h"

#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/files.h"

namespace swerve {
namespace {

std::string Text(const absl::Status& status) { return std::string(status.message()); }

// Changes with every write; empty: no such file.
std::string Mark(const std::string& path) {
  struct stat s;
  if (stat(path.c_str(), &s) != 0) return "";
  return absl::StrCat(s.st_ino, " ", s.st_size, " ", s.st_mtim.tv_sec, ".", s.st_mtim.tv_nsec);
}

std::string FilePath(const Gateway::Options& options) {
  return options.config.teachers_file().empty() ? options.run_root + "/teachers.yaml" : options.config.teachers_file();
}

std::string ChangesPath(const Gateway::Options& options) { return options.run_root + "/teacher_changes.jsonl"; }

bool HasEndpoint(const v1::TeachersFile& file) {
  for (const v1::TeacherSpec& spec : file.teachers()) {
    if (spec.kind() == "openai") return true;
  }
  return false;
}

uint64_t Whole(const prometheus::Counter& counter) { return static_cast<uint64_t>(counter.Value()); }

}  // namespace

Gateway::Gateway(Options options)
    : options_(std::move(options)), file_(FilePath(options_)), applied_(options_.run_root + "/teachers.applied.yaml") {
  absl::MutexLock lock(&mu_);
  parts_.clock = options_.clock;
  parts_.http = options_.http;
}

absl::StatusOr<std::unique_ptr<Gateway>> Gateway::Open(Options options) {
  std::unique_ptr<Gateway> gateway(new Gateway(std::move(options)));
  SWERVE_RETURN_IF_ERROR(gateway->Start());
  return gateway;
}

v1::TeachersFile Gateway::FileOfKind() const {
  v1::TeachersFile file;
  v1::TeacherSpec* spec = file.add_teachers();
  spec->set_name(options_.config.kind());
  spec->set_kind(options_.config.kind());
  if (options_.config.report_noise() != 0) spec->set_report_noise(options_.config.report_noise());
  return file;
}

absl::Status Gateway::Start() {
  absl::MutexLock lock(&mu_);
  if (const auto told = ReadFile(ChangesPath(options_)); told.ok()) {
    changes_ = static_cast<uint64_t>(std::count(told->begin(), told->end(), '\n'));
  }
  const auto applied = ReadFile(applied_);
  seen_ = Mark(file_);
  auto yaml = ReadFile(file_);
  if (absl::IsNotFound(yaml.status()) && options_.config.teachers_file().empty()) {
    SWERVE_ASSIGN_OR_RETURN(const TeachersSource source, TeachersSource::Of(FileOfKind(), "config: section teacher"));
    SWERVE_ASSIGN_OR_RETURN(auto set, BuildNext(source));
    PutInForce(std::move(set), false, "");
    return absl::OkStatus();
  }
  absl::Status status = yaml.status();
  const bool changed = yaml.ok() && applied.ok() && *applied != *yaml;  // while no gateway ran
  const uint64_t told = changes_;
  if (changed) ++changes_;
  if (yaml.ok()) status = Load(*yaml, "");
  changes_ = told;
  if (status.ok()) {
    if (changed) Tell(*set_.load(), "file");
    return status;
  }
  if (!applied.ok()) return Annotate(status, "teachers");
  file_refused_ = yaml.ok();
  spdlog::error("teachers: {}; going on with the set that was in force before", Text(status));
  TeacherMetrics::SetChanges("refused").Increment();
  return Load(*applied, "");
}

absl::StatusOr<std::shared_ptr<const TeacherSet>> Gateway::BuildNext(const TeachersSource& source) {
  if (HasEndpoint(source.file())) {
    if (parts_.http == nullptr) parts_.http = std::make_shared<CurlHttp>();
    if (parts_.store == nullptr) {
      SWERVE_ASSIGN_OR_RETURN(parts_.store, GatewayStore::Open(options_.run_root + "/teacher_reports.sqlite",
                                                               int64_t{options_.config.cache_mb()} << 20));
    }
  }
  const std::shared_ptr<const TeacherSet> old = set_.load();
  return TeacherSet::Build(source, parts_, old.get(), old == nullptr ? 1 + changes_ : old->version() + 1);
}

absl::Status Gateway::Load(const std::string& yaml, const std::string& cause) {
  SWERVE_ASSIGN_OR_RETURN(const TeachersSource source, TeachersSource::Parse(yaml, file_));
  SWERVE_ASSIGN_OR_RETURN(auto set, BuildNext(source));
  // So that a restart while somebody is half way through editing the file does not end the run.
  if (const absl::Status kept = WriteFileAtomically(applied_, yaml); !kept.ok()) {
    spdlog::warn("teachers: {}", Text(kept));
  }
  PutInForce(std::move(set), true, cause);
  return absl::OkStatus();
}

void Gateway::PutInForce(std::shared_ptr<const TeacherSet> set, bool from_file, const std::string& cause) {
  const std::shared_ptr<const TeacherSet> old = set_.load();
  if (old != nullptr) {
    for (const TeacherSet::Member& member : old->members()) member.metrics->Share().Set(0);
  }
  for (const TeacherSet::Member& member : set->members()) member.metrics->Share().Set(member.share);
  TeacherMetrics::SetVersion().Set(static_cast<double>(set->version()));
  if (old != nullptr) TeacherMetrics::SetChanges("changed").Increment();
  from_file_ = from_file;
  set_.store(set);
  if (old != nullptr) Tell(*set, cause);
}

void Gateway::Tell(const TeacherSet& set, const std::string& cause) {
  ++changes_;
  nlohmann::json line = {{"time_us", absl::ToUnixMicros(options_.clock.now())},
                         {"set", set.version()},
                         {"cause", cause},
                         {"teachers", nlohmann::json::array()}};
  std::vector<std::string> words;
  for (const TeacherSet::Member& member : set.members()) {
    line["teachers"].push_back({{"name", member.spec.name()},
                                {"kind", member.spec.kind()},
                                {"shadow", member.spec.shadow()},
                                {"share", member.share},
                                {"version", member.version},
                                {"template_hash", member.template_hash}});
    words.push_back(absl::StrFormat("%s %.0f %%%s", member.spec.name(), 100 * member.share,
                                    member.spec.shadow() ? " (shadow)" : ""));
  }
  spdlog::info("teachers: set {} ({}): {}", set.version(), cause, absl::StrJoin(words, ", "));
  const std::string text = line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
  const std::string path = ChangesPath(options_);
  const int fd = open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0 || write(fd, text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
    spdlog::warn("teachers: {} could not be written", path);
  }
  if (fd >= 0) close(fd);
}

v1::DiagnoseReply Gateway::DiagnoseBy(const v1::DiagnoseRequest& request, const v1::Scene& scene,
                                      absl::Time deadline) const {
  const std::shared_ptr<const TeacherSet> set = set_.load();
  v1::DiagnoseReply reply = set->Diagnose(request, scene, deadline);
  shadows_.Offer(set, request, scene);
  return reply;
}

v1::DiagnoseReply Gateway::Diagnose(const v1::DiagnoseRequest& request, const v1::Scene& scene) const {
  return DiagnoseBy(request, scene, absl::InfiniteFuture());
}

absl::Status Gateway::ReloadIfChanged() {
  {
    absl::MutexLock lock(&mu_);
    const std::string mark = Mark(file_);
    if (mark.empty() || mark == seen_) return absl::OkStatus();
  }
  return Reload().status();
}

absl::StatusOr<uint64_t> Gateway::Reload() {
  absl::MutexLock lock(&mu_);
  seen_ = Mark(file_);
  auto yaml = ReadFile(file_);
  absl::Status status = yaml.status();
  if (yaml.ok()) status = Load(*yaml, "file");
  file_refused_ = yaml.ok() && !status.ok();
  if (!status.ok()) {
    TeacherMetrics::SetChanges("refused").Increment();
    spdlog::error("teachers: {}; the teachers in force stay", Text(status));
    return status;
  }
  return set_.load()->version();
}

absl::StatusOr<uint64_t> Gateway::Edit(const std::function<absl::Status(v1::TeachersFile*)>& edit,
                                       const std::string& cause) {
  if (options_.config.kind() == "none" && options_.config.teachers_file().empty()) {
    return absl::FailedPreconditionError(
        "this run was started with teacher.kind none: its workers ask no teacher; start it with a teachers file");
  }
  absl::MutexLock lock(&mu_);
  // What stands in the file is what people see; what is in force may be older than a file nobody has reloaded yet.
  const std::string mark = Mark(file_);
  if (file_refused_ || (!mark.empty() && mark != seen_)) {
    return absl::FailedPreconditionError(
        absl::StrCat(file_, " holds changes that are not in force, which this would overwrite; put it right or reload it"));
  }
  v1::TeachersFile file;
  for (const TeacherSet::Member& member : set_.load()->members()) *file.add_teachers() = member.spec;
  SWERVE_RETURN_IF_ERROR(edit(&file));
  SWERVE_ASSIGN_OR_RETURN(const TeachersSource source, TeachersSource::Of(file, file_));
  SWERVE_ASSIGN_OR_RETURN(auto set, BuildNext(source));
  const std::string yaml = TeachersYaml(file);
  SWERVE_RETURN_IF_ERROR(WriteFileAtomically(file_, yaml));
  if (const absl::Status kept = WriteFileAtomically(applied_, yaml); !kept.ok()) {
    spdlog::warn("teachers: {}", Text(kept));
  }
  seen_ = Mark(file_);
  const uint64_t version = set->version();
  PutInForce(std::move(set), true, cause);
  return version;
}

v1::ListTeachersReply Gateway::List() const {
  const std::shared_ptr<const TeacherSet> set = set_.load();
  v1::ListTeachersReply reply;
  reply.set_set_version(set->version());
  reply.set_file(file_);
  reply.set_from_file(from_file_);
  for (const TeacherSet::Member& member : set->members()) {
    v1::TeacherState* state = reply.add_teachers();
    *state->mutable_spec() = member.spec;
    state->set_version(member.version);
    state->set_template_hash(member.template_hash);
    state->set_share(member.share);
    for (int outcome = v1::OK; outcome <= v1::INTERNAL; ++outcome) {
      const uint64_t count = Whole(member.metrics->Reports(static_cast<v1::Outcome>(outcome)));
      if (count > 0) (*state->mutable_reports())[v1::Outcome_Name(outcome)] = count;
    }
    const double checked = member.metrics->Feedback().Value();
    state->set_with_ground_truth(checked > 0 ? member.metrics->FeedbackWithGroundTruth().Value() / checked : 0);
    const prometheus::ClientMetric timed = member.metrics->ReportSeconds().Collect();
    if (timed.histogram.sample_count > 0) {
      state->set_seconds(timed.histogram.sample_sum / static_cast<double>(timed.histogram.sample_count));
    }
    if (member.spec.shadow()) state->set_shadow_missed(Whole(member.metrics->ShadowGroups("missed")));
    if (member.limits == nullptr) continue;
    state->set_hedges(Whole(member.metrics->Hedges()));
    state->set_cache_hits(Whole(member.metrics->CacheHits()));
    state->set_cache_misses(Whole(member.metrics->CacheMisses()));
    state->set_tokens(member.limits->spent().tokens);
    state->set_money(member.limits->spent().money);
    state->set_breaker_open(member.limits->breaker_open(options_.clock.now()));
  }
  return reply;
}

}  // namespace swerve
