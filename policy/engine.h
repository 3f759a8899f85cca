// What generates text: prompts in, sampled responses with their log-probabilities out. Torch-free, so that every room
// can hold an Engine; CreateLocalEngine lives in the LibTorch library swerve_policy, FakeEngine in swerve_policy_api.
#ifndef SWERVE_POLICY_ENGINE_H_
#define SWERVE_POLICY_ENGINE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "base/image.h"
#include "swerve/v1/orchestrator.pb.h"
#include "swerve/v1/response.pb.h"

namespace swerve {

// The user's turn. The chat template and the image placeholders are added inside.
struct Prompt {
  std::string text;
  std::shared_ptr<const Image> image;  // null: text alone. Any size; resized to what the model wants
};

// One group: a prompt and one sample per seed.
struct GenerateRequest {
  Prompt prompt;
  std::vector<uint64_t> seeds;
  double temperature = 1.0;  // 0: greedy (log-probabilities are then those of temperature 1)
  int max_new_tokens = 256;
};

struct GenerateResult {
  std::vector<int32_t> prompt_ids;      // image placeholders expanded: what training must use
  std::vector<v1::Response> responses;  // in the order of the seeds; parse and poses filled by policy/codec.h
};

// Engines serve one caller at a time; LoadWeights and policy() may be called from any thread. Generate blocks until
// every response ended (end-of-turn or max_new_tokens).
class Engine {
 public:
  virtual ~Engine() = default;

  // Results in request order. A response depends on (weights, prompt, seed, temperature, max_new_tokens) alone, never
  // on what else is in the batch. INVALID_ARGUMENT names the request that cannot be served (too long for the model's
  // positions, no seeds, an image for a text model).
  virtual absl::StatusOr<std::vector<GenerateResult>> Generate(absl::Span<const GenerateRequest> requests) = 0;

  // OK, or the INVALID_ARGUMENT that Generate would give for this request: one bad prompt need not cost the others their
  // call. Cheap beside Generate. Thread-safe.
  virtual absl::Status Check(const GenerateRequest& request) const = 0;

  // Swaps weights whole: a Generate under way ends with the weights it began with. The directory must hold the same
  // architecture, and model.safetensors the bytes that the manifest's checksum says, when it says one. On error
  // (NOT_FOUND, INVALID_ARGUMENT, DATA_LOSS: other bytes than announced) the old weights stay.
  virtual absl::Status LoadWeights(const v1::PolicyManifest& policy) = 0;

  // What the next Generate samples from.
  virtual v1::PolicyManifest policy() const = 0;

  // Ids of a response that was written, not sampled (teacher ground_truth), end-of-turn appended. Thread-safe.
  // UNIMPLEMENTED where the engine has no tokenizer at hand.
  virtual absl::StatusOr<std::vector<int32_t>> Tokenize(absl::string_view response_text) const {
    return absl::UnimplementedError("this engine cannot tokenize a given response");
  }

  // Side in pixels of the square image the model takes; 0: the model takes none.
  virtual int image_size() const = 0;
};

struct EngineOptions {
  std::string model_dir;      // Hugging Face directory (policy/model.h); its weights are version 0
  int threads = 1;            // compute threads
  std::string device = "cpu"; // cpu or cuda:N
  int max_batch = 64;         // sequences decoded together; bounds the memory of keys and values
};

// NOT_FOUND, INVALID_ARGUMENT (what config.json asks for and is not supported, by field name), UNAVAILABLE (device).
absl::StatusOr<std::unique_ptr<Engine>> CreateLocalEngine(const EngineOptions& options);

}  // namespace swerve

#endif  // SWERVE_POLICY_ENGINE_H_
