// `swerve policy train-bench`: how fast a model trains. Blocks; prints to stdout.
#ifndef SWERVE_LEARNER_TRAIN_BENCH_H_
#define SWERVE_LEARNER_TRAIN_BENCH_H_

#include <string>

#include "absl/status/status.h"

namespace CLI {
class App;
}

namespace swerve {

struct TrainBenchOptions {
  std::string model = "models/tiny";
  int sequences = 32, length = 200;  // rows of a step, and the tokens of each, prompt and response
  int group = 8;                     // rows that share a prompt
  int tokens = 140;                  // of a row's response; what is left of `length` is its prompt, 2 at least
  int micro_batch = 32;              // rows of a forward pass
  int steps = 4;                     // the fastest counts, the first apart where there are others
  int threads = 1;
  bool gradient_checkpointing = false;
  std::string device = "cpu";        // or cuda:N
  std::string dtype = "float32";     // that matrices are multiplied in: float32, bfloat16; weights and moments are float32
};

// Steps as the trainer makes them (learner/trainer.h): forward, backward, clipping and AdamW over all weights but those of
// the vision tower. One JSON line: tokens and rows per second, peak memory, and the share of what this machine's arithmetic
// allows at most for the work that is needed, each prompt once. Errors as Policy::Load gives them.
absl::Status TrainBench(const TrainBenchOptions& options);

// Adds `train-bench` to `swerve policy`.
void AddTrainBenchCommand(CLI::App& policy);

}  // namespace swerve

#endif  // SWERVE_LEARNER_TRAIN_BENCH_H_
