// Two teachers on the same failures: the policy answers each scene, what fails goes to both, and the policy refines its
// answers under each one's reports with the same seeds. The worker's own steps (rollout_workers/types.h), so that the
// numbers are those of a training's first step.
#ifndef SWERVE_EVALUATION_TEACHER_COMPARISON_H_
#define SWERVE_EVALUATION_TEACHER_COMPARISON_H_

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/status.h"
#include "evaluation/teacher_tally.h"
#include "policy/engine.h"
#include "rollout_workers/clients.h"
#include "scenes/store.h"

namespace swerve {

struct ComparisonOptions {
  int samples = 8;                  // responses per scene, at least 2
  double temperature = 1.2;         // of the responses
  double refine_temperature = 1.0;  // of the refinements
  double success_threshold = 0.8;   // s: below it a response is a failure
  int max_new_tokens = 256;
  uint64_t seed = 0;   // of samples, the choice of scenes and the bootstrap
  int limit = 0;       // scenes, drawn by seed; 0: all
  int batch_scenes = 8;  // per call of the engine
};

// One of the two. `client` answers every failed response or says why not; it gives no report in another's stead and
// remembers none. Not owned.
struct ComparedTeacher {
  std::string name;
  TeacherClient* client = nullptr;
};

// One scene's failed responses under one teacher.
struct ComparedGroup {
  double failures = 0;  // failed responses
  TeacherTally tally;   // what the teacher made of them
};

// A figure and the 95 % percentile bootstrap over whole groups. Infinite: something was spent and nothing won. NaN: there is
// nothing to divide by.
struct Estimate {
  double value = 0, low = 0, high = 0;
};

struct ComparedFigure {
  std::string name;  // "refinement_success", "pdms_gain", …
  std::string what;  // for people
  bool percent = false;
  std::array<Estimate, 2> of;  // A, B
  Estimate difference;         // B - A, the groups paired
};

struct Comparison {
  std::array<std::string, 2> names;
  std::array<TeacherTally, 2> totals;
  int scenes = 0, groups = 0;     // asked; with at least one failed response
  int responses = 0, failures = 0;
  uint64_t seed = 0;
  std::vector<ComparedFigure> figures;
};

// Blocks for the whole comparison; shows a progress bar. A response without a report, or whose feedback prompt the
// policy cannot take, counts as one that was not improved: no success, ΔPDMS 0. INVALID_ARGUMENT: no scenes, options out
// of range. FAILED_PRECONDITION: no response failed. Errors of engine, scorer and scene store end it: what they could not
// do is no teacher's fault.
absl::StatusOr<Comparison> CompareTeachers(Engine& engine, const SceneStore& store, RewardClient& reward,
                                           const std::array<ComparedTeacher, 2>& teachers,
                                           const ComparisonOptions& options);

// The figures of groups[i] under A and B. Pure; the same seed gives the same intervals.
std::vector<ComparedFigure> FiguresOf(const std::vector<std::array<ComparedGroup, 2>>& groups, uint64_t seed);

// What `swerve teachers compare` prints, and --out writes; infinite and missing numbers are null.
std::string ComparisonTable(const Comparison& comparison);
std::string ComparisonJson(const Comparison& comparison);

}  // namespace swerve

#endif  // SWERVE_EVALUATION_TEACHER_COMPARISON_H_
