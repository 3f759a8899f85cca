// Finished groups on their way from rollout workers to the learner. An episode stays in the store until the learner
// acknowledges it, which it does only after the checkpoint that contains the episode (architecture §3): whatever dies,
// no episode is lost or trained twice.
//
// Every implementation passes tests/testing/episode_store_conformance.h.
#ifndef SWERVE_BUFFERS_EPISODE_STORE_H_
#define SWERVE_BUFFERS_EPISODE_STORE_H_

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "base/status.h"
#include "swerve/v1/episode.pb.h"

namespace swerve {

struct EpisodeStats {
  uint64_t appended = 0;      // groups ever stored
  uint64_t acknowledged = 0;  // of those, acknowledged
  uint64_t waiting() const { return appended - acknowledged; }
};

// Thread-safe, and safe for several processes at once. Calls block on storage, not on each other's consumers.
// Common errors: UNAVAILABLE (storage busy or unreachable; try again), RESOURCE_EXHAUSTED (full), DATA_LOSS (damaged),
// INTERNAL.
class EpisodeStore {
 public:
  virtual ~EpisodeStore() = default;

  // Durable when it returns OK. Idempotent: the same (run, scene, group, attempt) again is OK and changes nothing,
  // also after the acknowledgement. ALREADY_EXISTS: another attempt of this group, or another scene under its number,
  // is stored; the caller drops its duplicate. FAILED_PRECONDITION: an episode of another run.
  // INVALID_ARGUMENT: no run or scene id.
  virtual absl::Status Append(const v1::Episode& episode) = 0;

  // Un-acknowledged episodes with group >= min_group, ascending by group, at most `max`. Reading changes nothing.
  virtual absl::StatusOr<std::vector<v1::Episode>> Read(uint64_t min_group, int max) = 0;

  // The groups' episodes will never be read again (their bytes may go; their identity stays, so a late Append of the
  // same group is still recognised). All or none; idempotent. NOT_FOUND names a group that was never stored.
  virtual absl::Status Ack(absl::Span<const uint64_t> groups) = 0;

  virtual absl::StatusOr<EpisodeStats> Stats() = 0;
};

}  // namespace swerve

#endif  // SWERVE_BUFFERS_EPISODE_STORE_H_
