#include "base/http_server.h"

#include <arpa/inet.h>
#include <civetweb.h>
#include <dirent.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <exception>
#include <mutex>

namespace swerve {
namespace {

using Clock = std::chrono::steady_clock;

// Reads on for a moment so that a client that is still sending gets to see the answer, not a reset.
void Drain(mg_connection* connection) {
  char buffer[1 << 14];
  const Clock::time_point until = Clock::now() + std::chrono::seconds(1);
  for (int64_t left = 64 << 20; left > 0 && Clock::now() < until;) {
    const int n = mg_read(connection, buffer, sizeof buffer);
    if (n <= 0) return;
    left -= n;
  }
}

const char* Reason(int status) { return mg_get_response_code_text(nullptr, status); }

void SendStream(mg_connection* connection, const HttpResponse& response) {
  const char head[] =
      "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nCache-Control: no-cache\r\n"
      "Transfer-Encoding: chunked\r\n\r\n";
  mg_write(connection, head, sizeof head - 1);
  response.stream([connection](absl::string_view bytes) {
    return bytes.empty() || mg_send_chunk(connection, bytes.data(), static_cast<unsigned>(bytes.size())) >= 0;
  });
  mg_send_chunk(connection, "", 0);
}

void Send(mg_connection* connection, const HttpResponse& response) {
  if (response.stream) return SendStream(connection, response);
  std::string head = absl::StrCat("HTTP/1.1 ", response.status, " ", Reason(response.status),
                                  "\r\nContent-Type: ", response.type, "\r\nContent-Length: ", response.body.size(),
                                  "\r\n");
  for (const auto& [name, value] : response.headers) absl::StrAppend(&head, name, ": ", value, "\r\n");
  absl::StrAppend(&head, "\r\n", response.body);
  mg_write(connection, head.data(), head.size());
}

// Our end of the connection to that client; -1: not found. civetweb does not tell its sockets, the kernel does.
int SocketTo(const char* address, int port, int own_port) {
  DIR* dir = opendir("/proc/self/fd");
  if (dir == nullptr) return -1;
  int found = -1;
  while (const dirent* entry = readdir(dir)) {
    const int fd = atoi(entry->d_name);
    sockaddr_in peer = {}, own = {};
    socklen_t peer_size = sizeof peer, own_size = sizeof own;
    char text[INET_ADDRSTRLEN] = "";
    if (getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &peer_size) != 0 || peer.sin_family != AF_INET ||
        ntohs(peer.sin_port) != port || getsockname(fd, reinterpret_cast<sockaddr*>(&own), &own_size) != 0 ||
        ntohs(own.sin_port) != own_port || inet_ntop(AF_INET, &peer.sin_addr, text, sizeof text) == nullptr ||
        strcmp(text, address) != 0) {
      continue;
    }
    found = fd;
    break;
  }
  closedir(dir);
  return found;
}

// Looks for the socket when first asked. The connection is the handler's as long as it runs, so the number stays good.
std::function<bool()> WatchClient(const mg_request_info& info, int own_port) {
  return [address = std::string(info.remote_addr), port = info.remote_port, own_port, fd = -2]() mutable {
    if (fd == -2) fd = SocketTo(address.c_str(), port, own_port);
    pollfd watched = {fd, POLLRDHUP, 0};
    return fd >= 0 && poll(&watched, 1, 0) == 1 && (watched.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
  };
}

std::string ErrorBody(absl::string_view code, absl::string_view message) {
  return absl::StrCat("{\"error\":{\"code\":\"", code, "\",\"message\":\"", message, "\"}}");
}

CallGate::Options GateOf(const HttpServer::Options& options) {
  CallGate::Options gate;
  gate.calls_per_second = options.requests_per_second;
  gate.port = "http";
  gate.limit_field = "limits.http_requests_per_second";
  return gate;
}

}  // namespace

HttpServer::HttpServer(const Options& options, Handler handler)
    : options_(options), handler_(std::move(handler)), gate_(GateOf(options)) {}

HttpServer::~HttpServer() {
  if (context_ != nullptr) mg_stop(context_);
}

absl::StatusOr<std::unique_ptr<HttpServer>> HttpServer::Start(const Options& options, Handler handler) {
  static std::once_flag once;
  std::call_once(once, [] { mg_init_library(MG_FEATURES_DEFAULT); });
  std::unique_ptr<HttpServer> server(new HttpServer(options, std::move(handler)));
  const std::string address = absl::StrCat(options.listen, ":", options.port);
  const std::string threads = absl::StrCat(options.threads), timeout = absl::StrCat(options.timeout_ms);
  const char* settings[] = {"listening_ports",       address.c_str(), "num_threads",        threads.c_str(),
                            "request_timeout_ms",    timeout.c_str(), "enable_keep_alive",  "yes",
                            "keep_alive_timeout_ms", "1000",          "tcp_nodelay",        "1",
                            "connection_queue",      "64",            nullptr};
  mg_callbacks callbacks = {};
  callbacks.begin_request = &HttpServer::BeginRequest;
  callbacks.log_message = [](const mg_connection*, const char*) { return 1; };
  mg_init_data init = {};
  init.callbacks = &callbacks;
  init.user_data = server.get();
  init.configuration_options = settings;
  char text[256] = "";
  mg_error_data error = {};
  error.text = text;
  error.text_buffer_size = sizeof text;
  server->context_ = mg_start2(&init, &error);
  mg_server_port bound = {};
  if (server->context_ == nullptr || mg_get_server_ports(server->context_, 1, &bound) != 1) {
    return absl::UnavailableError(absl::StrCat("cannot serve HTTP on ", address, " (", text,
                                               "); is the port in use or the address not of this machine?"));
  }
  server->port_ = bound.port;
  return server;
}

int HttpServer::BeginRequest(mg_connection* connection) {
  auto* server = static_cast<HttpServer*>(mg_get_user_data(mg_get_context(connection)));
  HttpResponse response;
  try {
    response = server->Answer(connection);
  } catch (const std::exception&) {  // what a library throws must not end the process
    response = {500, ErrorBody("INTERNAL", "unexpected error while answering")};
  }
  Send(connection, response);
  return response.status;
}

bool HttpServer::Reserve(int64_t bytes) {
  int64_t held = bodies_bytes_.load();
  do {
    if (held > 0 && held + bytes > options_.max_bodies_bytes) return false;
  } while (!bodies_bytes_.compare_exchange_weak(held, held + bytes));
  return true;
}

HttpResponse HttpServer::Answer(mg_connection* connection) {
  const mg_request_info* info = mg_get_request_info(connection);
  HttpCall request{info->request_method, info->local_uri == nullptr ? "" : info->local_uri, {}, WatchClient(*info, port_)};
  const absl::Status allowed = gate_.Check(request.path, "", "");
  int64_t reserved = 0;
  int status = 0;
  const char* encoding = mg_get_header(connection, "Transfer-Encoding");
  const bool chunked = encoding != nullptr && strcasecmp(encoding, "chunked") == 0;
  if (!allowed.ok()) {
    status = 429;
  } else if (info->content_length > 0 || chunked) {
    status = ReadBody(connection, chunked ? -1 : info->content_length, &reserved, &request.body);
  } else if (request.method == "POST" && info->content_length < 0) {
    status = 411;
  }
  HttpResponse response;
  switch (status) {
    case 0:
      response = handler_(request);
      break;
    case 408:
      response = {408, ErrorBody("DEADLINE_EXCEEDED", "the request did not arrive whole in time")};
      break;
    case 411:
      response = {411, ErrorBody("INVALID_ARGUMENT", "a POST needs a Content-Length or chunks")};
      break;
    case 413:
      response = {413, ErrorBody("INVALID_ARGUMENT", absl::StrCat("the request is larger than the limit of ",
                                                                  options_.max_body_bytes, " bytes"))};
      break;
    default:
      response = {429,
                  ErrorBody("RESOURCE_EXHAUSTED", allowed.ok() ? "too many large requests at once; try again after Retry-After"
                                                               : allowed.message()),
                  {{"Retry-After", "1"}}};
  }
  bodies_bytes_ -= reserved;
  if (status != 0) {
    if (status != 408) Drain(connection);
    mg_disable_connection_keep_alive(connection);
    response.headers.emplace_back("Connection", "close");
  }
  return response;
}

// 0, or the status to answer with.
int HttpServer::ReadBody(mg_connection* connection, int64_t declared, int64_t* reserved, std::string* body) {
  if (declared > options_.max_body_bytes) return 413;
  const int64_t bytes = declared < 0 ? options_.max_body_bytes : declared;
  if (!Reserve(bytes)) return 429;
  *reserved = bytes;
  const Clock::time_point until = Clock::now() + std::chrono::milliseconds(options_.timeout_ms);
  char buffer[1 << 14];
  while (declared < 0 || static_cast<int64_t>(body->size()) < declared) {
    if (Clock::now() > until) return 408;
    const int n = mg_read(connection, buffer, sizeof buffer);
    if (n < 0) return 408;
    if (n == 0) break;
    if (static_cast<int64_t>(body->size()) + n > options_.max_body_bytes) return 413;
    body->append(buffer, n);
  }
  return declared >= 0 && static_cast<int64_t>(body->size()) < declared ? 408 : 0;
}

}  // namespace swerve
