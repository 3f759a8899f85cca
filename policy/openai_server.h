// OpenAI-compatible chat over an Engine (spec conventions.md 4.1): POST /v1/chat/completions, GET /v1/models, /health.
// Requests that wait are generated together in one call of the engine; those that come later are in the next call.
// Thread-safe. The engine must outlive the server.
#ifndef SWERVE_POLICY_OPENAI_SERVER_H_
#define SWERVE_POLICY_OPENAI_SERVER_H_

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "base/http_server.h"
#include "policy/engine.h"

namespace swerve {

// Calls the engine from one thread with all that waits, at most `max_batch` requests a call.
class EngineBatcher {
 public:
  EngineBatcher(Engine* engine, size_t max_batch, size_t max_queue);
  // What waits ends UNAVAILABLE; what runs is waited for.
  ~EngineBatcher();

  // `done` is called once, on a thread of the engine or the batcher, and must not block; with CANCELLED when the request
  // was cancelled while it waited, DEADLINE_EXCEEDED when its time ran out. RESOURCE_EXHAUSTED when max_queue requests
  // wait; INVALID_ARGUMENT as Engine::Check.
  using Done = std::function<void(absl::StatusOr<GenerateResult>)>;
  absl::Status Submit(GenerateRequest request, Done done) ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  struct Job {
    GenerateRequest request;
    Done done;
  };
  void Run();

  Engine* const engine_;
  const size_t max_batch_, max_queue_;
  absl::Mutex mutex_;
  std::deque<std::unique_ptr<Job>> queue_ ABSL_GUARDED_BY(mutex_);
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

struct OpenAiOptions {
  std::string model;                                // the name that clients ask for
  int default_max_tokens = 256;                     // of a request that says none
  absl::Duration deadline = absl::Seconds(600);     // for one request, waiting included; then 504
  size_t max_batch = 64, max_queue = 48;            // requests; fewer than connections, or nobody sees the 429
};

class OpenAiServer {
 public:
  OpenAiServer(Engine* engine, OpenAiOptions options);

  // Handler of an HttpServer. Blocks until the answer is there; when the client is gone before that, generation is
  // cancelled. Errors have OpenAI's shape {"error": {"message", "type", "param", "code"}}.
  HttpResponse Answer(const HttpCall& call);

 private:
  HttpResponse Complete(const HttpCall& call);

  Engine* const engine_;
  const OpenAiOptions options_;
  std::atomic<uint64_t> count_{0};
  EngineBatcher batcher_;
};

}  // namespace swerve

#endif  // SWERVE_POLICY_OPENAI_SERVER_H_
