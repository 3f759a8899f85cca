// Buffers in a Redis 7 server, for runs over several machines. One server and db may hold many runs: every key begins
// with swerve:{RUN_ID}:.
//
// Durability is the server's. With appendfsync always, what was answered OK outlives the server's death and loss of
// power. With everysec either may take back up to about two seconds: while a sync is under way Redis answers before it
// writes. With no, death takes nothing and loss of power all that the kernel had not written.
// tests/buffers/redis_durability_test.cc shows each.
//
// Appends that threads make at the same time share a transaction: one write, and one sync, of the server's file.
//
// Un-acknowledged episodes belong to no consumer: whoever reads gets them all, so another learner takes over a dead
// one's at once and without a time-out; the checkpoint says which of them it has trained on.
//
// Memory is bounded by `max_waiting_bytes` and by the server's maxmemory: a full store refuses appends with
// RESOURCE_EXHAUSTED, still takes acknowledgements, and never throws anything away. What stays of an acknowledged
// group is its identity, about 100 bytes.
#ifndef SWERVE_BUFFERS_REDIS_BUFFERS_H_
#define SWERVE_BUFFERS_REDIS_BUFFERS_H_

#include <memory>
#include <string>

#include "buffers/buffers.h"
#include "buffers/redis_client.h"

namespace swerve {

struct RedisBuffersOptions {
  RedisClient::Options client;  // `prepare` is set by the store
  std::string run_id;
  // Marks the run directory: a run id that another one uses in this Redis is refused. Empty: not checked.
  std::string owner;
  bool allow_volatile = false;
  uint64_t max_waiting_bytes = uint64_t{1} << 30;
};

// Connects and checks the server's settings (redis_settings.h), again on every new connection. Errors: as OpenBuffers;
// UNAVAILABLE: no server within the client's patience; FAILED_PRECONDITION: settings, a server before 7, or the run is
// another directory's; PERMISSION_DENIED: login or rights.
// A call on a store whose server is away reconnects for `patience`, then fails with UNAVAILABLE.
absl::StatusOr<std::unique_ptr<Buffers>> OpenRedisBuffers(RedisBuffersOptions options);

}  // namespace swerve

#endif  // SWERVE_BUFFERS_REDIS_BUFFERS_H_
