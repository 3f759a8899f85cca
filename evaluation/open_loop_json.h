// The files and tables of open-loop and closed-loop metrics. Every number stands under its protocol's name. Stateless.
#ifndef SWERVE_EVALUATION_OPEN_LOOP_JSON_H_
#define SWERVE_EVALUATION_OPEN_LOOP_JSON_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "base/status.h"
#include "evaluation/neuro_ncap.h"
#include "evaluation/open_loop.h"

namespace swerve {

// Which metrics of open_loop.h are shown.
struct OpenLoopMetrics {
  bool l2 = false;         // L2, ADE, FDE, miss rate
  bool collision = false;  // collision rate
  bool planning = false;   // planning accuracy
  bool any() const { return l2 || collision || planning; }
};
// Names as of `eval --metrics`. INVALID_ARGUMENT names one that is unknown, and those that are known.
absl::StatusOr<OpenLoopMetrics> OpenLoopMetricsOf(absl::Span<const std::string> names);

// `eval_json` (an object; "" for none) with two more keys at its end, what is null being left out:
//   "open_loop": {"overall": S, "families": {name: S}}
//      S: scenes, answered, l2_m.{uniad,st_p3}.{1s,2s,3s,4s,mean_1s_2s_3s}, ade_4s_m, fde_4s_m,
//      miss_rate_2m.{nuscenes,argoverse}, collision_rate.{uniad,st_p3}.{…as L2}, planning_accuracy.{swerve,impromptu}.
//      {speed,path,joint}; null for a number that does not exist because nothing was answered
//   "neuroncap": {runs, score.{neuroncap,neuroncap_runs}, collision_rate.{…}, scenarios: {name: {sequences, runs, score,
//      collision_rate}}}
// Without both, `eval_json` itself. INTERNAL: `eval_json` is not an object.
absl::StatusOr<std::string> AddMetricsToJson(absl::string_view eval_json, const OpenLoopMetrics& metrics,
                                             const OpenLoopResult* open_loop, const NeuroNcapResult* neuro_ncap,
                                             int indent = 2);

// For the terminal, overall numbers.
std::string OpenLoopTable(const OpenLoopSummary& summary, const OpenLoopMetrics& metrics);
std::string NeuroNcapTable(const NeuroNcapResult& result);

}  // namespace swerve

#endif  // SWERVE_EVALUATION_OPEN_LOOP_JSON_H_
