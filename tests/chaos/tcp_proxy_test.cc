// Over real sockets: what goes in comes out, until the line is cut, stalled or refused.
#include "chaos/tcp_proxy.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/status_matchers.h"

namespace swerve {
namespace {

// Answers every byte with itself.
class EchoServer {
 public:
  EchoServer() {
    fd_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    bind(fd_, reinterpret_cast<sockaddr*>(&address), size);
    listen(fd_, 8);
    getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { Loop(); });
  }
  ~EchoServer() {
    shutdown(fd_, SHUT_RDWR);
    thread_.join();
    close(fd_);
  }
  int port() const { return port_; }

 private:
  void Loop() {
    for (int client; (client = accept(fd_, nullptr, nullptr)) >= 0; close(client)) {
      char bytes[4096];
      for (ssize_t n; (n = recv(client, bytes, sizeof bytes, 0)) > 0;) send(client, bytes, n, MSG_NOSIGNAL);
    }
  }
  int fd_ = -1, port_ = 0;
  std::thread thread_;
};

class Client {
 public:
  explicit Client(int port) : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(static_cast<uint16_t>(port));
    connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address);
  }
  ~Client() { close(fd_); }
  void Send(const std::string& text) { send(fd_, text.data(), text.size(), MSG_NOSIGNAL); }
  void End() { shutdown(fd_, SHUT_WR); }
  // `count` bytes, or fewer when the line ended.
  std::string Read(size_t count) {
    std::string text(count, 0);
    const ssize_t n = recv(fd_, text.data(), count, MSG_WAITALL);
    text.resize(n < 0 ? 0 : static_cast<size_t>(n));
    return text;
  }
  bool Broken() {
    char byte;
    return recv(fd_, &byte, 1, 0) <= 0;
  }
  bool Silent() {
    pollfd watched = {fd_, POLLIN, 0};
    return poll(&watched, 1, 50) == 0;
  }

 private:
  const int fd_;
};

TEST(TcpProxyTest, CarriesBothWaysAndTheEnd) {
  EchoServer server;
  SWERVE_ASSERT_OK_AND_ASSIGN(const auto proxy, TcpProxy::Start());
  proxy->SetUpstream(server.port());
  Client client(proxy->port());
  const std::string text(100000, 'x');
  client.Send(text);
  client.End();
  EXPECT_EQ(client.Read(text.size()), text);
  EXPECT_TRUE(client.Broken());  // the server's end came through
}

TEST(TcpProxyTest, CutResetsWhatStandsAndTakesWhatIsNew) {
  EchoServer server;
  SWERVE_ASSERT_OK_AND_ASSIGN(const auto proxy, TcpProxy::Start());
  proxy->SetUpstream(server.port());
  Client client(proxy->port());
  client.Send("a");
  EXPECT_EQ(client.Read(1), "a");
  proxy->Cut();
  EXPECT_TRUE(client.Broken());
  Client next(proxy->port());
  next.Send("b");
  EXPECT_EQ(next.Read(1), "b");
}

TEST(TcpProxyTest, StallHoldsBytesAndLosesNone) {
  EchoServer server;
  SWERVE_ASSERT_OK_AND_ASSIGN(const auto proxy, TcpProxy::Start());
  proxy->SetUpstream(server.port());
  Client client(proxy->port());
  client.Send("a");
  EXPECT_EQ(client.Read(1), "a");
  proxy->Stall(true);
  client.Send("b");
  EXPECT_TRUE(client.Silent());
  proxy->Stall(false);
  EXPECT_EQ(client.Read(1), "b");
}

TEST(TcpProxyTest, RefusesWhileToldAndWithoutUpstream) {
  EchoServer server;
  SWERVE_ASSERT_OK_AND_ASSIGN(const auto proxy, TcpProxy::Start());
  Client nowhere(proxy->port());
  EXPECT_TRUE(nowhere.Broken());
  proxy->SetUpstream(server.port());
  proxy->Refuse(true);
  Client refused(proxy->port());
  EXPECT_TRUE(refused.Broken());
  proxy->Refuse(false);
  Client taken(proxy->port());
  taken.Send("a");
  EXPECT_EQ(taken.Read(1), "a");
}

}  // namespace
}  // namespace swerve
