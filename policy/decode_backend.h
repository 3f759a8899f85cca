// What the loops of the local engine (policy/decode_loop.h) run a model on: this machine's cores (policy/cpu_backend.h) or a
// CUDA device (policy/cuda_backend.h). Torch-free.
#ifndef SWERVE_POLICY_DECODE_BACKEND_H_
#define SWERVE_POLICY_DECODE_BACKEND_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "policy/engine.h"
#include "policy/model_config.h"
#include "policy/sampler.h"

namespace swerve {

// A model's weights where the backend wants them. Immutable; any loop may use them at any time.
class DecodeWeights {
 public:
  virtual ~DecodeWeights() = default;
};

// Belongs to one loop and is used by its thread alone. Calls block until what they return is there. An error (UNAVAILABLE,
// INTERNAL: the device failed or its memory is full) leaves the prompts and rows that were given as they may be: end them.
class DecodeBackend {
 public:
  using Images = std::vector<std::shared_ptr<const ProcessedImage>>;

  // Keys and values of a prompt, shared by the rows that continue it and must end before it, and what it predicts.
  class Prompt {
   public:
    virtual ~Prompt() = default;
  };
  // A sequence that continues a prompt: its own keys and values.
  class Row {
   public:
    virtual ~Row() = default;
  };

  struct PromptWork {
    const std::vector<int32_t>* ids = nullptr;
    const Images* images = nullptr;    // fill the placeholders in order
    std::unique_ptr<Prompt> prompt = nullptr;  // out
  };
  // A token to draw as the request asks (policy/sampler.h).
  struct Draw {
    const GenerateRequest* request = nullptr;
    double uniform = 0;
    DrawnToken drawn = {};  // out
  };
  // A token to feed, and what comes after it.
  struct RowWork {
    Row* row = nullptr;
    int32_t token = 0;
    Draw draw;
  };

  virtual ~DecodeBackend() = default;

  virtual absl::Status Prefill(const DecodeWeights& weights, absl::Span<PromptWork> prompts) = 0;
  // First tokens of rows that continue `prompt`.
  virtual absl::Status First(const Prompt& prompt, absl::Span<Draw> draws) = 0;
  // A row with room for `tokens`. The room was accounted for by EnginePlatform::CacheBytes, so there is always some.
  virtual std::unique_ptr<Row> Begin(const Prompt& prompt, int tokens) = 0;
  virtual void End(std::unique_ptr<Row> row) = 0;
  // One token more for each row.
  virtual absl::Status Step(const DecodeWeights& weights, absl::Span<RowWork> rows) = 0;
  // Seconds of the parts of a step like the last, for benchmarks; empty where it does not know. What rows hold is then spoilt.
  virtual std::map<std::string, double> TimeParts(const DecodeWeights& weights) { return {}; }
  // Prompts and rows now hold `bytes`; what is kept beyond that for later ones must not exceed `spare`.
  virtual void Trim(int64_t bytes, int64_t spare) {}
};

// How an engine is laid out on a machine. Thread-safe.
class EnginePlatform {
 public:
  struct Layout {
    std::vector<std::unique_ptr<DecodeBackend>> loops;
    size_t rows = 64;                 // that each continues together
    int64_t cache_bytes = INT64_MAX;  // that each may hold
    size_t prompts = 1;               // that each had better run together
  };
  virtual ~EnginePlatform() = default;

  // UNIMPLEMENTED names what of the model it cannot run.
  virtual absl::Status Check(const ModelConfig& config) const = 0;
  // Errors as Engine::LoadWeights.
  virtual absl::StatusOr<std::shared_ptr<const DecodeWeights>> Load(const std::string& dir, const ModelConfig& config) const = 0;
  // Of the keys and values of `tokens` consecutive tokens.
  virtual int64_t CacheBytes(const ModelConfig& config, int tokens) const = 0;
  // Called once. UNAVAILABLE: the device has not the memory.
  virtual absl::StatusOr<Layout> Start(const ModelConfig& config, const DecodeWeights& first) = 0;
};

// The engine of this process over `platform`; options.device and dtype are the platform's business. Errors as CreateLocalEngine.
absl::StatusOr<std::unique_ptr<Engine>> CreateEngineOn(std::unique_ptr<EnginePlatform> platform, const EngineOptions& options);

}  // namespace swerve

#endif  // SWERVE_POLICY_DECODE_BACKEND_H_
