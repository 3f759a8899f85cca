#include "chaos/faults.h"

#include <signal.h>
#include <spdlog/spdlog.h>

#include <utility>

#include "absl/strings/match.h"
#include "chaos/processes.h"

namespace swerve {
namespace {

// What two faults cannot break at the same time.
std::string PlaceOf(const ChaosEvent& event) {
  const bool by_target = event.kind == "stop" || event.kind == "stall" || event.kind == "kill" || event.kind == "cut";
  return by_target ? absl::StrCat(event.kind, " ", event.target) : event.kind;
}

}  // namespace

absl::StatusOr<pid_t> Faults::PidOf(const std::string& target) const {
  const pid_t pid = target == "train"   ? parts_.train->pid()
                    : target == "redis" ? (parts_.redis == nullptr ? 0 : parts_.redis->pid())
                                        : PidOfRole(parts_.run_dir, target);
  if (pid <= 0) return absl::UnavailableError(absl::StrCat(target, " does not run"));
  return pid;
}

absl::StatusOr<std::string> Faults::KillOne(const ChaosEvent& event) {
  SWERVE_ASSIGN_OR_RETURN(const pid_t pid, PidOf(event.target));
  if (event.target == "redis") {
    parts_.redis->Kill();
  } else {
    kill(pid, SIGKILL);
  }
  return absl::StrCat("pid ", pid);
}

absl::Status Faults::OnLine(const std::string& target, const std::function<void(TcpProxy*)>& action) {
  TcpProxy* const line = parts_.lines->Find(target);
  if (line == nullptr) return absl::InvalidArgumentError(absl::StrCat("there is no line to ", target));
  action(line);
  return absl::OkStatus();
}

absl::StatusOr<std::string> Faults::Begin(const ChaosEvent& event, absl::Time now) {
  std::string done;
  pid_t stopped = 0;
  if (event.kind == "kill") {
    SWERVE_ASSIGN_OR_RETURN(done, KillOne(event));
  } else if (event.kind == "stop") {
    SWERVE_ASSIGN_OR_RETURN(stopped, PidOf(event.target));
    kill(stopped, SIGSTOP);
    done = absl::StrCat("pid ", stopped);
  } else if (event.kind == "cut") {
    SWERVE_RETURN_IF_ERROR(OnLine(event.target, [](TcpProxy* line) { line->Cut(); }));
  } else if (event.kind == "stall") {
    SWERVE_RETURN_IF_ERROR(OnLine(event.target, [](TcpProxy* line) { line->Stall(true); }));
  } else if (event.kind == "teacher") {
    const bool outage = event.target == "outage";
    SWERVE_RETURN_IF_ERROR(parts_.teacher->Fail(outage ? "" : event.target));
    SWERVE_RETURN_IF_ERROR(OnLine("endpoint", [&](TcpProxy* line) { line->Refuse(outage); }));
  } else if (event.kind == "scorer") {
    SWERVE_RETURN_IF_ERROR(parts_.lines->scorer().Fail(event.target));
  } else if (event.kind == "disk" && parts_.disk != nullptr) {
    SWERVE_RETURN_IF_ERROR(parts_.disk->Fill());
    done = absl::StrCat(parts_.disk->megabytes(), " MiB");
  } else {
    return absl::InvalidArgumentError(absl::StrCat("there is no fault ", event.kind, " ", event.target));
  }
  if (event.lasts_s > 0) active_[PlaceOf(event)] = {event, now + absl::Seconds(event.lasts_s), stopped};
  return done;
}

void Faults::Heal(const Active& active) {
  const ChaosEvent& event = active.event;
  absl::Status status;
  if (event.kind == "stop") {
    kill(active.pid, SIGCONT);
  } else if (event.kind == "kill") {
    status = parts_.redis->StartAgain();
  } else if (event.kind == "stall") {
    status = OnLine(event.target, [](TcpProxy* line) { line->Stall(false); });
  } else if (event.kind == "teacher") {
    status = parts_.teacher->Fail("");
    parts_.lines->Find("endpoint")->Refuse(false);
  } else if (event.kind == "scorer") {
    status = parts_.lines->scorer().Fail("");
  } else if (event.kind == "disk") {
    parts_.disk->Free();
  }
  if (!status.ok()) spdlog::error("a fault does not heal: {}", std::string(status.message()));
}

std::vector<int> Faults::Tick(absl::Time now) {
  std::vector<int> healed;
  for (auto at = active_.begin(); at != active_.end();) {
    if (at->second.until > now) {
      // What others delete meanwhile must not make room.
      if (at->second.event.kind == "disk") parts_.disk->Fill().IgnoreError();
      ++at;
      continue;
    }
    Heal(at->second);
    healed.push_back(at->second.event.id);
    at = active_.erase(at);
  }
  return healed;
}

}  // namespace swerve
