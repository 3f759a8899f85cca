// A line that can be cut: a port of loopback whose connections are passed on, byte by byte, to another server.
#ifndef SWERVE_CHAOS_TCP_PROXY_H_
#define SWERVE_CHAOS_TCP_PROXY_H_

#include <functional>
#include <list>
#include <memory>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "base/status.h"

namespace swerve {

// Thread-safe. One thread of its own carries all connections.
class TcpProxy {
 public:
  // Listens on a free port. UNAVAILABLE when it cannot.
  static absl::StatusOr<std::unique_ptr<TcpProxy>> Start();
  ~TcpProxy();
  TcpProxy(const TcpProxy&) = delete;
  TcpProxy& operator=(const TcpProxy&) = delete;

  int port() const { return port_; }

  // Where new connections lead: a port of loopback, 0: nowhere (they are reset at once).
  void SetUpstream(int port) ABSL_LOCKS_EXCLUDED(mu_);
  // Resets every connection that stands.
  void Cut() ABSL_LOCKS_EXCLUDED(mu_);
  // Connections stay up and carry nothing while it is true.
  void Stall(bool stalled) ABSL_LOCKS_EXCLUDED(mu_);
  // New and standing connections are reset while it is true, as by a host whose service is gone.
  void Refuse(bool refused) ABSL_LOCKS_EXCLUDED(mu_);

 private:
  // One direction's bytes on their way.
  struct Flow {
    int from = -1, to = -1;
    std::string held;
    bool ended = false;  // `from` sent all; told to `to` once held is empty
    bool told = false;
  };
  struct Connection {
    int client = -1, server = -1;
    Flow up, down;
  };
  struct Wish {
    int upstream = 0;
    bool cut = false, stalled = false, refused = false, ended = false;
  };

  TcpProxy(int listener, int port, int wake_read, int wake_write);
  void Loop();
  void Accept(const Wish& wish);
  void Carry();
  void CloseAll();
  Wish TakeWish() ABSL_LOCKS_EXCLUDED(mu_);
  void Change(const std::function<void(Wish*)>& change) ABSL_LOCKS_EXCLUDED(mu_);
  static bool Pump(Flow* flow);
  static void Reset(Connection* connection);

  const int listener_, port_, wake_read_, wake_write_;
  absl::Mutex mu_;
  Wish wish_ ABSL_GUARDED_BY(mu_);
  std::list<Connection> connections_;  // the thread's own
  std::thread thread_;
};

}  // namespace swerve

#endif  // SWERVE_CHAOS_TCP_PROXY_H_
