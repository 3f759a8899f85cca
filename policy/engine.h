// What generates text: prompts in, sampled responses with their log-probabilities out. Torch-free, so that every room
// can hold an Engine; CreateLocalEngine lives in swerve_engine, CreateRemoteEngine in swerve_remote_engine, CreateEngine, which
// chooses, in swerve_engines; FakeEngine in swerve_policy_api.
#ifndef SWERVE_POLICY_ENGINE_H_
#define SWERVE_POLICY_ENGINE_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "base/image.h"
#include "policy/codec.h"
#include "swerve/v1/orchestrator.pb.h"
#include "swerve/v1/response.pb.h"

namespace swerve {

// A turn of the conversation before the one that is asked.
struct Turn {
  std::string role;  // system, user, assistant
  std::string text;
};

// The user's turn. The chat template and the image placeholders are added inside.
struct Prompt {
  std::string text;
  std::shared_ptr<const Image> image;  // null: text alone. Any size; resized to what the model wants
  std::vector<Turn> before = {};       // earlier turns, text alone
};

struct TokenLogprob {
  int32_t id = 0;
  float logprob = 0;
};

// One sampled token, as it is sampled.
struct TokenEvent {
  int sample = 0;  // index into GenerateRequest::seeds
  TokenLogprob token;
  std::vector<TokenLogprob> top;  // the top_logprobs most likely, best first
};

// One group: a prompt and one sample per seed.
struct GenerateRequest {
  Prompt prompt;
  std::vector<uint64_t> seeds;
  double temperature = 1.0;  // 0: greedy (log-probabilities are then those of temperature 1)
  int max_new_tokens = 256;
  double top_p = 1.0;             // nucleus; log-probabilities are then those of the nucleus
  std::vector<std::string> stop = {};  // ends a response, which is cut before it; its tokens keep what was sampled
  int top_logprobs = 0;           // alternatives told with each TokenEvent
  absl::Time deadline = absl::InfiniteFuture();  // responses not ended by then finish as CANCELLED
  std::shared_ptr<const std::atomic<bool>> cancelled = nullptr;  // set by anyone: the same, at the next token
  // Called on the engine's threads, one call at a time for a request; must not block.
  std::function<void(TokenEvent)> on_token = nullptr;
  std::function<void(const struct GenerateResult&)> on_done = nullptr;  // all of this request's responses ended
};

struct GenerateResult {
  std::vector<int32_t> prompt_ids;      // image placeholders expanded: what training must use
  std::vector<v1::Response> responses;  // in the order of the seeds; parse and poses filled by policy/codec.h
  v1::PolicyManifest policy;            // the weights that the prompt was run with
};

// What an engine holds right now; all zero while nobody generates.
struct EngineLoad {
  int64_t prompts = 0;    // whose keys and values are kept
  int64_t sequences = 0;  // being continued
};

// Thread-safe, the destructor apart: any number of callers, whose requests are continued together. A caller that wants new requests to join
// those under way as soon as there is room calls from several threads, a request each.
class Engine {
 public:
  virtual ~Engine() = default;

  // Results in request order. Blocks until every response ended (end-of-turn, max_new_tokens, a stop string, deadline,
  // cancellation). A response depends on (weights, prompt, seed, temperature, max_new_tokens) alone, never on what else is
  // in the batch. INVALID_ARGUMENT names the request that cannot be served (too long for the model's positions, no seeds, an
  // image for a text model).
  virtual absl::StatusOr<std::vector<GenerateResult>> Generate(absl::Span<const GenerateRequest> requests) = 0;

  // OK, or the INVALID_ARGUMENT that Generate would give for this request: one bad prompt need not cost the others their
  // call. Cheap beside Generate. Thread-safe.
  virtual absl::Status Check(const GenerateRequest& request) const = 0;

  // Swaps weights whole. A request whose prompt was run ends with the weights that it began with, except where the engine
  // streams weights (EngineOptions): then with the new ones from its next token on; keys and values of its earlier tokens
  // stay, and Response.weight_versions says which token is whose. The directory must hold the same
  // architecture, and the weights' files the bytes that the manifest's checksum says, when it says one. On error
  // (NOT_FOUND, INVALID_ARGUMENT, DATA_LOSS: other bytes than announced) the old weights stay.
  virtual absl::Status LoadWeights(const v1::PolicyManifest& policy) = 0;

  // What the next prompt is run with.
  virtual v1::PolicyManifest policy() const = 0;

  // Ids of a response that was written, not sampled (teacher ground_truth), end-of-turn appended. Thread-safe.
  // UNIMPLEMENTED where the engine has no tokenizer at hand.
  virtual absl::StatusOr<std::vector<int32_t>> Tokenize(absl::string_view response_text) const {
    return absl::UnimplementedError("this engine cannot tokenize a given response");
  }

  // Bytes that a token adds to the text, not always whole characters; empty for an end-of-turn mark. Thread-safe.
  virtual std::string TokenBytes(int32_t id) const { return ""; }

  // How responses write their trajectory: what parse and poses were read with, and what prompts must ask for.
  virtual const Codec& codec() const { return PoseTextCodec(); }

  // Thread-safe. Zeros where an engine does not tell.
  virtual EngineLoad load() const { return {}; }

  // Side in pixels of the square image the model takes; 0: the model takes none.
  virtual int image_size() const = 0;
};

// Inference servers that generate for this process (policy/remote_engine.h, docs/engines.md).
struct ServerOptions {
  std::vector<std::string> urls;                  // http://host:port
  std::string model;                              // name that they know the policy by; empty: what they say
  std::string api_key_env, api_key_file, ca_file;
  std::string run = "adhoc";                      // names the run in the label of the weights
  absl::Duration deadline = absl::Seconds(100);   // for a group, waiting for a server and all tries included
  absl::Duration refresh = absl::Minutes(5);      // for a server to load weights
  absl::Duration probe = absl::Seconds(5);        // for a server to say how it is, and between looks at one that is down
  int max_attempts = 8;                           // of one response
  int concurrency = 64;                           // requests at once per server
  int max_reply_mb = 16;
  std::string path_here, path_there;              // weights' paths that begin with the one begin with the other on the servers
};

struct EngineOptions {
  std::string engine = "local";  // local, sglang, vllm; the two take their servers, and of the rest model_dir and the codec
  ServerOptions servers;
  std::string model_dir;      // Hugging Face directory (policy/model.h); its weights are version 0
  int threads = 1;            // compute threads
  std::string device = "cpu"; // cpu or cuda:N
  std::string dtype = "float32";  // of the matrices and what they multiply: float32, bfloat16 (sums and the rest: float32)
  int max_batch = 64;         // sequences continued together at most; on a CPU fewer where more would leave the caches
  int64_t cache_mb = 4096;    // MiB of keys and values; requests wait for room
  bool stream_weights = false;  // sequences under way go on with new weights. Their tokens then depend on when those came
  std::string codec = "pose3_text";  // policy/codec.h
  std::string codebook;              // safetensors file of the codec codebook
  std::function<absl::Time()> now = nullptr;  // for deadlines; null: absl::Now
};

// NOT_FOUND, INVALID_ARGUMENT (what config.json asks for and is not supported, by field name; the codec), UNAVAILABLE
// (device).
absl::StatusOr<std::unique_ptr<Engine>> CreateLocalEngine(const EngineOptions& options);

// NOT_FOUND, INVALID_ARGUMENT. Contacts no server: the first call of Generate or LoadWeights does.
absl::StatusOr<std::unique_ptr<Engine>> CreateRemoteEngine(const EngineOptions& options);

// What options.engine says.
absl::StatusOr<std::unique_ptr<Engine>> CreateEngine(const EngineOptions& options);

}  // namespace swerve

#endif  // SWERVE_POLICY_ENGINE_H_
