// Commands to one Redis server from many threads over a few connections. Threads that call at the same time share a
// pipeline (combiner.h): one of them sends what all have queued and hands out the replies, so that a server which
// fsyncs once per round of its loop fsyncs once for all of them. No thread of its own.
#ifndef SWERVE_BUFFERS_REDIS_CLIENT_H_
#define SWERVE_BUFFERS_REDIS_CLIENT_H_

#include <functional>
#include <memory>
#include <vector>

#include "absl/time/time.h"
#include "base/random.h"
#include "base/status.h"
#include "buffers/combiner.h"
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
    // More than one, so that the server has work while this process looks at replies. Opened when first needed.
    int connections = 2;
    absl::Duration patience = absl::Seconds(20);  // of reconnecting before UNAVAILABLE
    // Runs on every new connection before anything else; not retried unless it says UNAVAILABLE.
    std::function<absl::Status(RedisConnection&)> prepare;
    std::function<absl::Time()> now;             // default: absl::Now
    std::function<void(absl::Duration)> sleep;   // default: absl::SleepFor
    uint64_t seed = 0;                           // of the jitter
  };
  explicit RedisClient(Options options);

  // One reply per command, errors among them only such as will not pass by themselves. The commands are sent together,
  // in order, and when a reply among theirs is lost with the connection they are all sent again, so that a transaction
  // stays whole. They may run twice, then, also later than what was sent after them, and must be idempotent together.
  // UNAVAILABLE: the server stayed away.
  absl::StatusOr<std::vector<RedisReply>> RunAll(std::vector<RedisCommand> commands);

  // The same, but each reply goes to `take` as it arrives, so that few of them are held at once. It runs in the thread
  // of any caller, and for all replies again when the commands are sent again.
  using Take = std::function<void(size_t command, const redisReply& reply)>;
  absl::Status RunEach(std::vector<RedisCommand> commands, Take take);

  // One command; an error reply as a status.
  absl::StatusOr<RedisReply> Run(RedisCommand command);

 private:
  struct Call {
    std::vector<RedisCommand> commands;
    std::vector<RedisReply> replies;
    Take take;            // instead of replies
    size_t answered = 0;  // commands
    absl::Status status;  // not OK: to be sent again, or failed
    size_t bytes = 0;
  };
  // A connection, and who serves it (combiner.h).
  struct Lane {
    explicit Lane(uint64_t seed) : backoff(seed) {}
    std::unique_ptr<RedisConnection> connection;
    Backoff backoff;
    bool was_connected = false;
  };

  void Run(Call* call);
  void Serve(Lane& lane, const std::vector<Call*>& calls);
  absl::Status ServeAll(Lane& lane, std::vector<Call*> open);
  absl::Status Connect(Lane& lane);
  absl::Status Attempt(Lane& lane, std::vector<Call*>* open);

  const Options options_;
  std::vector<Lane> lanes_;
  Combiner<Call> calls_;
};

}  // namespace swerve

#endif  // SWERVE_BUFFERS_REDIS_CLIENT_H_
