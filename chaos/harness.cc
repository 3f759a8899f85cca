#include "chaos/harness.h"

#include <signal.h>

#include <cstdio>
#include <filesystem>
#include <utility>

#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "base/files.h"
#include "base/stop.h"
#include "buffers/buffers.h"
#include "chaos/audit_files.h"
#include "chaos/event_log.h"
#include "chaos/faults.h"
#include "chaos/observer.h"
#include "chaos/processes.h"
#include "chaos/result.h"
#include "chaos/setup.h"

namespace swerve {
namespace {

constexpr absl::Duration kTick = absl::Milliseconds(20);
constexpr absl::Duration kTargetPatience = absl::Seconds(15);  // for a target that is being started again
constexpr absl::Duration kDeathPatience = absl::Seconds(2);

class Harness {
 public:
  Harness(const ChaosOptions& options, ChaosSetup setup, std::unique_ptr<EventLog> log)
      : options_(options), setup_(std::move(setup)), log_(std::move(log)), steps_(setup_.config.learner().steps()) {
    ScheduleOptions wanted;
    wanted.events = options.events;
    wanted.seed = options.seed;
    wanted.mean_gap_s = options.gap_s;
    wanted.workers = setup_.config.rollout().workers();
    wanted.redis = setup_.redis != nullptr;
    wanted.disk = setup_.disk != nullptr;
    schedule_ = MakeSchedule(wanted);
    faults_ = std::make_unique<Faults>(Faults::Parts{setup_.run.root(), setup_.lines.get(), setup_.teacher.get(),
                                                     setup_.redis.get(), setup_.disk.get(), &train_});
  }

  // The whole run; the audit's verdict is in `result`. Errors: what stopped it from being audited.
  absl::Status Run(ChaosResult* result) {
    SWERVE_RETURN_IF_ERROR(StartTrain());
    const absl::Status ended = Inject();
    HealAll();
    observer_.reset();  // its last look at checkpoints
    if (absl::IsCancelled(ended)) return ended;
    log_->Write("ending", {{"wrong", std::string(ended.message())}}, ended.ok() ? "the run has ended" : std::string(ended.message()));
    SWERVE_RETURN_IF_ERROR(AuditRun(result));
    if (setup_.disk != nullptr) return SmallDisk::Keep(std::move(setup_.disk));
    return absl::OkStatus();
  }

 private:
  absl::Status StartTrain() {
    std::vector<std::string> argv = {SelfBinary()};
    argv.insert(argv.end(), setup_.train.begin(), setup_.train.end());
    argv.insert(argv.end(), {"--set", absl::StrCat("learner.steps=", steps_)});
    // Killed before it had made its directory, it begins again.
    if (std::filesystem::exists(setup_.run.config())) argv.push_back("--resume");
    SWERVE_ASSIGN_OR_RETURN(train_, Process::Start(argv, setup_.out + "/train.log"));
    if (observer_ == nullptr) observer_ = std::make_unique<Observer>(setup_.run, log_.get());
    return absl::OkStatus();
  }

  // Until the run has ended at its last step with the whole schedule behind it. Else why not.
  absl::Status Inject() {
    absl::Time due = absl::Now() + absl::Seconds(schedule_.front().gap_s);
    while (true) {
      setup_.lines->Tick();
      for (const int id : faults_->Tick(absl::Now())) Healed(id);
      if (const std::optional<ProcessEnd> end = train_.Poll()) {
        if (end->ok() && next_ == schedule_.size()) return absl::OkStatus();
        SWERVE_RETURN_IF_ERROR(TakeUpAgain(*end));
      }
      if (next_ < schedule_.size() && absl::Now() >= due) {
        const ChaosEvent& event = schedule_[next_];
        if (Begin(event, absl::Now() - due > kTargetPatience)) {
          if (++next_ < schedule_.size()) due = absl::Now() + absl::Seconds(schedule_[next_].gap_s);
        }
      }
      SWERVE_RETURN_IF_ERROR(NotHanging());
      if (Stop::WaitFor(kTick)) return absl::CancelledError("stopped");
    }
  }

  absl::Status TakeUpAgain(const ProcessEnd& end) {
    if (end.ok()) {
      steps_ += setup_.config.learner().steps() / 2 + 1;
      log_->Write("extend", {{"steps", steps_}}, absl::StrCat("the run is over before the faults are: it goes on to step ", steps_));
    } else if (end.signal != SIGKILL || !train_killed_) {
      return absl::FailedPreconditionError(absl::StrCat("swerve train ended with ", end.ToString(), "; its last words:\n",
                                                        absl::StrJoin(LogTail(setup_.out + "/train.log", 12), "\n")));
    } else {
      log_->Write("resume", nlohmann::json::object(), "swerve train --resume");
    }
    train_killed_ = false;
    ++times_resumed_;
    return StartTrain();
  }

  // False: its target does not run, try again. With `late` it is left out instead.
  bool Begin(const ChaosEvent& event, bool late) {
    const std::string name = absl::StrFormat("#%d %s %s", event.id, event.kind, event.target);
    const nlohmann::json fields = {{"id", event.id}, {"kind", event.kind}, {"target", event.target}, {"lasts_s", event.lasts_s}};
    const absl::StatusOr<std::string> done = faults_->Begin(event, absl::Now());
    if (!done.ok()) {
      if (absl::IsUnavailable(done.status()) && !late) return false;
      log_->Write("skip", fields, absl::StrCat(name, " left out: ", done.status().message()));
      skipped_.push_back(event);
      return true;
    }
    log_->Write("fault", fields,
                absl::StrFormat("step %-4d %s%s%s", observer_->step(), name,
                                event.lasts_s > 0 ? absl::StrFormat(" for %.1f s", event.lasts_s) : "",
                                done->empty() ? "" : absl::StrCat(" (", *done, ")")));
    injected_.push_back(event);
    if (event.kind == "kill" && event.target == "train") train_killed_ = true;
    if (event.kind == "kill" && (event.target == "learner" || event.target == "train")) LookAfterDeath(name);
    return true;
  }

  // What a dying learner left, before the next one touches it.
  void LookAfterDeath(const std::string& name) {
    const absl::Time until = absl::Now() + kDeathPatience;
    while (PidOfRole(setup_.run.root(), "learner") != 0 && absl::Now() < until) absl::SleepFor(absl::Milliseconds(5));
    observer_->LookAtCheckpoints("after " + name);
  }

  void Healed(int id) {
    const ChaosEvent& event = schedule_[static_cast<size_t>(id) - 1];
    log_->Write("heal", {{"id", id}}, absl::StrFormat("          #%d %s %s is over", id, event.kind, event.target));
    if (event.kind == "disk") observer_->LookAtCheckpoints(absl::StrCat("after #", id, " disk full"));
  }

  void HealAll() {
    for (const int id : faults_->HealAll()) Healed(id);
  }

  absl::Status NotHanging() const {
    const absl::Time since = std::max(observer_->moved(), began_);
    const absl::Duration patience = absl::Seconds(options_.patience_s);
    if (absl::Now() - since < patience) return absl::OkStatus();
    return absl::FailedPreconditionError(absl::StrCat("the run hangs: no new step after ", observer_->step(), " within ",
                                                      absl::FormatDuration(patience), "; see ", setup_.run.root(), "/logs"));
  }

  absl::Status AuditRun(ChaosResult* result) {
    train_ = Process();  // of a run that hangs
    v1::RunConfig config = setup_.config;
    config.mutable_learner()->set_steps(steps_);
    SWERVE_ASSIGN_OR_RETURN(result->run_id, ReadRunId(setup_.run));
    SWERVE_ASSIGN_OR_RETURN(const auto buffers, OpenBuffers(config.buffers(), setup_.run.root(), result->run_id));
    SWERVE_ASSIGN_OR_RETURN(const AuditInput input, LoadAudit(setup_.run, config, buffers.get(), setup_.out + "/chaos.jsonl"));
    result->audit = Audit(input);
    result->seed = options_.seed;
    result->buffers = setup_.redis != nullptr ? "redis" : "sqlite";
    result->seconds = log_->Seconds();
    result->steps = steps_;
    result->injected = injected_;
    result->skipped = skipped_;
    result->no_disk = setup_.no_disk;
    result->times_resumed = times_resumed_;
    result->teacher_failed = setup_.teacher->failed();
    result->teacher_answered = setup_.teacher->answered();
    result->scorer_failed = setup_.lines->scorer().failed();
    return absl::OkStatus();
  }

  const ChaosOptions options_;
  ChaosSetup setup_;
  const std::unique_ptr<EventLog> log_;
  std::vector<ChaosEvent> schedule_, injected_, skipped_;
  size_t next_ = 0;  // in the schedule
  int steps_;
  int times_resumed_ = 0;
  bool train_killed_ = false;
  const absl::Time began_ = absl::Now();
  Process train_;
  std::unique_ptr<Faults> faults_;
  std::unique_ptr<Observer> observer_;
};

}  // namespace

absl::Status Chaos(const ChaosOptions& options) {
  Stop::InstallSignalHandlers();
  SWERVE_ASSIGN_OR_RETURN(ChaosSetup setup, SetUpChaos(options));
  const std::string out = setup.out;
  if (!setup.no_disk.empty()) std::fprintf(stderr, "the disk will not be full: %s\n", setup.no_disk.c_str());
  SWERVE_ASSIGN_OR_RETURN(auto log, EventLog::Open(out + "/chaos.jsonl"));
  ChaosResult result;
  SWERVE_RETURN_IF_ERROR(Harness(options, std::move(setup), std::move(log)).Run(&result));
  SWERVE_RETURN_IF_ERROR(WriteFileAtomically(out + "/chaos.json", ToJson(result)));
  std::printf("\n%s\nevents  %s/chaos.jsonl\nresult  %s/chaos.json\n", ToTable(result).c_str(), out.c_str(), out.c_str());
  if (result.audit.ok()) return absl::OkStatus();
  const AuditReport::Violation& first = result.audit.violations.front();
  return absl::FailedPreconditionError(absl::StrCat(result.audit.violations.size(), " violations, the first: ", first.rule, ": ",
                                                    first.text, "\nlogs: ", out, "/run/logs, ", out, "/train.log"));
}

}  // namespace swerve
