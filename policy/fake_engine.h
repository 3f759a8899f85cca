// An Engine whose answers are scripted: tests of other rooms run a whole worker without a model. Not a policy.
#ifndef SWERVE_POLICY_FAKE_ENGINE_H_
#define SWERVE_POLICY_FAKE_ENGINE_H_

#include <functional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "policy/engine.h"

namespace swerve {

// Token ids are the response's bytes followed by kEnd; each token's log-probability is -0.5. Thread-safe.
class FakeEngine : public Engine {
 public:
  static constexpr int32_t kEnd = 256;
  // Text of the response to (prompt, seed).
  using Script = std::function<std::string(const Prompt& prompt, uint64_t seed)>;
  explicit FakeEngine(Script script, int image_size = 112);

  absl::StatusOr<std::vector<GenerateResult>> Generate(absl::Span<const GenerateRequest> requests) override;
  absl::Status Check(const GenerateRequest& request) const override;
  absl::Status LoadWeights(const v1::PolicyManifest& policy) override;
  v1::PolicyManifest policy() const override;
  absl::StatusOr<std::vector<int32_t>> Tokenize(absl::string_view response_text) const override;
  std::string TokenBytes(int32_t id) const override;
  int image_size() const override { return image_size_; }
  const Codec& codec() const override { return *codec_; }

  // The next Generate (or LoadWeights) fails with this, once.
  void FailNext(absl::Status status);
  int calls() const;
  // Instead of pose3_text. Set it before the engine is used.
  void SetCodec(std::shared_ptr<const Codec> codec) { codec_ = std::move(codec); }
  // Prompts for which this is true cannot be served. Set it before the engine is used.
  void Refuse(std::function<bool(const Prompt& prompt)> refused) { refused_ = std::move(refused); }

 private:
  absl::Status TakeFailure() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Script script_;
  const int image_size_;
  std::function<bool(const Prompt&)> refused_;
  std::shared_ptr<const Codec> codec_ = *CreateCodec("pose3_text");
  mutable absl::Mutex mutex_;
  v1::PolicyManifest policy_ ABSL_GUARDED_BY(mutex_);
  absl::Status failure_ ABSL_GUARDED_BY(mutex_);
  int calls_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace swerve

#endif  // SWERVE_POLICY_FAKE_ENGINE_H_
