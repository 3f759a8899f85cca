// OpenAI-compatible chat over an Engine (spec conventions.md 4.1): POST /v1/chat/completions, GET /v1/models, /health.
// Requests join those that the engine is at as soon as it has room.
// Thread-safe. The engine must outlive the server.
#ifndef SWERVE_POLICY_OPENAI_SERVER_H_
#define SWERVE_POLICY_OPENAI_SERVER_H_

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "base/http_server.h"
#include "policy/engine.h"

namespace swerve {

// The line before the engine: calls it from `running` threads, a request each.
class EngineQueue {
 public:
  EngineQueue(Engine* engine, size_t running, size_t max_queue);
  // What waits ends UNAVAILABLE; what runs is waited for.
  ~EngineQueue();

  // `done` is called once, on a thread of the queue, and must not block; with CANCELLED when the request was cancelled while
  // it waited, DEADLINE_EXCEEDED when its time ran out. RESOURCE_EXHAUSTED when max_queue requests wait; INVALID_ARGUMENT as
  // Engine::Check.
  using Done = std::function<void(absl::StatusOr<GenerateResult>)>;
  absl::Status Submit(GenerateRequest request, Done done) ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  struct Job {
    GenerateRequest request;
    Done done;
  };
  void Run();

  Engine* const engine_;
  const size_t max_queue_;
  absl::Mutex mutex_;
  std::deque<Job> queue_ ABSL_GUARDED_BY(mutex_);
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_;
};

struct OpenAiOptions {
  std::string model;                                // the name that clients ask for
  int default_max_tokens = 256;                     // of a request that says none
  absl::Duration deadline = absl::Seconds(600);     // for one request, waiting included; then 504
  size_t max_running = 64;                          // requests in the engine
  size_t max_queue = 48;                            // before it; fewer than connections, or nobody sees the 429
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
  EngineQueue queue_;
};

}  // namespace swerve

#endif  // SWERVE_POLICY_OPENAI_SERVER_H_
