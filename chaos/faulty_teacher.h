// An OpenAI-compatible endpoint on loopback that gives valid reports, or fails in a chosen manner.
#ifndef SWERVE_CHAOS_FAULTY_TEACHER_H_
#define SWERVE_CHAOS_FAULTY_TEACHER_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "base/status.h"

struct mg_connection;
struct mg_context;

namespace swerve {

// Thread-safe.
class FaultyTeacher {
 public:
  // UNAVAILABLE when it cannot listen.
  static absl::StatusOr<std::unique_ptr<FaultyTeacher>> Start();
  ~FaultyTeacher();
  FaultyTeacher(const FaultyTeacher&) = delete;
  FaultyTeacher& operator=(const FaultyTeacher&) = delete;

  int port() const { return port_; }

  // Of requests from now on: "" valid reports; "429" with Retry-After, "500", "slow_body" (a byte now and then),
  // "cut_stream" (less than was promised), "wrong_schema" (a chat reply, but no report), "huge_answer" (100 MB).
  // INVALID_ARGUMENT: another manner.
  absl::Status Fail(const std::string& manner) ABSL_LOCKS_EXCLUDED(mu_);

  uint64_t answered() const { return answered_; }  // valid reports
  uint64_t failed() const { return failed_; }

 private:
  FaultyTeacher() = default;
  static int Handle(mg_connection* connection, void* self);
  int Answer(mg_connection* connection) ABSL_LOCKS_EXCLUDED(mu_);
  void Drip(mg_connection* connection, const std::string& body);

  mg_context* context_ = nullptr;
  int port_ = 0;
  absl::Notification closing_;
  std::atomic<uint64_t> answered_{0}, failed_{0};
  absl::Mutex mu_;
  std::string manner_ ABSL_GUARDED_BY(mu_);
};

}  // namespace swerve

#endif  // SWERVE_CHAOS_FAULTY_TEACHER_H_
