// One thread of the local engine (with a team, the thread that leads it): runs prompts, continues their rows together, and
// takes in new groups as rows end, from whatever call they come. Rows never depend on each other, so neither loops nor
// batches change a bit of a response.
#ifndef SWERVE_POLICY_DECODE_LOOP_H_
#define SWERVE_POLICY_DECODE_LOOP_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "policy/engine.h"
#include "policy/fused_model.h"
#include "policy/sampler.h"
#include "policy/team.h"

namespace swerve {

// A version of the weights. Immutable.
struct LoadedWeights {
  std::shared_ptr<const FusedModel> model;
  v1::PolicyManifest policy;
};

// A request on its way through the engine. Held by its rows; its cache is freed with the last.
struct GenerateGroup {
  const GenerateRequest* request = nullptr;  // the caller's, who waits
  GenerateResult* result = nullptr;          // likewise; responses there, with their seeds
  FusedModel::Images images;
  int64_t bytes = 0;                                // of all keys and values that it may come to hold
  std::shared_ptr<const LoadedWeights> weights;     // its prompt was run with
  FusedModel::Cache cache;
  size_t begun = 0, left = 0;     // responses
  std::function<void()> ended;    // the caller is told last of all
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
    size_t rows = 64;                // continued together
    int64_t cache_bytes = INT64_MAX;  // of keys and values, at most
    bool stream = false;             // rows go on with new weights from their next token on
    Team* team = nullptr;
  };
  struct Load {
    std::atomic<int64_t> prompts{0}, sequences{0};
  };
  DecodeLoop(DecodeHost* host, Options options, Load* load) : host_(host), options_(options), load_(load) { scratch_.team = options.team; }

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
    FusedModel::Row row;
    int32_t token = 0;  // sampled last, not fed yet
  };
  bool Admit();
  bool Begin();
  void AddSequence();
  void Step();
  void Forward(size_t from, size_t to);
  DrawnToken Draw(const float* logits, const Sequence& sequence, std::vector<float>* scratch) const;
  bool Take(DrawnToken drawn, Sequence* sequence);
  bool Ended(int32_t token, Sequence* sequence);
  void End(std::unique_ptr<Sequence> sequence);
  void EndGroup(GenerateGroup* group);

  DecodeHost* const host_;
  const Options options_;
  Load* const load_;
  FusedModel::Scratch scratch_;
  std::vector<std::unique_ptr<Sequence>> active_, spare_;
  std::shared_ptr<GenerateGroup> next_;  // its prompt was run; some of its responses found no room yet
  std::vector<float> first_, logits_;    // after next_'s prompt, of the rows
  std::vector<std::vector<float>> probabilities_;  // of the members of the team
  std::vector<DrawnToken> drawn_;
  int64_t held_bytes_ = 0, spare_bytes_ = 0;
};

}  // namespace swerve

#endif  // SWERVE_POLICY_DECODE_LOOP_H_
