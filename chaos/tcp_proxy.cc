#include "chaos/tcp_proxy.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <vector>

namespace swerve {
namespace {

constexpr size_t kHeld = 256 << 10;  // bytes on the way per direction; then the sender waits

sockaddr_in Loopback(int port) {
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<uint16_t>(port));
  return address;
}

void NoDelay(int fd) {
  const int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

// A reset instead of an orderly end.
void CloseHard(int fd) {
  const linger hard = {1, 0};
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
  close(fd);
}

}  // namespace

absl::StatusOr<std::unique_ptr<TcpProxy>> TcpProxy::Start() {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  sockaddr_in address = Loopback(0);
  socklen_t size = sizeof address;
  int wake[2] = {-1, -1};
  if (fd < 0 || bind(fd, reinterpret_cast<sockaddr*>(&address), size) != 0 || listen(fd, 128) != 0 ||
      getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0 || pipe2(wake, O_CLOEXEC | O_NONBLOCK) != 0) {
    if (fd >= 0) close(fd);
    return absl::UnavailableError("a proxy cannot listen on loopback");
  }
  return std::unique_ptr<TcpProxy>(new TcpProxy(fd, ntohs(address.sin_port), wake[0], wake[1]));
}

TcpProxy::TcpProxy(int listener, int port, int wake_read, int wake_write)
    : listener_(listener), port_(port), wake_read_(wake_read), wake_write_(wake_write), thread_([this] { Loop(); }) {}

TcpProxy::~TcpProxy() {
  Change([](Wish* wish) { wish->ended = true; });
  thread_.join();
  close(listener_);
  close(wake_read_);
  close(wake_write_);
}

void TcpProxy::Change(const std::function<void(Wish*)>& change) {
  {
    absl::MutexLock lock(&mu_);
    change(&wish_);
  }
  const char byte = 0;
  // A full pipe wakes it as well.
  [[maybe_unused]] const ssize_t n = write(wake_write_, &byte, 1);
}

void TcpProxy::SetUpstream(int port) {
  Change([&](Wish* wish) { wish->upstream = port; });
}
void TcpProxy::Cut() {
  Change([](Wish* wish) { wish->cut = true; });
}
void TcpProxy::Stall(bool stalled) {
  Change([&](Wish* wish) { wish->stalled = stalled; });
}
void TcpProxy::Refuse(bool refused) {
  Change([&](Wish* wish) { wish->refused = refused; });
}

TcpProxy::Wish TcpProxy::TakeWish() {
  char bytes[64];
  while (read(wake_read_, bytes, sizeof bytes) > 0) {
  }
  absl::MutexLock lock(&mu_);
  const Wish wish = wish_;
  wish_.cut = false;
  return wish;
}

void TcpProxy::Reset(Connection* connection) {
  CloseHard(connection->client);
  CloseHard(connection->server);
}

void TcpProxy::CloseAll() {
  for (Connection& connection : connections_) Reset(&connection);
  connections_.clear();
}

void TcpProxy::Loop() {
  while (true) {
    const Wish wish = TakeWish();
    if (wish.cut || wish.refused || wish.ended) CloseAll();
    if (wish.ended) return;
    std::vector<pollfd> watched = {{wake_read_, POLLIN, 0}, {listener_, POLLIN, 0}};
    if (!wish.stalled) {
      for (const Connection& c : connections_) {
        const auto watch = [&](int fd, const Flow& in, const Flow& out) {
          const int events = (!in.ended && in.held.size() < kHeld ? POLLIN : 0) | (out.held.empty() ? 0 : POLLOUT);
          // An end that was seen would be reported again and again.
          if (events != 0) watched.push_back({fd, static_cast<short>(events), 0});
        };
        watch(c.client, c.up, c.down);
        watch(c.server, c.down, c.up);
      }
    }
    poll(watched.data(), watched.size(), -1);
    if (watched[0].revents != 0) continue;  // another wish first: what comes after it must follow it
    if (watched[1].revents != 0) Accept(wish);
    if (!wish.stalled) Carry();
  }
}

// One at a time: a wish that comes between two connections holds for the second.
void TcpProxy::Accept(const Wish& wish) {
  const int client = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (client < 0) return;
  const int server = wish.refused || wish.upstream == 0 ? -1 : socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  const sockaddr_in address = Loopback(wish.upstream);
  // Not connected yet is well: what is held is written when it is.
  if (server < 0 || (connect(server, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 && errno != EINPROGRESS)) {
    CloseHard(client);
    if (server >= 0) close(server);
    return;
  }
  NoDelay(client);
  NoDelay(server);
  Connection& c = connections_.emplace_back();
  c.client = client;
  c.server = server;
  c.up = {client, server, "", false, false};
  c.down = {server, client, "", false, false};
}

// Moves what can be moved. False: the connection is broken.
bool TcpProxy::Pump(Flow* flow) {
  char bytes[65536];
  while (!flow->ended && flow->held.size() < kHeld) {
    const ssize_t n = recv(flow->from, bytes, sizeof bytes, 0);
    if (n > 0) {
      flow->held.append(bytes, static_cast<size_t>(n));
    } else if (n == 0) {
      flow->ended = true;
    } else if (errno == EAGAIN || errno == EINTR) {
      break;
    } else {
      return errno == ENOTCONN;  // still connecting
    }
  }
  while (!flow->held.empty()) {
    const ssize_t n = send(flow->to, flow->held.data(), flow->held.size(), MSG_NOSIGNAL);
    if (n > 0) {
      flow->held.erase(0, static_cast<size_t>(n));
    } else if (errno == EAGAIN || errno == EINTR || errno == ENOTCONN) {
      break;
    } else {
      return false;
    }
  }
  if (flow->ended && flow->held.empty() && !flow->told) {
    flow->told = true;
    shutdown(flow->to, SHUT_WR);
  }
  return true;
}

void TcpProxy::Carry() {
  for (auto at = connections_.begin(); at != connections_.end();) {
    const bool whole = Pump(&at->up) && Pump(&at->down);
    if (whole && !(at->up.told && at->down.told)) {
      ++at;
      continue;
    }
    if (whole) {
      close(at->client);
      close(at->server);
    } else {
      Reset(&*at);
    }
    at = connections_.erase(at);
  }
}

}  // namespace swerve
