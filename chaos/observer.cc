#include "chaos/observer.h"

#include <utility>

#include "absl/time/clock.h"
#include "chaos/audit_files.h"
#include "swerve/v1/orchestrator.grpc.pb.h"

namespace swerve {
namespace {

constexpr absl::Duration kEvery = absl::Milliseconds(100);
constexpr absl::Duration kWithin = absl::Milliseconds(400);

nlohmann::json ToRanges(const std::set<uint64_t>& groups) {
  nlohmann::json ranges = nlohmann::json::array();
  for (const uint64_t g : groups) {
    if (!ranges.empty() && ranges.back()[1].get<uint64_t>() + 1 == g) {
      ranges.back()[1] = g;
    } else {
      ranges.push_back({g, g});
    }
  }
  return ranges;
}

}  // namespace

Observer::Observer(RunDir run, EventLog* log)
    : run_(std::move(run)), log_(log), orchestrator_(run_, "orchestrator"), moved_(absl::Now()), thread_([this] { Loop(); }) {}

Observer::~Observer() {
  ended_.Notify();
  thread_.join();
}

uint64_t Observer::step() const {
  absl::MutexLock lock(&mu_);
  return step_;
}

absl::Time Observer::moved() const {
  absl::MutexLock lock(&mu_);
  return moved_;
}

void Observer::Loop() {
  while (!ended_.WaitForNotificationWithTimeout(kEvery)) {
    AskStatus();
    LookForCheckpoints();
  }
  LookForCheckpoints();
}

void Observer::AskStatus() {
  const auto channel = orchestrator_.Get();
  if (!channel.ok()) return;
  grpc::ClientContext context;
  context.set_deadline(absl::ToChronoTime(absl::Now() + kWithin));
  v1::StatusReply reply;
  if (!v1::Orchestrator::NewStub(*channel)->GetStatus(&context, {}, &reply).ok()) return;
  {
    absl::MutexLock lock(&mu_);
    if (reply.step() != step_) moved_ = absl::Now();
    step_ = reply.step();
  }
  const v1::PolicyManifest& policy = reply.policy();
  if (policy.version() == policy_.version() && policy.checksum() == policy_.checksum()) return;
  policy_ = policy;
  log_->Write("weights", {{"version", policy.version()}, {"step", policy.step()}, {"checksum", policy.checksum()}}, "");
}

void Observer::LookForCheckpoints() {
  for (const auto& [step, dir] : ListCheckpoints(run_)) {
    if (known_.contains(dir)) continue;
    const absl::StatusOr<CheckpointSeen> seen = ReadCheckpoint(dir);
    if (!seen.ok()) continue;  // removed meanwhile; a broken one is found by LookAtCheckpoints
    known_.insert(dir);
    log_->Write("checkpoint", {{"step", seen->step}, {"version", seen->version}, {"consumed", ToRanges(seen->consumed)}}, "");
  }
}

void Observer::LookAtCheckpoints(const std::string& when) {
  for (const FileCheck& check : CheckCheckpoints(run_, {}, when)) {
    log_->Write("file", {{"when", check.when}, {"path", check.path}, {"wrong", check.wrong}},
                check.wrong.empty() ? "" : absl::StrCat("BROKEN ", check.path, ": ", check.wrong));
  }
}

}  // namespace swerve
