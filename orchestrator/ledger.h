// Who works on which group: admission, leases, completion. Pure decisions: the clock is an argument, nothing is read
// or written, nothing blocks. Not thread-safe (orchestrator/service.h holds the lock).
//
// Groups get dense numbers 0, 1, 2, … as they are admitted, and every number ends as exactly one accepted episode: a
// lease that runs out is given again under the next attempt; one that is dropped too often gets another scene under
// the same number. So the learner finds batch b as groups b·batch_groups … (b+1)·batch_groups − 1.
//
// Admission (architecture §3): accepted + running < (max_staleness + version + 1) · batch_groups, where running counts
// every admitted group that is not accepted yet. The system waits rather than drops.
#ifndef SWERVE_ORCHESTRATOR_LEDGER_H_
#define SWERVE_ORCHESTRATOR_LEDGER_H_

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/status.h"
#include "orchestrator/scene_sampler.h"
#include "swerve/v1/orchestrator.pb.h"

namespace swerve {

// What a worker says when the store already had the group under another attempt: the group is done, its episode is a
// duplicate and counts nowhere else.
inline constexpr char kDroppedDuplicate[] = "duplicate";

struct LedgerOptions {
  int batch_groups = 16;
  int max_staleness = 1;        // versions; 0 in deterministic mode
  int64_t lease_us = 120000000;
  uint32_t drops_per_scene = 3; // dropped attempts after which a group gets another scene
  uint64_t hopeless_drops = 300;  // drops in a row, without one acceptance, after which the run cannot go on
};

class Ledger {
 public:
  Ledger(LedgerOptions options, SceneSampler sampler);

  // Continues from a saved state. `stored` are group numbers known to be in the episode store: they are accepted,
  // whatever the state says, and numbers beyond next_group are admitted first (state older than the store).
  // Leases keep their expiry: their workers may be alive.
  void Restore(const v1::LedgerState& state, const std::set<uint64_t>& stored);

  // Up to `max` leases: first groups whose lease ran out or was dropped, then newly admitted ones. A new incarnation
  // of `worker` frees what the former one held.
  std::vector<v1::Lease> Lease(const std::string& worker, uint64_t incarnation, uint32_t max, int64_t now_us);

  // Books a finished or dropped attempt. True: the group is accepted now, and was not before. The first completion
  // wins, whichever attempt it is; a drop counts only for the attempt that holds the lease.
  // INVALID_ARGUMENT: a group never admitted.
  absl::StatusOr<bool> Complete(const v1::CompleteRequest& request);

  // Completed learner batches, the version of the formula above. May fall: the learner went back to a checkpoint.
  void SetVersion(int64_t version) { version_ = version; }
  void SetDifficulty(absl::Span<const v1::DifficultyRecord> records) { sampler_.SetDifficulty(records); }

  uint64_t admitted() const { return next_group_; }
  uint64_t running() const { return open_.size(); }
  uint64_t accepted() const { return next_group_ - open_.size(); }
  uint64_t expired() const { return expired_; }
  const std::map<std::string, uint64_t>& drops() const { return drops_; }
  uint64_t dropped() const;
  // Nothing but drops: scenes, policy or services are broken in a way that trying again does not mend.
  bool hopeless() const { return drops_in_row_ >= options_.hopeless_drops; }

  // The ledger's part of the state; policy, step and times are the caller's.
  void Save(v1::LedgerState* state) const;

 private:
  bool MayAdmit() const;
  void Expire(int64_t now_us);
  v1::OpenGroup& Admit();
  std::set<std::string> BusyScenes() const;

  const LedgerOptions options_;
  SceneSampler sampler_;
  std::map<uint64_t, v1::OpenGroup> open_;  // admitted, not accepted
  uint64_t next_group_ = 0;
  int64_t version_ = 0;
  uint64_t expired_ = 0;
  std::map<std::string, uint64_t> drops_;
  uint64_t drops_in_row_ = 0;
};

}  // namespace swerve

#endif  // SWERVE_ORCHESTRATOR_LEDGER_H_
