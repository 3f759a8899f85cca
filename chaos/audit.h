// Proves from what a run left behind that nothing was lost or done twice, or names what was. Pure: audit_files.h reads.
//
//   last_step      the run ended by itself, finished, at its last step, with a checkpoint of it
//   trained_once   no group was in two batches: a checkpoint of step s says that s·batch_groups different groups were
//                  consumed, and a later checkpoint contains all of an earlier one
//   accounted      every admitted group was trained on, or waits in the store, or was still under way at the end; none
//                  of the first is also the second; no group is known that was never admitted
//   acknowledged   the store acknowledged exactly what was trained on
//   one_reason     in every step, groups kept and groups dropped by one of the learner's causes add up to the batch;
//                  every attempt that a worker gave up has a reason
//   logged         every group trained on has its line in groups.jsonl
//   weights_grow   announced versions never fall, and a version stands for one checksum
//   whole_files    every checkpoint is complete and loads, every announced weights file has its checksum, whenever looked
#ifndef SWERVE_CHAOS_AUDIT_H_
#define SWERVE_CHAOS_AUDIT_H_

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "buffers/episode_store.h"
#include "evaluation/telemetry.h"
#include "swerve/v1/orchestrator.pb.h"

namespace swerve {

struct WeightsSeen {
  int64_t version = 0;
  uint64_t step = 0;
  std::string checksum;
};

struct CheckpointSeen {
  uint64_t step = 0;
  int64_t version = 0;
  std::set<uint64_t> consumed;
};

// One look at one file or directory on disk.
struct FileCheck {
  std::string when;  // "at the end", "after #7 kill learner"
  std::string path;
  std::string wrong;  // "": nothing
};

struct AuditInput {
  uint64_t steps = 0;  // that the run was to make
  uint64_t batch_groups = 0;
  std::string ending;  // how `swerve train` ended; "": well
  v1::LedgerState ledger;
  EpisodeStats stats;
  std::vector<uint64_t> waiting;            // groups in the store, not acknowledged
  std::vector<CheckpointSeen> checkpoints;  // in the order in which they appeared; the last is the newest at the end
  std::vector<WeightsSeen> weights;         // announced, in order
  std::vector<FileCheck> files;
  std::vector<MetricsRow> metrics;          // by step
  std::set<uint64_t> logged;                // groups of groups.jsonl
};

struct AuditReport {
  struct Rule {
    std::string name;
    uint64_t checked = 0;  // things looked at
    std::string proved;    // in words
  };
  struct Violation {
    std::string rule, text;
  };
  std::vector<Rule> rules;  // in the order above, also those violated
  std::vector<Violation> violations;
  std::map<std::string, uint64_t> counts;  // groups_trained, groups_dropped_no_spread, attempts_dropped_…, …
  bool ok() const { return violations.empty(); }
};

AuditReport Audit(const AuditInput& input);

// What was proved with counts, or the violations: at most `most` of them.
std::string ToText(const AuditReport& report, size_t most = 10);

}  // namespace swerve

#endif  // SWERVE_CHAOS_AUDIT_H_
