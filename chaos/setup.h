// What a chaos run is made of before it starts: its directory, configuration, scenes, and the services of the harness.
// Main thread only.
#ifndef SWERVE_CHAOS_SETUP_H_
#define SWERVE_CHAOS_SETUP_H_

#include <memory>
#include <string>
#include <vector>

#include "base/role_files.h"
#include "base/status.h"
#include "chaos/faulty_teacher.h"
#include "chaos/harness.h"
#include "chaos/lines.h"
#include "chaos/redis_process.h"
#include "chaos/small_disk.h"
#include "swerve/v1/config.pb.h"

namespace swerve {

struct ChaosSetup {
  std::string out;
  RunDir run{""};
  v1::RunConfig config;                 // resolved
  std::vector<std::string> train;       // arguments of `swerve`, without --resume
  std::unique_ptr<SmallDisk> disk;      // null: see no_disk
  std::string no_disk;                  // why the disk cannot be filled; "": it can
  std::unique_ptr<RedisProcess> redis;  // null: buffers are not in Redis
  std::unique_ptr<FaultyTeacher> teacher;
  std::unique_ptr<Lines> lines;
};

// Empties `out` if it is a chaos run's, generates scenes where the configuration names none (swerve scenes generate),
// starts the services. INVALID_ARGUMENT: `out` holds something else; errors of the configuration.
absl::StatusOr<ChaosSetup> SetUpChaos(const ChaosOptions& options);

}  // namespace swerve

#endif  // SWERVE_CHAOS_SETUP_H_
