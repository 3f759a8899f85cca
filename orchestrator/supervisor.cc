#include "orchestrator/supervisor.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "base/stop.h"
#include "swerve/v1/orchestrator.grpc.pb.h"

namespace swerve {
namespace {

constexpr absl::Duration kTick = absl::Milliseconds(100);
constexpr absl::Duration kStatusEvery = absl::Seconds(1);
constexpr absl::Duration kStatusWithin = absl::Milliseconds(500);
constexpr absl::Duration kLastStatus = absl::Seconds(10);  // the one that decides whether the run is over
// After the learner has finished nobody waits for the others' work.
constexpr absl::Duration kEndGrace = absl::Seconds(5);
constexpr int kUnusableInput = 2;  // exit code (base/exit_code.h)

bool IsRollout(const std::string& name) { return absl::StartsWith(name, "rollout"); }

}  // namespace

absl::Duration RestartPolicy::OnDeath(absl::Duration lived) {
  if (lived > absl::Minutes(1)) in_a_row_ = 0;
  if (restarts_ >= max_restarts_) return -absl::InfiniteDuration();
  ++restarts_;
  const absl::Duration pause = absl::Milliseconds(200) * (1 << std::min(in_a_row_, 10));
  ++in_a_row_;
  return std::min(pause, absl::Seconds(10));
}

Supervisor::Supervisor(RunDir run, v1::RunConfig config, LiveView* view, RoleChannel::Options channel)
    : run_(std::move(run)), config_(std::move(config)), view_(view) {
  AddRole("orchestrator", "orchestrator");
  for (int i = 0; i < config_.rollout().workers(); ++i) AddRole("rollout", absl::StrCat("rollout-", i));
  AddRole("reward", "reward");
  AddRole("teacher", "teacher");
  AddRole("learner", "learner");
  orchestrator_ = std::make_unique<RoleChannel>(run_, "orchestrator", std::move(channel));
}

Supervisor::~Supervisor() = default;

void Supervisor::AddRole(const std::string& kind, const std::string& name) {
  auto child = std::make_unique<Child>(
      Child{name, {SelfBinary(), "serve", kind, "--run", run_.root(), "--name", name}, Process(),
            RestartPolicy(config_.orchestrator().max_restarts()), absl::InfinitePast(), absl::InfinitePast()});
  // What a former run left would send others to ports that nobody serves.
  unlink(run_.port_file(name).c_str());
  children_.push_back(std::move(child));
}

absl::Status Supervisor::Start(Child* child) {
  SWERVE_ASSIGN_OR_RETURN(child->process, Process::Start(child->argv, run_.log_file(child->name)));
  child->started = absl::Now();
  return absl::OkStatus();
}

absl::Status Supervisor::Run() {
  const absl::Status result = Watch();
  if (absl::IsCancelled(result)) {
    Drain();
  } else {
    EndRoles([](const std::string&) { return true; }, absl::Now() + (result.ok() ? kEndGrace : absl::Seconds(1)));
  }
  // What is still there is killed and reaped.
  children_.clear();
  return result;
}

absl::Status Supervisor::Watch() {
  absl::Time next_status = absl::Now();
  while (true) {
    const absl::Time now = absl::Now();
    for (const auto& child : children_) {
      if (const std::optional<ProcessEnd> end = child->process.Poll()) {
        SWERVE_RETURN_IF_ERROR(OnEnd(child.get(), *end));
      }
      if (!child->process.running() && !child->done && now >= child->start_at) {
        SWERVE_RETURN_IF_ERROR(Start(child.get()));
      }
    }
    if (learner_done_) return absl::OkStatus();
    if (now >= next_status) {
      AskStatus(kStatusWithin);
      next_status = absl::Now() + kStatusEvery;
    }
    if (Stop::WaitFor(kTick)) return absl::CancelledError("stopped");
  }
}

absl::Status Supervisor::OnEnd(Child* child, const ProcessEnd& end) {
  if (child->name == "learner" && end.ok()) {
    // It says that it has finished before it ends. One that somebody else stopped ends in order too, and goes on.
    AskStatus(kLastStatus);
    if (status_.finished()) {
      learner_done_ = true;
      child->done = true;
      return absl::OkStatus();
    }
  }
  const std::string log = run_.log_file(child->name);
  const absl::StatusOr<RoleAddress> address = ReadRole(run_, child->name);
  child->ever_served |= address.ok();
  const auto fatal = [&](const std::string& why) {
    return absl::InternalError(absl::StrCat("role ", child->name, " ended with ", end.ToString(), "; ", why,
                                            ". Its last words:\n", absl::StrJoin(LogTail(log, 10), "\n"),
                                            "\n(all of it: ", log, ")"));
  };
  if (end.signal == 0 && end.code == kUnusableInput && !child->ever_served) {
    return fatal("what it was given cannot be used");
  }
  if (end.ok() && status_.finished()) {
    child->done = true;
    return absl::OkStatus();
  }
  const absl::Duration pause = child->restarts.OnDeath(absl::Now() - child->started);
  if (pause < absl::ZeroDuration()) {
    return fatal(absl::StrCat("it was started again ", child->restarts.restarts(),
                              " times already (orchestrator.max_restarts)"));
  }
  child->start_at = absl::Now() + pause;
  const std::vector<std::string> tail = LogTail(log, 1);
  view_->Message(absl::StrCat("role ", child->name, " died (", end.ToString(), "); start ",
                              child->restarts.restarts() + 1, " in ", absl::FormatDuration(pause),
                              tail.empty() ? "" : "; its last words: ", tail.empty() ? "" : tail[0]));
  return absl::OkStatus();
}

void Supervisor::AskStatus(absl::Duration within) {
  v1::StatusReply reply;
  const auto channel = orchestrator_->Get();
  if (channel.ok()) {
    grpc::ClientContext context;
    context.set_deadline(absl::ToChronoTime(absl::Now() + within));
    if (v1::Orchestrator::NewStub(*channel)->GetStatus(&context, {}, &reply).ok()) status_ = reply;
  }
  std::map<std::string, int> restarts;
  for (const auto& child : children_) restarts[child->name] = child->restarts.restarts();
  view_->Update(status_, restarts);
}

bool Supervisor::AllDone() const {
  return std::all_of(children_.begin(), children_.end(), [](const auto& child) { return !child->process.running(); });
}

void Supervisor::EndRoles(const std::function<bool(const std::string&)>& which, absl::Time until) {
  for (const auto& child : children_) {
    if (which(child->name)) child->process.Signal(SIGTERM);
  }
  while (true) {
    bool running = false;
    for (const auto& child : children_) {
      if (!which(child->name)) continue;
      if (const auto end = child->process.Poll(); end && !end->ok()) {
        view_->Message(absl::StrCat("role ", child->name, " ended with ", end->ToString(), " while stopping; see ",
                                    run_.log_file(child->name)));
      }
      running |= child->process.running();
    }
    if (!running || absl::Now() >= until || Stop::Count() > 1) return;
    // Stop is set already, so its wait would not pause.
    absl::SleepFor(kTick);
  }
}

void Supervisor::Drain() {
  view_->Message("stopping: groups under way are finished and a checkpoint is written; Ctrl-C again ends it at once");
  const absl::Time now = absl::Now();
  const absl::Duration drain = absl::Seconds(config_.orchestrator().drain_seconds());
  v1::DrainReply reply;
  const absl::Status told = orchestrator_->Call(
      [&](const std::shared_ptr<grpc::Channel>& channel, grpc::ClientContext* context) {
        return v1::Orchestrator::NewStub(channel)->Drain(context, {}, &reply);
      },
      absl::Seconds(1), /*stoppable=*/false);
  if (!told.ok()) view_->Message(absl::StrCat("the orchestrator was not told to drain: ", told.message()));
  // Flow order. The workers get half of the time, so that the learner can write its checkpoint in the rest.
  EndRoles(IsRollout, now + drain / 2);
  EndRoles([](const std::string& name) { return name == "learner"; }, now + drain);
  EndRoles([](const std::string& name) { return !IsRollout(name) && name != "learner"; },
           std::max(now + drain, absl::Now() + absl::Seconds(2)));
  if (!AllDone()) view_->Message("what did not end in time is killed; nothing that was stored is lost");
}

}  // namespace swerve
