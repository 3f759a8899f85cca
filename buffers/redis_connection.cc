#include "buffers/redis_connection.h"

#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace swerve {
namespace {

constexpr size_t kReceiveBytes = 256 << 10;
constexpr size_t kCopyUpTo = 512;     // shorter arguments are copied beside their headers
constexpr size_t kPiecesPerCall = 512;  // IOV_MAX is 1024

// Commands as they go over the wire, in pieces: long arguments stay where they are.
class Request {
 public:
  void Add(const RedisCommand& command) {
    absl::StrAppend(&text_, "*", command.size(), "\r\n");
    for (const std::string& argument : command) {
      absl::StrAppend(&text_, "$", argument.size(), "\r\n");
      if (argument.size() <= kCopyUpTo) {
        text_ += argument;
      } else {
        long_.emplace_back(text_.size(), &argument);
      }
      text_ += "\r\n";
    }
  }
  // Valid as long as the request and the commands are.
  std::vector<iovec> Pieces() {
    std::vector<iovec> pieces;
    size_t at = 0;
    for (const auto& [until, argument] : long_) {
      pieces.push_back({text_.data() + at, until - at});
      pieces.push_back({const_cast<char*>(argument->data()), argument->size()});
      at = until;
    }
    pieces.push_back({text_.data() + at, text_.size() - at});
    return pieces;
  }

 private:
  std::string text_;
  std::vector<std::pair<size_t, const std::string*>> long_;  // and where in text_ each belongs
};

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

absl::Status StatusOfAll(const redisReply& reply) {
  SWERVE_RETURN_IF_ERROR(StatusOf(reply));
  if (reply.type != REDIS_REPLY_ARRAY) return absl::OkStatus();
  for (size_t i = 0; i < reply.elements; ++i) SWERVE_RETURN_IF_ERROR(StatusOf(*reply.element[i]));
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<RedisConnection>> RedisConnection::Open(const Options& options) {
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

RedisConnection::RedisConnection(std::string name, redisContext* context)
    : name_(std::move(name)), context_(context), received_(new char[kReceiveBytes]) {
  context_->reader->maxbuf = 4 * kReceiveBytes;  // what its buffer may keep when empty; else it is made anew each time
}

absl::Status RedisConnection::Broken(absl::string_view what, absl::string_view why) const {
  return absl::UnavailableError(absl::StrCat(name_, ": ", what, ": ", why));
}

absl::Status RedisConnection::Send(absl::Span<const RedisCommand* const> commands) {
  Request request;
  for (const RedisCommand* command : commands) request.Add(*command);
  std::vector<iovec> pieces = request.Pieces();
  for (size_t at = 0; at < pieces.size();) {
    msghdr message = {};
    message.msg_iov = &pieces[at];
    message.msg_iovlen = std::min(pieces.size() - at, kPiecesPerCall);
    ssize_t sent = sendmsg(context_->fd, &message, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) return Broken("cannot send", std::strerror(errno));
    for (; at < pieces.size() && static_cast<size_t>(sent) >= pieces[at].iov_len; ++at) {
      sent -= static_cast<ssize_t>(pieces[at].iov_len);
    }
    if (sent > 0) {
      pieces[at].iov_base = static_cast<char*>(pieces[at].iov_base) + sent;
      pieces[at].iov_len -= static_cast<size_t>(sent);
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<RedisReply> RedisConnection::Receive() {
  while (true) {
    void* reply = nullptr;
    if (redisReaderGetReply(context_->reader, &reply) != REDIS_OK) {
      return Broken("connection lost", context_->reader->errstr);
    }
    if (reply != nullptr) return RedisReply(static_cast<redisReply*>(reply));
    const ssize_t n = read(context_->fd, received_.get(), kReceiveBytes);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return Broken("connection lost", n == 0 ? "the server closed it" : std::strerror(errno));
    if (redisReaderFeed(context_->reader, received_.get(), static_cast<size_t>(n)) != REDIS_OK) {
      return Broken("connection lost", context_->reader->errstr);
    }
  }
}

absl::Status RedisConnection::Exchange(absl::Span<const RedisCommand* const> commands, Take take) {
  SWERVE_RETURN_IF_ERROR(Send(commands));
  for (size_t i = 0; i < commands.size(); ++i) {
    SWERVE_ASSIGN_OR_RETURN(RedisReply reply, Receive());
    take(i, std::move(reply));
  }
  return absl::OkStatus();
}

absl::StatusOr<RedisReply> RedisConnection::Run(const RedisCommand& command) {
  const RedisCommand* const one[] = {&command};
  RedisReply reply;
  SWERVE_RETURN_IF_ERROR(Exchange(one, [&](size_t, RedisReply r) { reply = std::move(r); }));
  SWERVE_RETURN_IF_ERROR(StatusOf(*reply));
  return reply;
}

}  // namespace swerve
