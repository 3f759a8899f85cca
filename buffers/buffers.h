// Opens the run's buffers by URL. A run's workers, learner and orchestrator all open the same URL.
#ifndef SWERVE_BUFFERS_BUFFERS_H_
#define SWERVE_BUFFERS_BUFFERS_H_

#include <memory>
#include <string>

#include "buffers/difficulty_store.h"
#include "buffers/episode_store.h"

namespace swerve {

// Owns both stores; they are valid as long as it lives. Thread-safe.
class Buffers {
 public:
  virtual ~Buffers() = default;
  virtual EpisodeStore& episodes() = 0;
  virtual DifficultyStore& difficulty() = 0;
};

// "sqlite": <run_dir>/buffers.sqlite, made when absent; "sqlite:///absolute/path": that file. `run_id` names the run
// whose episodes are stored; a file holds one run.
// UNIMPLEMENTED: redis://… INVALID_ARGUMENT: any other URL. FAILED_PRECONDITION: the file belongs to another run.
absl::StatusOr<std::unique_ptr<Buffers>> OpenBuffers(const std::string& url, const std::string& run_dir,
                                                     const std::string& run_id);

}  // namespace swerve

#endif  // SWERVE_BUFFERS_BUFFERS_H_
