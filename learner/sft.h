// Supervised fine-tuning: a policy learns given answers to given prompts by cross-entropy. Torch-free header.
#ifndef SWERVE_LEARNER_SFT_H_
#define SWERVE_LEARNER_SFT_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/status.h"
#include "learner/sft_data.h"

namespace swerve {

struct SftTrainOptions {
  std::string model_dir;  // where training starts
  std::string out_dir;    // Hugging Face directory, written atomically
  uint64_t steps = 0;     // optimiser steps
  int batch = 32;         // examples a step
  int micro_batch = 32;   // examples a forward pass
  double learning_rate = 1e-3;
  double weight_decay = 0.05;
  double warmup_ratio = 0.03;
  double max_grad_norm = 1.0;
  std::string lr_scheduler = "cosine";
  int threads = 1;        // compute threads; another one makes the examples
  std::string device = "cpu";
  int lora_rank = 0;      // 0: all weights; otherwise adapters alone, merged into out_dir and by themselves in out_dir/adapter
  double lora_alpha = 32;
  std::vector<std::string> lora_target_modules;  // empty: every linear layer of the decoder
  uint64_t seed = 0;      // of the adapters' start
  uint64_t checkpoint_every = 500;  // steps; 0: none. In <out_dir>.checkpoints, removed when training is done
  bool resume = false;              // go on from the newest of them
};

// Example number i, in training order; called on the thread that prepares batches. INVALID_ARGUMENT: the example is
// left out and counted; any other error ends the training.
using SftSource = std::function<absl::StatusOr<SftExample>(uint64_t i)>;

struct SftResult {
  double first_loss = 0;  // nats per token, mean of the first tenth of the steps
  double last_loss = 0;   // of the last tenth
  uint64_t left_out = 0;  // examples that could not be made
  double seconds = 0;
};

// Deterministic in (options, examples) for a given number of threads; a resumed training gives the same bytes as an
// uninterrupted one. Blocks; shows progress on stderr. On Stop (base/stop.h) it leaves a checkpoint: CANCELLED.
absl::StatusOr<SftResult> TrainSft(const SftTrainOptions& options, const SftSource& source);

}  // namespace swerve

#endif  // SWERVE_LEARNER_SFT_H_
