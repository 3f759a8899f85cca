// How an inference server is spoken to: what is asked of it over HTTP and what its answers mean. One implementation per kind
// of server (sglang_dialect.cc, vllm_dialect.cc). Immutable, thread-safe.
#ifndef SWERVE_POLICY_SERVER_DIALECT_H_
#define SWERVE_POLICY_SERVER_DIALECT_H_

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/api_key.h"
#include "base/http_client.h"
#include "policy/engine.h"

namespace swerve {

// The line to one server. Thread-safe.
class ServerLine {
 public:
  struct Options {
    std::string url;  // http://host:port
    ApiKey key;
    std::string ca_file;
    size_t max_reply_bytes = 16 << 20;
    std::function<bool()> closing = nullptr;  // once true, every request is given up
  };
  ServerLine(Options options, std::shared_ptr<HttpTransport> http) : options_(std::move(options)), http_(std::move(http)) {}

  struct Call {
    std::string method = "GET", path, body;
    absl::Duration timeout = absl::Seconds(5);
    std::function<bool()> given_up = nullptr;
    std::optional<absl::Duration>* retry_after = nullptr;  // receives the header
  };
  // The body of a 2xx. UNAVAILABLE: no connection, cut, 5xx; DEADLINE_EXCEEDED; RESOURCE_EXHAUSTED: 429; DATA_LOSS: too large;
  // PERMISSION_DENIED: 401, 403; UNIMPLEMENTED: 404, 405; INVALID_ARGUMENT: any other 4xx; CANCELLED: given up. The message
  // holds the url, never the key. Blocks.
  absl::StatusOr<std::string> Send(const Call& call) const;
  const std::string& url() const { return options_.url; }

 private:
  const Options options_;
  const std::shared_ptr<HttpTransport> http_;
};

// One response that is asked for.
struct ServerAsk {
  const std::vector<int32_t>* prompt_ids = nullptr;
  const GenerateRequest* request = nullptr;
  const std::string* image_url = nullptr;  // data: URL of the prompt's picture, or empty
  const std::vector<int>* eos = nullptr;   // end-of-turn ids
  uint64_t seed = 0;
  std::string model;                       // as ServerState has it
};

struct ServerAnswer {
  std::vector<int32_t> ids;
  std::vector<float> logprobs;
  std::vector<std::vector<TokenLogprob>> top;  // empty: not asked for
  v1::FinishReason finish = v1::FINISH_REASON_UNSPECIFIED;
  std::optional<std::string> weights;               // label, where answers tell it
  std::optional<int64_t> prompt_tokens;             // of the prompt as the server ran it
  std::optional<std::vector<int32_t>> prompt_ids;   // likewise
};

// What a server says of itself.
struct ServerState {
  std::optional<std::string> label;  // of its weights; nothing: it keeps none
  std::string boot;                  // another after a restart; of servers that keep no label
  std::string model;                 // name that requests must give
};

class ServerDialect {
 public:
  virtual ~ServerDialect() = default;
  virtual std::string name() const = 0;
  // INVALID_ARGUMENT: what these servers cannot do as the Engine's contract has it.
  virtual absl::Status Check(const GenerateRequest& request) const { return absl::OkStatus(); }
  // The request for one response; its timeout is the caller's matter.
  virtual ServerLine::Call Generate(const ServerAsk& ask) const = 0;
  // What it answered. DATA_LOSS: malformed; UNAVAILABLE: the server broke it off; FAILED_PRECONDITION: a server that does not
  // tell what is needed (too old, or started without).
  virtual absl::StatusOr<ServerAnswer> Read(const ServerAsk& ask, absl::string_view body) const = 0;
  // Whether it is healthy, and what it is. Errors of ServerLine; FAILED_PRECONDITION: a server that cannot be used.
  virtual absl::StatusOr<ServerState> Look(const ServerLine& line, absl::Duration timeout) const = 0;
  // The state of the weights alone, cheap: after every answer, where answers do not tell it.
  virtual absl::StatusOr<ServerState> Weights(const ServerLine& line, absl::Duration timeout) const = 0;
  // Has it load weights from `path` under `label`; what it was generating is broken off. Blocks up to `timeout`.
  virtual absl::Status Load(const ServerLine& line, const std::string& path, const std::string& label, absl::Duration timeout) const = 0;
  // How the server must be started so that its log-probabilities are those of the temperature.
  virtual std::string HowToGetLogprobs() const = 0;
};

std::unique_ptr<const ServerDialect> SglangDialect();
std::unique_ptr<const ServerDialect> VllmDialect(std::string model);  // empty: the first that the server serves

}  // namespace swerve

#endif  // SWERVE_POLICY_SERVER_DIALECT_H_
