// One optimiser batch at a time: log-probabilities, the objective's gradient, AdamW. Torch-free header, so that the
// loop around it (learner/loop.h) is tested without LibTorch.
#ifndef SWERVE_LEARNER_TRAINER_H_
#define SWERVE_LEARNER_TRAINER_H_

#include <map>
#include <memory>
#include <string>

#include "base/status.h"
#include "learner/batch.h"
#include "swerve/v1/config.pb.h"

namespace swerve {

// Owned and called by one thread, the learner's main one. Blocks while it computes.
class Trainer {
 public:
  virtual ~Trainer() = default;

  // num_iterations passes over the batch: rows in micro-batches, one optimiser step a pass. A plan with nothing to
  // learn from changes nothing. Returns metrics by TensorBoard name. INTERNAL: LibTorch failed or the numbers are not
  // finite; the weights are then as before the pass.
  virtual absl::StatusOr<std::map<std::string, double>> Train(const Batch& batch, const ObjectivePlan& plan) = 0;

  // The weights as a Hugging Face directory; complete or not at all. Adapters are merged, and beside that in adapter/.
  virtual absl::Status SavePolicy(const std::string& dir) = 0;

  // Everything that decides the next step: weights, moments, counters. Save fills `dir`, which exists.
  virtual absl::Status SaveState(const std::string& dir) = 0;
  virtual absl::Status LoadState(const std::string& dir) = 0;
};

// The policy to train and the frozen reference both start from config.policy.model. NOT_FOUND, INVALID_ARGUMENT,
// UNAVAILABLE (device). In swerve_learner (LibTorch).
absl::StatusOr<std::unique_ptr<Trainer>> CreateTrainer(const v1::RunConfig& config);

}  // namespace swerve

#endif  // SWERVE_LEARNER_TRAINER_H_
