#include "buffers/redis_connection.h"

#include <csignal>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace swerve {
namespace {

// hiredis writes to sockets that may be closed: the signal would end the process before the error is seen.
void IgnoreSigpipe() {
  static const bool done = [] {
    struct sigaction current = {};
    if (sigaction(SIGPIPE, nullptr, &current) == 0 && current.sa_handler == SIG_DFL) signal(SIGPIPE, SIG_IGN);
    return true;
  }();
  static_cast<void>(done);
}

redisContext* Connect(const RedisUrl& url, const timeval& timeout) {
  return url.unix_path.empty() ? redisConnectWithTimeout(url.host.c_str(), url.port, timeout)
                               : redisConnectUnixWithTimeout(url.unix_path.c_str(), timeout);
}

absl::Status LogIn(const RedisUrl& url, RedisConnection* connection) {
  if (!url.password.empty()) {
    RedisCommand auth = {"AUTH", url.password};
    if (!url.user.empty()) auth.insert(auth.begin() + 1, url.user);
    SWERVE_RETURN_IF_ERROR(connection->Run(auth).status());
  }
  if (url.db != 0) SWERVE_RETURN_IF_ERROR(connection->Run({"SELECT", absl::StrCat(url.db)}).status());
  return absl::OkStatus();
}

}  // namespace

absl::Status StatusOf(const redisReply& reply) {
  if (reply.type != REDIS_REPLY_ERROR) return absl::OkStatus();
  const absl::string_view text = TextOf(reply);
  const absl::string_view kind = text.substr(0, text.find(' '));
  const std::string message = absl::StrCat("redis: ", text);
  if (kind == "OOM") {
    return absl::ResourceExhaustedError(absl::StrCat(message, " (raise maxmemory, or wait for the learner)"));
  }
  if (kind == "WRONGPASS" || kind == "NOAUTH") {
    return absl::PermissionDeniedError(absl::StrCat(
        message, " (give user and password by buffers.url, buffers.password_file or SWERVE_REDIS_PASSWORD)"));
  }
  if (kind == "NOPERM") {
    return absl::PermissionDeniedError(absl::StrCat(message, " (deploy/redis/users.acl has the rights needed)"));
  }
  for (const char* passing : {"LOADING", "READONLY", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "BUSY", "NOSCRIPT", "MISCONF"}) {
    if (kind == passing) return absl::UnavailableError(message);
  }
  if (absl::StrContains(text, "max number of clients")) return absl::UnavailableError(message);
  if (kind == "WRONGTYPE") {
    return absl::FailedPreconditionError(absl::StrCat(message, " (another program uses keys swerve:*; use another db)"));
  }
  return absl::InternalError(message);
}

absl::StatusOr<std::unique_ptr<RedisConnection>> RedisConnection::Open(const Options& options) {
  IgnoreSigpipe();
  const std::string name = options.url.ToString();
  std::unique_ptr<redisContext, FreeRedis> context(Connect(options.url, absl::ToTimeval(options.connect_timeout)));
  if (context == nullptr) return absl::ResourceExhaustedError(absl::StrCat(name, ": no memory for a connection"));
  if (context->err != 0) {
    return absl::UnavailableError(absl::StrCat(name, ": cannot connect: ", context->errstr, "; does redis-server run?"));
  }
  redisSetTimeout(context.get(), absl::ToTimeval(options.reply_timeout));
  if (options.url.unix_path.empty()) redisEnableKeepAlive(context.get());
  auto connection = std::unique_ptr<RedisConnection>(new RedisConnection(name, context.release()));
  SWERVE_RETURN_IF_ERROR(Annotate(LogIn(options.url, connection.get()), name));
  return connection;
}

absl::Status RedisConnection::Broken(absl::string_view what) const {
  return absl::UnavailableError(absl::StrCat(name_, ": ", what, ": ", context_->errstr));
}

absl::Status RedisConnection::Exchange(absl::Span<const RedisCommand* const> commands,
                                       std::vector<RedisReply>* replies) {
  for (const RedisCommand* command : commands) {
    std::vector<const char*> arguments;
    std::vector<size_t> sizes;
    for (const std::string& argument : *command) {
      arguments.push_back(argument.data());
      sizes.push_back(argument.size());
    }
    if (redisAppendCommandArgv(context_.get(), static_cast<int>(arguments.size()), arguments.data(), sizes.data()) !=
        REDIS_OK) {
      return Broken("cannot send");
    }
  }
  for (size_t i = 0; i < commands.size(); ++i) {
    void* reply = nullptr;
    if (redisGetReply(context_.get(), &reply) != REDIS_OK || reply == nullptr) return Broken("connection lost");
    replies->emplace_back(static_cast<redisReply*>(reply));
  }
  return absl::OkStatus();
}

absl::StatusOr<RedisReply> RedisConnection::Run(const RedisCommand& command) {
  const RedisCommand* const one[] = {&command};
  std::vector<RedisReply> replies;
  SWERVE_RETURN_IF_ERROR(Exchange(one, &replies));
  SWERVE_RETURN_IF_ERROR(StatusOf(*replies[0]));
  return std::move(replies[0]);
}

}  // namespace swerve
