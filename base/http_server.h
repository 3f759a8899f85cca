// A small HTTP/1.1 server (civetweb): one handler for everything, bodies read whole within limits of size and time.
// Too large, too slow or too many at once are answered here (413, 408, 429 with Retry-After), before the handler. Plain:
// Debian's civetweb with OpenSSL 3 ends the process when a TLS client connects, so what must be encrypted needs a proxy in
// front.
// Thread-safe. The handler runs on the server's threads, several at once, and must outlive the server.
#ifndef SWERVE_BASE_HTTP_SERVER_H_
#define SWERVE_BASE_HTTP_SERVER_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "base/call_gate.h"
#include "base/status.h"

struct mg_connection;
struct mg_context;

namespace swerve {

struct HttpCall {
  std::string method, path, body;
  // True once the client has closed its connection (or its half of it): nobody waits for the answer. May be null.
  // Cheap; for the handler's thread, while it runs.
  std::function<bool()> gone = nullptr;
};

struct HttpResponse {
  int status = 200;
  std::string body;
  std::vector<std::pair<std::string, std::string>> headers = {};  // beyond length and type
  std::string type = "application/json";
  // Instead of a body: server-sent events. Called on the server's thread after the head went out; what it hands to
  // `write` goes out at once, and false means that the client is gone.
  using Write = std::function<bool(absl::string_view)>;
  std::function<void(const Write& write)> stream = nullptr;
};

class HttpServer {
 public:
  struct Options {
    std::string listen = "127.0.0.1";
    int port = 0;      // 0: any free one
    int threads = 64;  // requests at once; further connections wait in the kernel
    int64_t max_body_bytes = 8 << 20;
    int64_t max_bodies_bytes = 32 << 20;  // of all requests being answered, together; a single one always fits
    int timeout_ms = 30000;               // for a request to arrive whole
    double requests_per_second = 0;       // beyond it 429; 0: no limit
  };
  using Handler = std::function<HttpResponse(const HttpCall&)>;

  // Serves when it returns. UNAVAILABLE when the address cannot be bound.
  static absl::StatusOr<std::unique_ptr<HttpServer>> Start(const Options& options, Handler handler);
  // Waits for requests being answered, refuses new ones.
  ~HttpServer();

  int port() const { return port_; }

 private:
  HttpServer(const Options& options, Handler handler);
  static int BeginRequest(mg_connection* connection);
  HttpResponse Answer(mg_connection* connection);
  int ReadBody(mg_connection* connection, int64_t declared, int64_t* reserved, std::string* body);
  bool Reserve(int64_t bytes);

  const Options options_;
  const Handler handler_;
  CallGate gate_;
  std::atomic<int64_t> bodies_bytes_{0};
  mg_context* context_ = nullptr;
  std::atomic<int> port_{0};  // calls may arrive before Start knows it
};

}  // namespace swerve

#endif  // SWERVE_BASE_HTTP_SERVER_H_
