// Appends of many threads, several to a transaction (MULTI … EXEC): their episodes go to Redis as they are, one small
// script takes them in, and the server's append-only file is written, and synced, once for all of them.
#ifndef SWERVE_BUFFERS_REDIS_APPENDS_H_
#define SWERVE_BUFFERS_REDIS_APPENDS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "buffers/combiner.h"
#include "buffers/redis_client.h"

namespace swerve {

// Thread-safe; calls block as the client's do.
class RedisAppends {
 public:
  // `keys` begins the names of the run's keys (redis_scripts.h); `script` is the SHA-1 of kAppendScript, which the
  // client loads on every connection. `client` must outlive this.
  RedisAppends(RedisClient* client, std::string keys, std::string script, uint64_t max_waiting_bytes);

  // `identity`: "attempt scene". Errors as EpisodeStore::Append.
  absl::Status Append(uint64_t group, std::string identity, std::string episode);

 private:
  struct Item {
    uint64_t group = 0;
    std::string identity, episode;
    size_t bytes = 0;
    absl::Status status;
  };
  void Serve(const std::vector<Item*>& batch);
  std::vector<RedisCommand> Transaction(const std::vector<Item*>& batch) const;
  absl::Status Take(const std::vector<Item*>& batch, const std::vector<RedisReply>& replies) const;

  RedisClient* const client_;
  const std::string keys_, script_;
  const uint64_t max_waiting_bytes_;
  Combiner<Item> items_;
};

}  // namespace swerve

#endif  // SWERVE_BUFFERS_REDIS_APPENDS_H_
