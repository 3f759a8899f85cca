#include "chaos/redis_process.h"

#include <arpa/inet.h>
#include <hiredis/hiredis.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>

#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "base/files.h"

namespace swerve {
namespace {

constexpr absl::Duration kPatience = absl::Seconds(20);

std::string FindInPath(const std::string& name) {
  const char* path = std::getenv("PATH");
  for (const absl::string_view folder : absl::StrSplit(path == nullptr ? "/usr/bin" : path, ':')) {
    const std::string file = absl::StrCat(folder, "/", name);
    if (access(file.c_str(), X_OK) == 0) return file;
  }
  return "";
}

// A port of loopback that was free just now.
int FreePort() {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  int port = 0;
  if (bind(fd, reinterpret_cast<sockaddr*>(&address), size) == 0 &&
      getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0) {
    port = ntohs(address.sin_port);
  }
  close(fd);
  return port;
}

}  // namespace

absl::StatusOr<std::unique_ptr<RedisProcess>> RedisProcess::Start(const std::string& dir) {
  const std::string binary = FindInPath("redis-server");
  if (binary.empty()) return absl::NotFoundError("buffers are to be in Redis and there is no redis-server in PATH");
  SWERVE_RETURN_IF_ERROR(MakeDirectories(dir));
  std::unique_ptr<RedisProcess> redis(new RedisProcess(binary, dir, FreePort()));
  SWERVE_RETURN_IF_ERROR(redis->StartAgain());
  const absl::Time until = absl::Now() + kPatience;
  while (!redis->Answers()) {
    if (redis->process_.Poll() || absl::Now() >= until) {
      return absl::UnavailableError(absl::StrCat("redis-server does not come up; see ", dir, "/redis.log"));
    }
    absl::SleepFor(absl::Milliseconds(20));
  }
  return redis;
}

absl::Status RedisProcess::StartAgain() {
  SWERVE_ASSIGN_OR_RETURN(
      process_, Process::Start({binary_, "--bind", "127.0.0.1", "--port", absl::StrCat(port_), "--dir", dir_, "--daemonize",
                                "no", "--appendonly", "yes", "--appendfsync", "always", "--maxmemory-policy", "noeviction",
                                "--save", ""},
                               dir_ + "/redis.log"));
  return absl::OkStatus();
}

void RedisProcess::Kill() { process_ = Process(); }

bool RedisProcess::Answers() const {
  const timeval patience = {0, 200000};
  redisContext* context = redisConnectWithTimeout("127.0.0.1", port_, patience);
  bool answers = false;
  if (context != nullptr && context->err == 0) {
    redisSetTimeout(context, patience);
    auto* reply = static_cast<redisReply*>(redisCommand(context, "PING"));
    answers = reply != nullptr && reply->type == REDIS_REPLY_STATUS;
    if (reply != nullptr) freeReplyObject(reply);
  }
  if (context != nullptr) redisFree(context);
  return answers;
}

}  // namespace swerve
