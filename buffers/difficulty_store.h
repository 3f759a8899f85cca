// How hard each scene is for the policy: running mean and variance of its rewards. The orchestrator draws scenes by
// it; curation reads it.
#ifndef SWERVE_BUFFERS_DIFFICULTY_STORE_H_
#define SWERVE_BUFFERS_DIFFICULTY_STORE_H_

#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "base/status.h"
#include "swerve/v1/episode.pb.h"

namespace swerve {

// What one group's originals scored.
struct GroupOutcome {
  std::vector<double> r_traj;  // of the originals that were scored; masked ones left out
  std::vector<double> r_fmt;   // same order
  int64_t weight_version = 0;
};

// Adds one group to a record (Welford's update per response). Pure; an outcome without rewards changes nothing.
void AddOutcome(const GroupOutcome& outcome, v1::DifficultyRecord* record);

// Unbiased variance of r_traj; 0 for fewer than two responses.
double Variance(const v1::DifficultyRecord& record);

// Thread-safe, and safe for several processes at once. Errors as in episode_store.h.
class DifficultyStore {
 public:
  virtual ~DifficultyStore() = default;

  // Read-modify-write of the scene's record as one step: concurrent updates all count.
  virtual absl::Status Update(absl::string_view scene_id, const GroupOutcome& outcome) = 0;
  // NOT_FOUND: the scene was never scored.
  virtual absl::StatusOr<v1::DifficultyRecord> Get(absl::string_view scene_id) = 0;
  // Ascending by scene id.
  virtual absl::StatusOr<std::vector<v1::DifficultyRecord>> All() = 0;
};

}  // namespace swerve

#endif  // SWERVE_BUFFERS_DIFFICULTY_STORE_H_
