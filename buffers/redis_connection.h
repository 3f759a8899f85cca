// One connection to a Redis server through hiredis, with status codes and RAII. Not thread-safe.
#ifndef SWERVE_BUFFERS_REDIS_CONNECTION_H_
#define SWERVE_BUFFERS_REDIS_CONNECTION_H_

#include <hiredis/hiredis.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "base/redis_url.h"
#include "base/status.h"

namespace swerve {

struct FreeRedis {
  void operator()(redisReply* reply) const { freeReplyObject(reply); }
  void operator()(redisContext* context) const { redisFree(context); }
};
using RedisReply = std::unique_ptr<redisReply, FreeRedis>;

// A command and its arguments; any bytes.
using RedisCommand = std::vector<std::string>;

inline absl::string_view TextOf(const redisReply& reply) { return {reply.str, static_cast<size_t>(reply.len)}; }

// OK unless the reply is an error. RESOURCE_EXHAUSTED: out of memory. UNAVAILABLE: a server that will answer later
// (loading, read-only during a failover, scripts lost). PERMISSION_DENIED: login or ACL. FAILED_PRECONDITION: keys of
// another kind in the way. INTERNAL: any other. The server's text goes along; it holds no password.
absl::Status StatusOf(const redisReply& reply);

// The same of the reply and, when it is an array (a transaction's), of the replies in it: the first error.
absl::Status StatusOfAll(const redisReply& reply);

class RedisConnection {
 public:
  struct Options {
    RedisUrl url;  // with the password
    absl::Duration connect_timeout = absl::Seconds(3);
    absl::Duration reply_timeout = absl::Seconds(10);  // without a byte from the server
  };

  // Connects, logs in, chooses the database. UNAVAILABLE: nobody answers. Else as StatusOf. Messages name the server
  // without the password.
  static absl::StatusOr<std::unique_ptr<RedisConnection>> Open(const Options& options);

  // Takes the reply to command `i`; error replies are replies.
  using Take = absl::FunctionRef<void(size_t i, RedisReply reply)>;

  // Sends all commands before it reads the first reply, long arguments without a copy. `take` gets each reply, in
  // order, as it arrives; when the connection breaks (UNAVAILABLE) it has had those that arrived before, and the
  // connection must be closed.
  absl::Status Exchange(absl::Span<const RedisCommand* const> commands, Take take);

  // One command; an error reply as a status.
  absl::StatusOr<RedisReply> Run(const RedisCommand& command);

 private:
  RedisConnection(std::string name, redisContext* context);
  absl::Status Broken(absl::string_view what, absl::string_view why) const;
  absl::Status Send(absl::Span<const RedisCommand* const> commands);
  absl::StatusOr<RedisReply> Receive();

  const std::string name_;  // the URL without password
  const std::unique_ptr<redisContext, FreeRedis> context_;
  const std::unique_ptr<char[]> received_;
};

}  // namespace swerve

#endif  // SWERVE_BUFFERS_REDIS_CONNECTION_H_
