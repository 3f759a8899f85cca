// Commands to one Redis server from many threads over one connection. Threads that call at the same time share a
// pipeline: one of them sends what all have queued and hands out the replies, so that a server which fsyncs once per
// round of its loop fsyncs once for all of them. No thread of its own.
#ifndef SWERVE_BUFFERS_REDIS_CLIENT_H_
#define SWERVE_BUFFERS_REDIS_CLIENT_H_

#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "base/random.h"
#include "base/status.h"
#include "buffers/redis_connection.h"

namespace swerve {

// Pauses between attempts: 50 ms doubling to 2 s, each times a random factor of 0.5 … 1.5. Not thread-safe.
class Backoff {
 public:
  explicit Backoff(uint64_t seed) : random_(seed) {}
  absl::Duration Next();
  void Reset() { pause_ = absl::Milliseconds(50); }

 private:
  Random random_;
  absl::Duration pause_ = absl::Milliseconds(50);
};

// Thread-safe. Calls block: on the server and, while it is away, on reconnecting, at most about twice `patience` (a
// call may wait for another that just gives up).
class RedisClient {
 public:
  struct Options {
    RedisConnection::Options connection;
    absl::Duration patience = absl::Seconds(20);  // of reconnecting before UNAVAILABLE
    // Runs on every new connection before anything else; not retried unless it says UNAVAILABLE.
    std::function<absl::Status(RedisConnection&)> prepare;
    std::function<absl::Time()> now;             // default: absl::Now
    std::function<void(absl::Duration)> sleep;   // default: absl::SleepFor
    uint64_t seed = 0;                           // of the jitter
  };
  explicit RedisClient(Options options);

  // One reply per command, errors among them only such as will not pass by themselves. A command whose reply was lost
  // with the connection is sent again, and so may run twice, also later than one sent after it: it must be idempotent.
  // Commands that are passed together are sent together, in order. UNAVAILABLE: the server stayed away.
  absl::StatusOr<std::vector<RedisReply>> RunAll(std::vector<RedisCommand> commands);

  // One command; an error reply as a status.
  absl::StatusOr<RedisReply> Run(RedisCommand command);

 private:
  struct Call {
    std::vector<RedisCommand> commands;
    std::vector<RedisReply> replies;
    absl::Status status;
    size_t bytes = 0;
    bool done = false;
  };

  // For the leader alone, without the mutex.
  absl::Status Serve(const std::vector<Call*>& calls);
  absl::Status Connect();
  absl::Status Attempt(std::vector<std::pair<const RedisCommand*, RedisReply*>>* open);
  std::vector<Call*> TakeBatch() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const Options options_;
  absl::Mutex mu_;
  bool led_ ABSL_GUARDED_BY(mu_) = false;  // a leader is at work
  std::deque<Call*> queue_ ABSL_GUARDED_BY(mu_);
  // Of the leader: the thread that set led_.
  std::unique_ptr<RedisConnection> connection_;
  Backoff backoff_;
  bool was_connected_ = false;
};

}  // namespace swerve

#endif  // SWERVE_BUFFERS_REDIS_CLIENT_H_
