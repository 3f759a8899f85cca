// Buffers in memory for tests of other rooms; keeps every promise of the conformance suite but durability.
#ifndef SWERVE_TESTS_TESTING_FAKE_BUFFERS_H_
#define SWERVE_TESTS_TESTING_FAKE_BUFFERS_H_

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "buffers/buffers.h"

namespace swerve {

// Thread-safe.
class FakeBuffers final : public Buffers, public EpisodeStore, public DifficultyStore {
 public:
  explicit FakeBuffers(std::string run_id = "run") : run_id_(std::move(run_id)) {}
  EpisodeStore& episodes() override { return *this; }
  DifficultyStore& difficulty() override { return *this; }

  // The next Append fails with this, once.
  void FailNextAppend(absl::Status status) {
    absl::MutexLock lock(&mu_);
    failure_ = std::move(status);
  }

  absl::Status Append(const v1::Episode& e) override {
    absl::MutexLock lock(&mu_);
    if (!failure_.ok()) return std::exchange(failure_, absl::OkStatus());
    if (e.run_id().empty() || e.scene_id().empty()) return absl::InvalidArgumentError("no run or scene id");
    if (e.run_id() != run_id_) return absl::FailedPreconditionError(absl::StrCat("of run ", e.run_id()));
    const auto [at, fresh] = groups_.try_emplace(e.group(), Stored{e, false});
    const v1::Episode& held = at->second.episode;
    if (fresh || (held.scene_id() == e.scene_id() && held.attempt() == e.attempt())) return absl::OkStatus();
    return absl::AlreadyExistsError(absl::StrCat("group ", e.group()));
  }
  absl::StatusOr<std::vector<v1::Episode>> Read(uint64_t min_group, int max) override {
    absl::MutexLock lock(&mu_);
    std::vector<v1::Episode> out;
    for (auto at = groups_.lower_bound(min_group); at != groups_.end() && static_cast<int>(out.size()) < max; ++at) {
      if (!at->second.acked) out.push_back(at->second.episode);
    }
    return out;
  }
  absl::Status Ack(absl::Span<const uint64_t> groups) override {
    absl::MutexLock lock(&mu_);
    for (uint64_t g : groups) {
      if (!groups_.count(g)) return absl::NotFoundError(absl::StrCat("group ", g));
    }
    for (uint64_t g : groups) groups_.at(g).acked = true;
    return absl::OkStatus();
  }
  absl::StatusOr<EpisodeStats> Stats() override {
    absl::MutexLock lock(&mu_);
    EpisodeStats stats{groups_.size(), 0};
    for (const auto& [g, stored] : groups_) stats.acknowledged += stored.acked ? 1 : 0;
    return stats;
  }

  absl::Status Update(absl::string_view scene_id, const GroupOutcome& outcome) override {
    if (outcome.r_traj.empty()) return absl::OkStatus();
    absl::MutexLock lock(&mu_);
    v1::DifficultyRecord& record = records_[std::string(scene_id)];
    record.set_scene_id(std::string(scene_id));
    AddOutcome(outcome, &record);
    return absl::OkStatus();
  }
  absl::StatusOr<v1::DifficultyRecord> Get(absl::string_view scene_id) override {
    absl::MutexLock lock(&mu_);
    const auto at = records_.find(std::string(scene_id));
    if (at == records_.end()) return absl::NotFoundError(absl::StrCat("scene ", scene_id));
    return at->second;
  }
  absl::StatusOr<std::vector<v1::DifficultyRecord>> All() override {
    absl::MutexLock lock(&mu_);
    std::vector<v1::DifficultyRecord> out;
    for (const auto& [id, record] : records_) out.push_back(record);
    return out;
  }

 private:
  struct Stored {
    v1::Episode episode;
    bool acked;
  };
  const std::string run_id_;
  absl::Mutex mu_;
  absl::Status failure_ ABSL_GUARDED_BY(mu_);
  std::map<uint64_t, Stored> groups_ ABSL_GUARDED_BY(mu_);
  std::map<std::string, v1::DifficultyRecord> records_ ABSL_GUARDED_BY(mu_);
};

}  // namespace swerve

#endif  // SWERVE_TESTS_TESTING_FAKE_BUFFERS_H_
