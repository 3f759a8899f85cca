// `swerve report`: what a run learnt, on one self-contained HTML page (no scripts, nothing loaded from elsewhere).
#ifndef SWERVE_EVALUATION_REPORT_H_
#define SWERVE_EVALUATION_REPORT_H_

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/busy_log.h"
#include "base/status.h"
#include "evaluation/eval.h"
#include "evaluation/group_log.h"
#include "evaluation/telemetry.h"
#include "scenes/store.h"
#include "swerve/v1/config.pb.h"

namespace swerve {

// Whatever is absent is left out of the page.
struct ReportInput {
  std::string title;  // the run's name
  std::optional<v1::RunConfig> config;
  std::vector<MetricsRow> metrics;
  std::vector<GroupRecord> groups;
  std::optional<BusyShares> busy;
  std::optional<EvalResult> before, after;
  std::vector<EvalAnswer> answers_before, answers_after;
  std::shared_ptr<const SceneStore> held_out;  // scenes of the answers
  std::shared_ptr<const SceneStore> training;  // scenes of the groups
  size_t max_scenes = 12;                      // drawn per section
};

// A scene whose sampled answers all failed before and do not any more.
struct FixedScene {
  std::string scene_id;
  std::string family;
  EvalAnswer failing;  // before: the greedy answer when it failed, else the first sample
  EvalAnswer refined;  // after: the greedy answer when it succeeded, else the best sample
};

// Families in turn, best answers first. `still_failing` (may be null) counts total failures before that remain. Pure.
std::vector<FixedScene> FindFixed(const std::vector<EvalAnswer>& before, const std::vector<EvalAnswer>& after,
                                  int* failed_before, int* still_failing);

// The page. Scenes that a store does not hold are listed without a drawing. Never fails: a part that cannot be made says why
// on the page.
std::string ReportHtml(const ReportInput& input);

// Reads a run directory: config.yaml, metrics.jsonl, groups.jsonl, busy.jsonl, and the evaluations where they are called
// before.json, after.json, responses_before.jsonl, responses_after.jsonl. Missing files leave their part out.
// NOT_FOUND: no such directory. Other errors name a file that cannot be read.
absl::StatusOr<ReportInput> ReadRun(const std::string& run_dir);

}  // namespace swerve

#endif  // SWERVE_EVALUATION_REPORT_H_
