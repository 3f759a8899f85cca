// A real redis-server for tests and benches: on a unix socket in a directory of its own, no TCP port unless asked for.
// It dies with the process. Not thread-safe; Kill and Start may be called while others talk to the server.
#ifndef SWERVE_TESTS_TESTING_REDIS_SERVER_H_
#define SWERVE_TESTS_TESTING_REDIS_SERVER_H_

#include <arpa/inet.h>
#include <hiredis/hiredis.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "base/status.h"

namespace swerve {

class RedisServer {
 public:
  struct Options {
    std::string config;                  // file; empty: appendonly yes, noeviction, and the arguments
    std::vector<std::string> arguments;  // after the config, as on redis-server's command line
    std::string preload;                 // shared library, for LD_PRELOAD
  };
  explicit RedisServer(Options options = {}) : options_(std::move(options)) {
    char name[] = "/tmp/swerve-redis-XXXXXX";
    dir_ = mkdtemp(name);
  }
  ~RedisServer() {
    Kill();
    std::error_code ec;
    std::filesystem::remove_all(dir_, ec);
  }
  RedisServer(const RedisServer&) = delete;
  RedisServer& operator=(const RedisServer&) = delete;

  const std::string& dir() const { return dir_; }
  std::string socket() const { return dir_ + "/s"; }
  std::string url() const { return "unix://" + socket(); }
  std::string log() const { return dir_ + "/log"; }
  pid_t pid() const { return pid_; }
  void AddArguments(std::vector<std::string> more) {
    options_.arguments.insert(options_.arguments.end(), more.begin(), more.end());
  }

  // Starts it, or starts it again on the files it left; returns when it answers.
  absl::Status Start() {
    std::vector<std::string> argv = {"redis-server"};
    if (!options_.config.empty()) argv.push_back(options_.config);
    const std::vector<std::string> own = {"--port", "0", "--unixsocket", socket(), "--dir", dir_, "--logfile", log(),
                                          "--daemonize", "no"};
    argv.insert(argv.end(), own.begin(), own.end());
    if (options_.config.empty()) {
      for (const char* a : {"--appendonly", "yes", "--maxmemory-policy", "noeviction", "--save", ""}) argv.push_back(a);
    }
    argv.insert(argv.end(), options_.arguments.begin(), options_.arguments.end());
    std::vector<char*> raw;
    for (std::string& argument : argv) raw.push_back(argument.data());
    raw.push_back(nullptr);
    unlink(socket().c_str());
    const pid_t pid = fork();
    if (pid < 0) return absl::UnavailableError("fork failed");
    if (pid == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      if (!options_.preload.empty()) setenv("LD_PRELOAD", options_.preload.c_str(), 1);
      execvp(raw[0], raw.data());
      _exit(127);
    }
    pid_ = pid;
    return AwaitAnswer();
  }

  // As a crash: no goodbye, nothing flushed by the server.
  void Kill() {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    pid_ = 0;
  }

  // One command of words as the server's administrator (no login); its reply as text, errors with "-" before them.
  std::string Command(const std::vector<std::string>& words) const {
    redisContext* context = redisConnectUnix(socket().c_str());
    std::string text = "-no connection";
    if (context != nullptr && context->err == 0) {
      std::vector<const char*> argv;
      for (const std::string& word : words) argv.push_back(word.c_str());
      auto* reply = static_cast<redisReply*>(redisCommandArgv(context, static_cast<int>(argv.size()), argv.data(), nullptr));
      if (reply != nullptr) {
        if (reply->type == REDIS_REPLY_INTEGER) {
          text = std::to_string(reply->integer);
        } else {
          text = reply->str == nullptr ? "" : std::string(reply->str, reply->len);
        }
        if (reply->type == REDIS_REPLY_ERROR) text = "-" + text;
        freeReplyObject(reply);
      }
    }
    if (context != nullptr) redisFree(context);
    return text;
  }

  // A TCP port of loopback that was free just now.
  static int FreePort() {
    const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
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

 private:
  absl::Status AwaitAnswer() {
    const absl::Time until = absl::Now() + absl::Seconds(60);
    while (absl::Now() < until) {
      // Without a login the answer is an error, which is one too; loading is not ready.
      const std::string answer = Command({"PING"});
      if (answer.rfind("-no connection", 0) != 0 && answer.rfind("-LOADING", 0) != 0) return absl::OkStatus();
      if (waitpid(pid_, nullptr, WNOHANG) == pid_) {
        pid_ = 0;
        return absl::UnavailableError("redis-server ended at once; is it installed? see " + log());
      }
      absl::SleepFor(absl::Milliseconds(10));
    }
    return absl::DeadlineExceededError("redis-server does not answer; see " + log());
  }

  Options options_;
  std::string dir_;
  pid_t pid_ = 0;
};

}  // namespace swerve

#endif  // SWERVE_TESTS_TESTING_REDIS_SERVER_H_
