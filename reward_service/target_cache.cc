#include "reward_service/target_cache.h"

namespace swerve {

TargetCache::TargetCache(SceneLookup lookup, size_t capacity) : lookup_(std::move(lookup)), capacity_(capacity) {}

absl::StatusOr<std::shared_ptr<const RewardTarget>> TargetCache::Get(const std::string& id) {
  {
    absl::MutexLock lock(&mu_);
    auto it = by_id_.find(id);
    if (it != by_id_.end()) {
      entries_.splice(entries_.begin(), entries_, it->second);
      return it->second->second;
    }
  }
  SWERVE_ASSIGN_OR_RETURN(std::shared_ptr<const v1::Scene> scene, lookup_(id));
  auto target = PrepareTarget(*scene);
  if (!target.ok()) return Annotate(target.status(), absl::StrCat("scene '", id, "'"));
  absl::MutexLock lock(&mu_);
  if (capacity_ == 0 || by_id_.contains(id)) return target;
  if (entries_.size() >= capacity_) {
    by_id_.erase(entries_.back().first);
    entries_.pop_back();
  }
  entries_.emplace_front(id, *target);
  by_id_[id] = entries_.begin();
  return target;
}

}  // namespace swerve
