// The NeuroNCAP score from records of closed-loop runs (spec: systems §1.6). The simulator is the user's; here its outcomes
// are read and averaged. One run: 5 without a collision, else 4 · max(0, 1 − v_impact / v_ref), where v_impact is the speed
// of ego against actor at first contact and v_ref the impact speed of a car that does nothing.
// Two averages are in use and differ when scenarios have different numbers of sequences, so both are given:
//   neuroncap       as the benchmark's own tables: over the runs of a sequence, over the sequences of a scenario, over the
//                   three scenarios. (Its script rounds to 3 decimals at every level; nothing is rounded here.)
//   neuroncap_runs  over all runs alike.
// Pure functions but for the reading of the file; thread-safe. The format is in docs/open_loop.md.
#ifndef SWERVE_EVALUATION_NEURO_NCAP_H_
#define SWERVE_EVALUATION_NEURO_NCAP_H_

#include <map>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "base/status.h"

namespace swerve {

struct ClosedLoopRun {
  std::string scenario;  // stationary, frontal, side
  std::string sequence;
  std::string run;
  bool collided = false;
  double impact_speed = 0;     // m/s, ≥ 0; read when collided
  double reference_speed = 0;  // m/s, > 0; read when collided
};

// One JSON object a line; empty lines are skipped. INVALID_ARGUMENT names the line and the key: not an object, unknown
// scenario, a key missing, of the wrong type or out of range, a run given twice; or no runs at all.
absl::StatusOr<std::vector<ClosedLoopRun>> ParseClosedLoopRuns(absl::string_view text);
// Errors of ReadFile; those above with the path before them.
absl::StatusOr<std::vector<ClosedLoopRun>> ReadClosedLoopRuns(const std::string& path);

double NeuroNcapScore(const ClosedLoopRun& run);  // [0, 5]

struct NeuroNcapMean {
  double score = 0;
  double collision_rate = 0;
};
struct NeuroNcapResult {
  int runs = 0;
  NeuroNcapMean neuroncap;
  NeuroNcapMean neuroncap_runs;
  struct Scenario {
    int sequences = 0;
    int runs = 0;
    NeuroNcapMean neuroncap;
  };
  std::map<std::string, Scenario> scenarios;  // those that have runs
};
// An empty span gives zeros.
NeuroNcapResult SummariseNeuroNcap(absl::Span<const ClosedLoopRun> runs);

}  // namespace swerve

#endif  // SWERVE_EVALUATION_NEURO_NCAP_H_
