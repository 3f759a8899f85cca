// How good a policy is on a set of scenes, by the numbers of the PDM score (spec: PDM score, v1) and of the method
// (spec: algorithm §1, §5): the greedy answer of every scene, and the total-failure ratio over sampled ones.
#ifndef SWERVE_EVALUATION_EVAL_H_
#define SWERVE_EVALUATION_EVAL_H_

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "base/status.h"
#include "policy/engine.h"
#include "scenes/store.h"
#include "swerve/v1/response.pb.h"
#include "swerve/v1/reward.pb.h"

namespace swerve {

struct EvalOptions {
  int samples = 8;            // answers per scene that decide on total failure
  double temperature = 1.2;   // of the samples
  uint64_t seed = 0;          // of the samples, the choice of scenes and the bootstrap
  int max_scenes = 0;         // 0: all; else that many, drawn by seed
  int max_new_tokens = 256;
  int batch_scenes = 32;      // scenes per call of the engine
};

// One answer; a line of `eval --responses`.
struct EvalAnswer {
  std::string scene_id;
  std::string family;
  int sample = 0;  // 0: greedy; 1 … n: sampled
  double temperature = 0;
  v1::Response response;
  v1::Reward reward;
};

// What a scene adds to the averages.
struct SceneResult {
  std::string scene_id;
  std::string family;
  v1::SubScores greedy;        // zeros when the greedy answer could not be scored
  bool format_ok = false;      // greedy answer earned the whole format reward
  bool planning_ok = false;    // longitudinal and lateral meta-action are those of the ground truth
  bool total_failure = false;  // every sampled answer has PDMS 0
};

// Averages over scenes; shares and scores in [0,1].
struct EvalSummary {
  int scenes = 0;
  double pdms = 0;
  std::array<double, 2> pdms_ci95 = {0, 0};  // bootstrap over scenes, percentiles
  double total_failure_ratio = 0;
  double nc = 0, dac = 0, ttc = 0, comfort = 0, ep = 0;
  double format_ok = 0;
  double planning_accuracy = 0;
};

struct EvalResult {
  EvalSummary overall;
  std::map<std::string, EvalSummary> families;
};

// Called once per answer, scene by scene in store order, greedy first.
using AnswerSink = std::function<absl::Status(const EvalAnswer&)>;

// Generates, scores in this process and averages; shows a progress bar. Blocks for the whole evaluation. Deterministic in
// (weights, scenes, options). INVALID_ARGUMENT: no scenes, or a scene without 8 ground-truth poses or that cannot be
// scored (named). Errors of the engine, the store and the sink.
absl::StatusOr<EvalResult> Evaluate(Engine& engine, const SceneStore& store, const EvalOptions& options,
                                    const AnswerSink& sink = nullptr);

// The averages; pure. An empty span gives zeros.
EvalSummary Summarise(absl::Span<const SceneResult> scenes, uint64_t seed);
EvalResult SummariseByFamily(absl::Span<const SceneResult> scenes, uint64_t seed);

// Ids to evaluate, in store order.
std::vector<std::string> ChooseScenes(const SceneStore& store, int max_scenes, uint64_t seed);

}  // namespace swerve

#endif  // SWERVE_EVALUATION_EVAL_H_
