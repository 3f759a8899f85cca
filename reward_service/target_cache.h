// Prepared scenes by id in a bounded amount of memory, least recently used dropped first. Thread-safe. Preparing
// happens outside the lock: two threads may prepare the same scene at once, one result is kept.
#ifndef SWERVE_REWARD_SERVICE_TARGET_CACHE_H_
#define SWERVE_REWARD_SERVICE_TARGET_CACHE_H_

#include <functional>
#include <list>
#include <memory>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "base/status.h"
#include "reward_service/rewards.h"

namespace swerve {

// A scene by its id; NOT_FOUND for an unknown one. Must be thread-safe; may block on disk.
using SceneLookup = std::function<absl::StatusOr<std::shared_ptr<const v1::Scene>>(const std::string& id)>;

class TargetCache {
 public:
  // Holds targets of at most `capacity_bytes` (RewardTarget::bytes) together; a larger one is never kept.
  TargetCache(SceneLookup lookup, size_t capacity_bytes);
  // The scene made ready for those rules. The lookup's error, or INVALID_ARGUMENT when the stored scene cannot be scored
  // by them; neither is remembered.
  absl::StatusOr<std::shared_ptr<const RewardTarget>> Get(const std::string& id, pdm::Rules rules = pdm::Rules::kV1)
      ABSL_LOCKS_EXCLUDED(mu_);

  size_t bytes() const ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    return bytes_;
  }

 private:
  using Key = std::pair<pdm::Rules, std::string>;
  using Entry = std::pair<Key, std::shared_ptr<const RewardTarget>>;
  void Remember(const Key& key, const std::shared_ptr<const RewardTarget>& target) ABSL_LOCKS_EXCLUDED(mu_);

  const SceneLookup lookup_;
  const size_t capacity_bytes_;
  mutable absl::Mutex mu_;
  std::list<Entry> entries_ ABSL_GUARDED_BY(mu_);  // most recently used first
  absl::flat_hash_map<Key, std::list<Entry>::iterator> by_key_ ABSL_GUARDED_BY(mu_);
  size_t bytes_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace swerve

#endif  // SWERVE_REWARD_SERVICE_TARGET_CACHE_H_
