// The harness's own redis-server: on a free port of loopback, append-only with appendfsync always, in a directory that
// survives its death. Main thread only (orchestrator/process.h).
#ifndef SWERVE_CHAOS_REDIS_PROCESS_H_
#define SWERVE_CHAOS_REDIS_PROCESS_H_

#include <memory>
#include <string>

#include "absl/time/time.h"
#include "base/status.h"
#include "orchestrator/process.h"

namespace swerve {

class RedisProcess {
 public:
  // Files and log go to `dir`. Returns when the server answers. NOT_FOUND: no redis-server in PATH; UNAVAILABLE: it
  // does not come up.
  static absl::StatusOr<std::unique_ptr<RedisProcess>> Start(const std::string& dir);

  int port() const { return port_; }
  pid_t pid() const { return process_.pid(); }
  // SIGKILL, and waits for the end.
  void Kill();
  // On the files it left; does not wait for it to answer.
  absl::Status StartAgain();
  // Whether it answers a PING.
  bool Answers() const;

 private:
  RedisProcess(std::string binary, std::string dir, int port) : binary_(std::move(binary)), dir_(std::move(dir)), port_(port) {}
  const std::string binary_, dir_;
  const int port_;
  Process process_;
};

}  // namespace swerve

#endif  // SWERVE_CHAOS_REDIS_PROCESS_H_
