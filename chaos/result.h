// What a chaos run came to, for people and for tools. Pure.
#ifndef SWERVE_CHAOS_RESULT_H_
#define SWERVE_CHAOS_RESULT_H_

#include <string>
#include <vector>

#include "chaos/audit.h"
#include "chaos/schedule.h"

namespace swerve {

struct ChaosResult {
  uint64_t seed = 0;
  std::string run_id, buffers;  // "sqlite" or "redis"
  double seconds = 0;
  int steps = 0;
  std::vector<ChaosEvent> injected;
  std::vector<ChaosEvent> skipped;  // their target did not come up in time
  std::string no_disk;              // why the disk was never full; "": it was
  int times_resumed = 0;            // `swerve train --resume`
  uint64_t teacher_failed = 0, teacher_answered = 0, scorer_failed = 0;  // requests
  AuditReport audit;
};

std::string ToJson(const ChaosResult& result);

// Faults by kind and target, what became of the groups, and what was proved.
std::string ToTable(const ChaosResult& result);

}  // namespace swerve

#endif  // SWERVE_CHAOS_RESULT_H_
