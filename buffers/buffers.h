// Opens the run's buffers by URL. A run's workers, learner and orchestrator all open the same URL.
#ifndef SWERVE_BUFFERS_BUFFERS_H_
#define SWERVE_BUFFERS_BUFFERS_H_

#include <memory>
#include <string>

#include "buffers/difficulty_store.h"
#include "buffers/episode_store.h"
#include "swerve/v1/config.pb.h"

namespace swerve {

// Owns both stores; they are valid as long as it lives. Thread-safe.
class Buffers {
 public:
  virtual ~Buffers() = default;
  virtual EpisodeStore& episodes() = 0;
  virtual DifficultyStore& difficulty() = 0;
};

// By config.url. "sqlite": <run_dir>/buffers.sqlite, made when absent; "sqlite:///absolute/path": that file, which
// holds one run. "redis://…", "unix:///…": a Redis 7 server (redis_buffers.h), which may hold many runs; its password is
// the URL's, else what config.password_file holds, else that of the environment (kRedisPasswordVariable).
// `run_id` names the run whose episodes are stored. With Redis <run_dir>/buffers.owner is made when absent: it tells
// this run directory from another one whose run has the same id.
// INVALID_ARGUMENT: any other URL. FAILED_PRECONDITION: the file, or the run id in Redis, belongs to another run; or
// Redis has dangerous settings. No message holds a password.
absl::StatusOr<std::unique_ptr<Buffers>> OpenBuffers(const v1::BuffersConfig& config, const std::string& run_dir,
                                                     const std::string& run_id);

// The same with every other setting at its default.
absl::StatusOr<std::unique_ptr<Buffers>> OpenBuffers(const std::string& url, const std::string& run_dir,
                                                     const std::string& run_id);

inline constexpr char kRedisPasswordVariable[] = "SWERVE_REDIS_PASSWORD";

// Moves the password of a Redis URL into this process's environment, where child processes find it. Not thread-safe:
// call it before the first thread.
void ExportRedisPassword(v1::BuffersConfig* config);

}  // namespace swerve

#endif  // SWERVE_BUFFERS_BUFFERS_H_
