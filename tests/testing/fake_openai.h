// An OpenAI-compatible server that says what a test tells it to, on a free port of loopback. Thread-safe.
#ifndef SWERVE_TESTS_TESTING_FAKE_OPENAI_H_
#define SWERVE_TESTS_TESTING_FAKE_OPENAI_H_

#include <civetweb.h>

#include <atomic>
#include <deque>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"

namespace swerve {

// One answer of the server.
struct FakeAnswer {
  enum Manner { kSend, kHang, kDrip, kCut };
  int status = 200;
  std::string body;
  size_t times = 1;     // the body is sent so often, one after the other: an answer larger than the test's memory
  std::string headers;  // "Retry-After: 2\r\n"
  Manner manner = kSend;
};

// A valid report of five sections.
inline nlohmann::json FakeReport() {
  return {{"meta_action", "stop and keep the lane, it chose to maintain"},
          {"think_process", "it missed the standing vehicle"},
          {"safety", "its front hits a vehicle at 1.8 s"},
          {"efficiency", "progress is fine"},
          {"correction", {{"lateral", "keep the lane"}, {"longitudinal", "brake to a stop within 12 m"}}}};
}

// A chat completion with that content.
inline FakeAnswer Says(const std::string& content, int prompt_tokens = 900, int completion_tokens = 100) {
  FakeAnswer answer;
  answer.body = nlohmann::json({{"object", "chat.completion"},
                                {"choices", {{{"index", 0},
                                              {"message", {{"role", "assistant"}, {"content", content}}},
                                              {"finish_reason", "stop"}}}},
                                {"usage", {{"prompt_tokens", prompt_tokens}, {"completion_tokens", completion_tokens}}}})
                    .dump();
  return answer;
}

inline FakeAnswer Errs(int status, const std::string& body = "{}", const std::string& headers = "") {
  FakeAnswer answer;
  answer.status = status;
  answer.body = body;
  answer.headers = headers;
  return answer;
}

// A chat completion without an end, of about so many bytes.
inline FakeAnswer SaysEndlessly(size_t bytes) {
  FakeAnswer answer;
  answer.body = std::string(64 << 10, 'x');
  answer.times = bytes / answer.body.size();
  return answer;
}

class FakeOpenAi {
 public:
  struct Asked {
    std::string path, authorization;
    nlohmann::json body;
  };

  FakeOpenAi() {
    const char* options[] = {"listening_ports", "127.0.0.1:0", "num_threads", "16", "enable_keep_alive", "yes",
                             "keep_alive_timeout_ms", "20000", "tcp_nodelay", "1", nullptr};
    mg_init_library(0);
    context_ = mg_start(nullptr, this, options);
    mg_set_request_handler(context_, "/", &FakeOpenAi::Handle, this);
    mg_server_port port{};
    mg_get_server_ports(context_, 1, &port);
    port_ = port.port;
  }
  ~FakeOpenAi() {
    closing_.Notify();
    mg_stop(context_);
  }

  std::string url() const { return absl::StrCat("http://127.0.0.1:", port_, "/v1"); }
  // Forgets scripts and what was asked.
  void Reset() {
    absl::MutexLock lock(&mu_);
    script_.clear();
    always_ = Says(FakeReport().dump());
    asked_.clear();
    peers_.clear();
    sent_ = 0;
    most_ = 0;
    now_ = 0;
    ++since_;
  }
  // Answers in turn; when they are used up, a valid report.
  void Script(std::vector<FakeAnswer> answers) {
    absl::MutexLock lock(&mu_);
    script_.assign(answers.begin(), answers.end());
  }
  // Every answer from now on that the script does not give.
  void Always(FakeAnswer answer) {
    absl::MutexLock lock(&mu_);
    always_ = std::move(answer);
  }
  std::vector<Asked> asked() const {
    absl::MutexLock lock(&mu_);
    return asked_;
  }
  size_t connections() const {
    absl::MutexLock lock(&mu_);
    return peers_.size();
  }
  size_t bytes_sent() const { return sent_; }  // of bodies that did not drip
  int most_at_once() const {
    absl::MutexLock lock(&mu_);
    return most_;
  }

 private:
  static int Handle(mg_connection* connection, void* self) { return static_cast<FakeOpenAi*>(self)->Answer(connection); }

  int Answer(mg_connection* connection) {
    std::string body;
    char buffer[16384];
    for (int n; (n = mg_read(connection, buffer, sizeof buffer)) > 0;) body.append(buffer, n);
    const mg_request_info* info = mg_get_request_info(connection);
    const char* authorization = mg_get_header(connection, "Authorization");
    FakeAnswer answer;
    int since = 0;
    {
      absl::MutexLock lock(&mu_);
      since = since_;
      asked_.push_back({info->local_uri, authorization == nullptr ? "" : authorization,
                        nlohmann::json::parse(body, nullptr, false)});
      peers_.insert(info->remote_port);
      most_ = std::max(most_, ++now_);
      answer = always_;
      if (!script_.empty()) {
        answer = std::move(script_.front());
        script_.pop_front();
      }
    }
    Write(connection, answer, since);
    if (!EndsWithItsLastByte(answer)) Leave(since);
    return answer.status;
  }

  void Leave(int since) {  // what was asked before Reset, and has hung since, is not counted any more
    absl::MutexLock lock(&mu_);
    if (since == since_) --now_;
  }
  // Of such an answer the last byte goes after Leave(): whoever has read it may ask again at once, before this thread
  // runs on, and is not then counted as one more.
  static bool EndsWithItsLastByte(const FakeAnswer& answer) {
    return answer.manner == FakeAnswer::kSend && answer.times == 1 && !answer.body.empty();
  }

  void Write(mg_connection* connection, const FakeAnswer& answer, int since) {
    if (answer.manner == FakeAnswer::kHang) {
      closing_.WaitForNotificationWithTimeout(absl::Seconds(30));
      return;
    }
    if (answer.manner == FakeAnswer::kCut) mg_disable_connection_keep_alive(connection);
    const size_t promised = answer.times * answer.body.size() + (answer.manner == FakeAnswer::kCut ? 100 : 0);
    mg_printf(connection, "HTTP/1.1 %d X\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n%s\r\n",
              answer.status, promised, answer.headers.c_str());
    if (EndsWithItsLastByte(answer)) {
      const size_t most = answer.body.size() - 1;
      const int written = most == 0 ? 0 : mg_write(connection, answer.body.data(), most);
      Leave(since);
      if (written < 0) return;
      sent_ += static_cast<size_t>(written) + static_cast<size_t>(std::max(0, mg_write(connection, &answer.body.back(), 1)));
      return;
    }
    if (answer.manner != FakeAnswer::kDrip) {
      for (size_t i = 0; i < answer.times; ++i) {
        const int written = mg_write(connection, answer.body.data(), answer.body.size());
        if (written <= 0) return;  // the client has had enough
        sent_ += static_cast<size_t>(written);
      }
      return;
    }
    for (const char c : answer.body) {
      if (mg_write(connection, &c, 1) <= 0) return;
      if (closing_.WaitForNotificationWithTimeout(absl::Milliseconds(20))) return;
    }
  }

  mg_context* context_ = nullptr;
  int port_ = 0;
  absl::Notification closing_;
  std::atomic<size_t> sent_{0};
  mutable absl::Mutex mu_;
  std::deque<FakeAnswer> script_ ABSL_GUARDED_BY(mu_);
  FakeAnswer always_ ABSL_GUARDED_BY(mu_) = Says(FakeReport().dump());
  std::vector<Asked> asked_ ABSL_GUARDED_BY(mu_);
  std::set<int> peers_ ABSL_GUARDED_BY(mu_);
  int now_ ABSL_GUARDED_BY(mu_) = 0, most_ ABSL_GUARDED_BY(mu_) = 0;
  int since_ ABSL_GUARDED_BY(mu_) = 0;  // how often Reset was called
};

}  // namespace swerve

#endif  // SWERVE_TESTS_TESTING_FAKE_OPENAI_H_
