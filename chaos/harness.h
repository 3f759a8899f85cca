// `swerve chaos`: a real run, everything that can go wrong, and the proof that nothing was lost. Main thread only.
#ifndef SWERVE_CHAOS_HARNESS_H_
#define SWERVE_CHAOS_HARNESS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"

namespace swerve {

struct ChaosOptions {
  std::string config;                  // YAML; "": deploy/chaos.yaml as it was built in
  std::vector<std::string> overrides;  // key=value
  int events = 20;
  uint64_t seed = 0;      // of the schedule, and of the run where the configuration does not set one
  std::string out;        // "": runs/chaos-<seed>
  double gap_s = 2;       // mean time between the beginnings of two faults
  int disk_mb = 512;      // size of the run directory's file system; 0: the disk is not filled
  double patience_s = 180;  // without a new step, all faults healed, before the run counts as hanging
};

// Starts `swerve train` in <out>/run behind lines that can be cut, a faulty teacher and a faulty scorer (and on a
// redis-server of its own where the configuration names Redis), injects the schedule, lets the run go to its last step
// and audits it. Where the run ends before the schedule does, it is taken up again with more steps.
//
// Writes <out>/chaos.jsonl (the event log), <out>/chaos.json (the result), <out>/train.log, and prints a table.
// OK: nothing was violated. FAILED_PRECONDITION: something was, or the run failed. CANCELLED: stopped by a signal.
// INVALID_ARGUMENT, NOT_FOUND: what it was given cannot be used.
absl::Status Chaos(const ChaosOptions& options);

}  // namespace swerve

#endif  // SWERVE_CHAOS_HARNESS_H_
