#include "reward_service/target_cache.h"

#include "reward_service/metrics.h"

namespace swerve {

TargetCache::TargetCache(SceneLookup lookup, size_t capacity_bytes)
    : lookup_(std::move(lookup)), capacity_bytes_(capacity_bytes) {}

absl::StatusOr<std::shared_ptr<const RewardTarget>> TargetCache::Get(const std::string& id, pdm::Rules rules) {
  const Key key(rules, id);
  {
    absl::MutexLock lock(&mu_);
    auto it = by_key_.find(key);
    if (it != by_key_.end()) {
      entries_.splice(entries_.begin(), entries_, it->second);
      RewardMetrics::Get().cache_hits.Increment();
      return it->second->second;
    }
  }
  RewardMetrics::Get().cache_misses.Increment();
  SWERVE_ASSIGN_OR_RETURN(std::shared_ptr<const v1::Scene> scene, lookup_(id));
  auto target = PrepareTarget(*scene, rules);
  if (!target.ok()) return Annotate(target.status(), absl::StrCat("scene '", id, "'"));
  Remember(key, *target);
  return target;
}

void TargetCache::Remember(const Key& key, const std::shared_ptr<const RewardTarget>& target) {
  if (target->bytes > capacity_bytes_) return;
  std::list<Entry> dropped;  // freed outside the lock
  absl::MutexLock lock(&mu_);
  if (by_key_.contains(key)) return;
  while (bytes_ + target->bytes > capacity_bytes_) {
    bytes_ -= entries_.back().second->bytes;
    by_key_.erase(entries_.back().first);
    dropped.splice(dropped.begin(), entries_, std::prev(entries_.end()));
  }
  entries_.emplace_front(key, target);
  by_key_[key] = entries_.begin();
  bytes_ += target->bytes;
  RewardMetrics::Get().cache_bytes.Set(static_cast<double>(bytes_));
}

}  // namespace swerve
