#include "orchestrator/ledger.h"

#include <algorithm>
#include <utility>

namespace swerve {

Ledger::Ledger(LedgerOptions options, SceneSampler sampler) : options_(options), sampler_(std::move(sampler)) {}

bool Ledger::MayAdmit() const {
  const int64_t limit = (options_.max_staleness + version_ + 1) * options_.batch_groups;
  return static_cast<int64_t>(accepted() + running()) < limit;
}

std::set<std::string> Ledger::BusyScenes() const {
  std::set<std::string> busy;
  for (const auto& [number, group] : open_) busy.insert(group.scene_id());
  return busy;
}

v1::OpenGroup& Ledger::Admit() {
  const std::string scene = sampler_.Draw(next_group_, 0, BusyScenes());
  v1::OpenGroup& group = open_[next_group_];
  group.set_group(next_group_++);
  group.set_scene_id(scene);
  return group;
}

void Ledger::Restore(const v1::LedgerState& state, const std::set<uint64_t>& stored) {
  next_group_ = state.next_group();
  open_.clear();
  for (const v1::OpenGroup& group : state.open()) open_[group.group()] = group;
  drops_ = {state.drops_by_reason().begin(), state.drops_by_reason().end()};
  expired_ = state.expired();
  version_ = static_cast<int64_t>(state.step());
  while (!stored.empty() && next_group_ <= *stored.rbegin()) Admit();
  for (const uint64_t number : stored) open_.erase(number);
}

void Ledger::Expire(int64_t now_us) {
  for (auto& [number, group] : open_) {
    if (!group.leased() || group.expires_us() > now_us) continue;
    group.set_leased(false);
    ++expired_;
  }
}

std::vector<v1::Lease> Ledger::Lease(const std::string& worker, uint64_t incarnation, uint32_t max, int64_t now_us) {
  Expire(now_us);
  for (auto& [number, group] : open_) {
    if (incarnation != 0 && group.leased() && group.worker() == worker && group.incarnation() != incarnation) {
      group.set_leased(false);
      ++expired_;
    }
  }
  std::vector<v1::Lease> leases;
  const auto give = [&](v1::OpenGroup& group) {
    group.set_leased(true);
    group.set_attempt(group.attempt() + 1);
    group.set_worker(worker);
    group.set_incarnation(incarnation);
    group.set_expires_us(now_us + options_.lease_us);
    v1::Lease lease;
    lease.set_scene_id(group.scene_id());
    lease.set_group(group.group());
    lease.set_attempt(group.attempt());
    lease.set_expires_us(group.expires_us());
    leases.push_back(std::move(lease));
  };
  for (auto& [number, group] : open_) {
    if (leases.size() >= max) return leases;
    if (!group.leased()) give(group);
  }
  while (leases.size() < max && MayAdmit()) give(Admit());
  return leases;
}

absl::StatusOr<bool> Ledger::Complete(const v1::CompleteRequest& request) {
  if (request.group() >= next_group_) {
    return absl::InvalidArgumentError(
        absl::StrCat("group ", request.group(), " was never admitted; the newest is ", next_group_, " - 1"));
  }
  const auto at = open_.find(request.group());
  if (at == open_.end()) return false;
  v1::OpenGroup& group = at->second;
  const bool stored = request.dropped().empty() || request.dropped() == kDroppedDuplicate;
  if (stored) {
    // The store is the authority on what was appended, even under a scene that was given up here meanwhile.
    open_.erase(at);
    drops_in_row_ = 0;
    return true;
  }
  if (request.attempt() != group.attempt() || !group.leased()) return false;
  ++drops_[request.dropped()];
  ++drops_in_row_;
  group.set_leased(false);
  group.set_drops(group.drops() + 1);
  if (group.drops() < options_.drops_per_scene) return false;
  group.set_redraws(group.redraws() + 1);
  group.set_scene_id(sampler_.Draw(group.group(), group.redraws(), BusyScenes()));
  group.set_drops(0);
  return false;
}

uint64_t Ledger::dropped() const {
  uint64_t sum = 0;
  for (const auto& [reason, count] : drops_) sum += count;
  return sum;
}

void Ledger::Save(v1::LedgerState* state) const {
  state->set_next_group(next_group_);
  for (const auto& [number, group] : open_) *state->add_open() = group;
  for (const auto& [reason, count] : drops_) (*state->mutable_drops_by_reason())[reason] = count;
  state->set_expired(expired_);
}

}  // namespace swerve
