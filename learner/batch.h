// Episodes as rows of one optimiser batch: originals, then selected refinements, group after group, all under the base
// prompt. Plain values; torch-free.
#ifndef SWERVE_LEARNER_BATCH_H_
#define SWERVE_LEARNER_BATCH_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "base/image.h"
#include "learner/objective.h"
#include "learner/objective_config.h"
#include "policy/model_config.h"
#include "swerve/v1/episode.pb.h"

namespace swerve {

struct BatchGroup {
  uint64_t group = 0;  // admission number
  std::string scene_id;
  std::vector<int32_t> prompt_ids;     // base prompt, image tokens expanded
  std::shared_ptr<const Image> image;  // null for a text model
};

struct BatchRow {
  int group = 0;  // index into groups
  std::vector<int32_t> response_ids;
  std::vector<double> old_lp;  // sampling log-probabilities; empty for refinements
  bool current = false;        // every token of it was sampled with the weights that the learner has before this batch
};

struct Batch {
  std::vector<BatchGroup> groups;
  std::vector<BatchRow> rows;
  std::vector<ObjectiveRow> objective;  // parallel to rows
  std::map<std::string, double> metrics;  // of the data: rewards, failures, lengths, staleness, dropped episodes
  double clock_share = 0;  // of learner.max_seconds that is over, 0 … 1; 0 where steps alone end the run
};

// The picture a scene's base prompt was asked with. NOT_FOUND: unknown scene.
using ImageSource = std::function<absl::StatusOr<std::shared_ptr<const Image>>(const std::string& scene_id)>;

// Why the policy cannot take a row, one of DropReasons(); empty: it can.
using RowCheck = std::function<std::string(const BatchGroup& group, const BatchRow& row)>;

// The check for a model: its vocabulary, positions and image placeholders. Copies what it needs.
RowCheck ChecksOf(const ModelConfig& model);

// Why an episode may be left out of a batch. A small fixed set, for metric names.
const std::vector<std::string>& DropReasons();

// A sample that was not scored, or whose tokens and log-probabilities do not match, is a masked row. A refinement row
// exists where one was selected and the objective has a place for it (never more than its k). An episode that cannot be
// trained on (nothing usable in it, its scene is gone, `check` refuses a row, a number is not finite) is left out and
// counted in metrics "train/episodes_dropped" and "train/dropped_by_reason/<reason>": damaged data costs its group,
// never the run. `version`: weight version before this batch's step. Retryable errors of `images` are returned.
absl::StatusOr<Batch> MakeBatch(absl::Span<const v1::Episode> episodes, const ObjectiveSettings& objective,
                                const ImageSource& images, int64_t version, const RowCheck& check = {});

// What the episodes tell, by TensorBoard name; values that no row supports are absent.
std::map<std::string, double> DataMetrics(absl::Span<const v1::Episode> episodes, double success_threshold,
                                          int64_t version);

}  // namespace swerve

#endif  // SWERVE_LEARNER_BATCH_H_
