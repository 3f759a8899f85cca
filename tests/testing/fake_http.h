// The other side of an HTTP client, and its clock, played by a test.
#ifndef SWERVE_TESTS_TESTING_FAKE_HTTP_H_
#define SWERVE_TESTS_TESTING_FAKE_HTTP_H_

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "base/retry_clock.h"
#include "base/http_client.h"

namespace swerve {

// Waiting takes no time: it moves this clock. Thread-safe.
class FakeTime {
 public:
  RetryClock clock() {
    RetryClock clock;
    clock.now = [this] {
      absl::MutexLock lock(&mu_);
      return now_;
    };
    clock.sleep = [this](absl::Duration d) {
      absl::MutexLock lock(&mu_);
      now_ += d;
      slept_.push_back(d);
    };
    clock.uniform = [] { return 0.5; };
    return clock;
  }
  void Advance(absl::Duration d) {
    absl::MutexLock lock(&mu_);
    now_ += d;
  }
  std::vector<absl::Duration> slept() const {
    absl::MutexLock lock(&mu_);
    return slept_;
  }

 private:
  mutable absl::Mutex mu_;
  absl::Time now_ ABSL_GUARDED_BY(mu_) = absl::FromUnixSeconds(1'700'000'000);
  std::vector<absl::Duration> slept_ ABSL_GUARDED_BY(mu_);
};

// Answers every request with `answer`, which may block. Thread-safe as far as `answer` is.
class FakeHttp final : public HttpTransport {
 public:
  using Answer = std::function<absl::StatusOr<HttpReply>(const HttpRequest&)>;
  explicit FakeHttp(Answer answer) : answer_(std::move(answer)) {}
  absl::StatusOr<HttpReply> Send(const HttpRequest& request) override {
    {
      absl::MutexLock lock(&mu_);
      ++calls_;
    }
    return answer_(request);
  }
  int calls() const {
    absl::MutexLock lock(&mu_);
    return calls_;
  }

 private:
  const Answer answer_;
  mutable absl::Mutex mu_;
  int calls_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace swerve

#endif  // SWERVE_TESTS_TESTING_FAKE_HTTP_H_
