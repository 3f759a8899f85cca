// One thread of the local engine: runs prompts, continues their rows together, and takes in new groups as rows end, from
// whatever call they come. Rows never depend on each other, so neither loops nor batches change a response beyond what the
// backend's sums depend on them (CPU: not a bit).
#ifndef SWERVE_POLICY_DECODE_LOOP_H_
#define SWERVE_POLICY_DECODE_LOOP_H_

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "policy/decode_backend.h"
#include "policy/engine.h"

namespace swerve {

// A version of the weights. Immutable.
struct LoadedWeights {
  std::shared_ptr<const DecodeWeights> model;
  v1::PolicyManifest policy;
};

// A request on its way through the engine. Held by its rows; its cache is freed with the last.
struct GenerateGroup {
  const GenerateRequest* request = nullptr;  // the caller's, who waits
  GenerateResult* result = nullptr;          // likewise; responses there, with their seeds
  DecodeBackend::Images images;
  int64_t bytes = 0;                             // of all keys and values that it may come to hold
  std::shared_ptr<const LoadedWeights> weights;  // its prompt was run with
  std::unique_ptr<DecodeBackend::Prompt> prompt;
  size_t begun = 0, left = 0;                    // responses
  absl::Status status;                           // of what it was run on
  std::function<void(absl::Status)> ended;       // the caller is told last of all
};

// What a loop asks of its engine. Thread-safe.
class DecodeHost {
 public:
  virtual ~DecodeHost() = default;
  // The next group in line, if it needs at most `room` bytes. With `wait`, blocks until there is one. Null: none now; with
  // `wait`: the engine ends.
  virtual std::unique_ptr<GenerateGroup> Take(bool wait, int64_t room) = 0;
  virtual std::shared_ptr<const LoadedWeights> Weights() = 0;
  // Nobody waits for it any longer.
  virtual bool Cut(const GenerateRequest& request) = 0;
  virtual bool IsEnd(int32_t token) = 0;
  virtual std::string Bytes(int32_t token) = 0;
  // All responses of the group have ended: texts, parses, callbacks.
  virtual void Finish(GenerateGroup* group) = 0;
};

class DecodeLoop {
 public:
  struct Options {
    size_t rows = 64;                 // continued together
    size_t prompts = 1;               // run together
    int64_t cache_bytes = INT64_MAX;  // of keys and values, at most
    bool stream = false;              // rows go on with new weights from their next token on
  };
  struct Load {
    std::atomic<int64_t> prompts{0}, sequences{0};
  };
  DecodeLoop(DecodeHost* host, DecodeBackend* backend, Options options, Load* load) : host_(host), backend_(backend), options_(options), load_(load) {}

  // Until the host ends.
  void Run();

 private:
  struct Sequence {
    std::shared_ptr<GenerateGroup> group;
    std::shared_ptr<const LoadedWeights> weights;
    std::vector<int64_t> versions;  // of its tokens, once they differ
    v1::Response* response = nullptr;
    int sample = 0;
    std::string text;  // bytes so far; kept where there are stop strings
    std::unique_ptr<DecodeBackend::Row> row;
    int32_t token = 0;  // sampled last, not fed yet
  };
  bool Admit();
  bool BeginGroups();
  void RunPrompts(std::vector<std::shared_ptr<GenerateGroup>> taken);
  void AddSequences();
  void Step();
  absl::Status Forward(size_t from, size_t to);
  DecodeBackend::Draw DrawOf(const GenerateGroup& group, const v1::Response& response) const;
  bool Take(DrawnToken drawn, Sequence* sequence);
  bool Ended(int32_t token, Sequence* sequence);
  void End(std::unique_ptr<Sequence> sequence);
  void EndGroup(GenerateGroup* group);
  void Abandon(GenerateGroup* group, absl::Status status);
  void FailAll(const absl::Status& status);

  DecodeHost* const host_;
  DecodeBackend* const backend_;
  const Options options_;
  Load* const load_;
  std::vector<std::unique_ptr<Sequence>> active_, spare_;
  std::deque<std::shared_ptr<GenerateGroup>> begun_;  // prompts were run; some of their responses found no room yet
  std::vector<DecodeBackend::RowWork> work_;          // of the rows
  int64_t held_bytes_ = 0;
};

}  // namespace swerve

#endif  // SWERVE_POLICY_DECODE_LOOP_H_
