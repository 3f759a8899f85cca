#include "chaos/faulty_teacher.h"

#include <civetweb.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"

namespace swerve {
namespace {

constexpr size_t kHuge = 100u << 20;  // bytes of "huge_answer"

std::string ChatReply(const std::string& content) {
  return nlohmann::json({{"object", "chat.completion"},
                         {"choices", {{{"index", 0},
                                       {"message", {{"role", "assistant"}, {"content", content}}},
                                       {"finish_reason", "stop"}}}},
                         {"usage", {{"prompt_tokens", 900}, {"completion_tokens", 100}}}})
      .dump();
}

// The five sections, valid and of no particular use.
std::string Report() {
  const nlohmann::json report = {{"meta_action", "slow down and keep the lane"},
                                 {"think_process", "the response did not react to what is ahead"},
                                 {"safety", "the distance to the vehicle ahead becomes too small"},
                                 {"efficiency", "progress is fine"},
                                 {"correction", {{"lateral", "keep the lane"}, {"longitudinal", "brake gently"}}}};
  return ChatReply(report.dump());
}

void Head(mg_connection* connection, int status, size_t length, const char* more = "") {
  mg_printf(connection, "HTTP/1.1 %d X\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n%s\r\n", status, length,
            more);
}

void Send(mg_connection* connection, int status, const std::string& body, const char* more = "") {
  Head(connection, status, body.size(), more);
  mg_write(connection, body.data(), body.size());
}

void SendHuge(mg_connection* connection) {
  Head(connection, 200, kHuge);
  const std::string piece(64 << 10, 'x');
  for (size_t sent = 0; sent < kHuge; sent += piece.size()) {
    if (mg_write(connection, piece.data(), std::min(piece.size(), kHuge - sent)) <= 0) return;
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<FaultyTeacher>> FaultyTeacher::Start() {
  std::unique_ptr<FaultyTeacher> teacher(new FaultyTeacher());
  const char* options[] = {"listening_ports", "127.0.0.1:0", "num_threads", "32", "enable_keep_alive", "yes",
                           "keep_alive_timeout_ms", "20000", "tcp_nodelay", "1", nullptr};
  mg_init_library(0);
  teacher->context_ = mg_start(nullptr, teacher.get(), options);
  if (teacher->context_ == nullptr) return absl::UnavailableError("the faulty teacher cannot listen on loopback");
  mg_set_request_handler(teacher->context_, "/", &FaultyTeacher::Handle, teacher.get());
  mg_server_port port{};
  mg_get_server_ports(teacher->context_, 1, &port);
  teacher->port_ = port.port;
  return teacher;
}

FaultyTeacher::~FaultyTeacher() {
  closing_.Notify();
  if (context_ != nullptr) mg_stop(context_);
}

absl::Status FaultyTeacher::Fail(const std::string& manner) {
  for (const char* known : {"", "429", "500", "slow_body", "cut_stream", "wrong_schema", "huge_answer"}) {
    if (manner != known) continue;
    absl::MutexLock lock(&mu_);
    manner_ = manner;
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat("the faulty teacher knows no manner ", manner));
}

int FaultyTeacher::Handle(mg_connection* connection, void* self) {
  return static_cast<FaultyTeacher*>(self)->Answer(connection);
}

int FaultyTeacher::Answer(mg_connection* connection) {
  char buffer[16384];
  while (mg_read(connection, buffer, sizeof buffer) > 0) {
  }
  std::string manner;
  {
    absl::MutexLock lock(&mu_);
    manner = manner_;
  }
  ++(manner.empty() ? answered_ : failed_);
  if (manner == "429") {
    Send(connection, 429, R"({"error":{"message":"too many requests"}})", "Retry-After: 1\r\n");
  } else if (manner == "500") {
    Send(connection, 500, R"({"error":{"message":"out of memory"}})");
  } else if (manner == "slow_body") {
    Drip(connection, Report());
  } else if (manner == "cut_stream") {
    const std::string body = Report();
    mg_disable_connection_keep_alive(connection);
    Head(connection, 200, body.size());
    mg_write(connection, body.data(), body.size() / 2);
  } else if (manner == "wrong_schema") {
    Send(connection, 200, ChatReply(R"({"meta_action":7,"poem":"the road goes on"})"));
  } else if (manner == "huge_answer") {
    SendHuge(connection);
  } else {
    Send(connection, 200, Report());
  }
  return 200;
}

void FaultyTeacher::Drip(mg_connection* connection, const std::string& body) {
  Head(connection, 200, body.size());
  for (const char c : body) {
    if (mg_write(connection, &c, 1) <= 0) return;
    if (closing_.WaitForNotificationWithTimeout(absl::Milliseconds(50))) return;
  }
}

}  // namespace swerve
