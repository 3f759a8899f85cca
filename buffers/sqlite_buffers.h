// Buffers in one SQLite file. Why SQLite: several processes on one machine read and write the same file with real
// transactions and no server, a kill at any instant leaves the last committed state, any tool can open it, and Debian
// carries it; RocksDB and LevelDB admit one process only, and a format of our own would have to earn that trust.
//
// WAL mode: the learner reads while workers append. synchronous=FULL, so that an acknowledged append or ack survives
// loss of power as well as SIGKILL: a lost ack would train a group twice. It costs one fsync of the log per group,
// some milliseconds against seconds of generation. Two writers wait for each other up to 10 s, then UNAVAILABLE.
// The file must be on a local disk: WAL needs shared memory between the processes.
#ifndef SWERVE_BUFFERS_SQLITE_BUFFERS_H_
#define SWERVE_BUFFERS_SQLITE_BUFFERS_H_

#include <memory>
#include <string>

#include "buffers/buffers.h"

namespace swerve {

// Opens or makes `path`. Errors: as OpenBuffers, and DATA_LOSS when the file is no usable database.
absl::StatusOr<std::unique_ptr<Buffers>> OpenSqliteBuffers(const std::string& path, const std::string& run_id);

}  // namespace swerve

#endif  // SWERVE_BUFFERS_SQLITE_BUFFERS_H_
