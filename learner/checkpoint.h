// Checkpoints of a training run: directories that exist complete or not at all.
//
//   DIR/step-00000007/…          what the trainer writes (weights, optimiser)
//   DIR/step-00000007/state.json step, files with their sizes, and what the caller keeps (version, consumed groups)
//
// Written under writing-…, removed under removing-…: what has a checkpoint's name was complete when it got it. A directory
// under another name, without state.json, or with a file missing or cut short is not a checkpoint and is
// passed over. One writer; not thread-safe. Torch-free.
#ifndef SWERVE_LEARNER_CHECKPOINT_H_
#define SWERVE_LEARNER_CHECKPOINT_H_

#include <cstdint>
#include <functional>
#include <string>

#include <nlohmann/json.hpp>

#include "base/status.h"

namespace swerve {

struct Checkpoint {
  uint64_t step = 0;
  std::string dir;
  nlohmann::json state;  // as the caller gave it
};

class CheckpointStore {
 public:
  // Keeps the newest `keep` (at least 1).
  CheckpointStore(std::string dir, int keep) : dir_(std::move(dir)), keep_(keep < 1 ? 1 : keep) {}

  // `write(dir)` fills a temporary directory, which then appears as step-N with `state`; older ones are removed.
  // A checkpoint of the same step is replaced. On error nothing appears.
  absl::Status Save(uint64_t step, const nlohmann::json& state, const std::function<absl::Status(const std::string&)>& write);

  // The complete checkpoint of the highest step. NOT_FOUND: none.
  absl::StatusOr<Checkpoint> Newest() const;

 private:
  const std::string dir_;
  const int keep_;
};

}  // namespace swerve

#endif  // SWERVE_LEARNER_CHECKPOINT_H_
