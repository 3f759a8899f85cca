#include "policy/fake_engine.h"

#include <utility>

namespace swerve {

FakeEngine::FakeEngine(Script script, int image_size) : script_(std::move(script)), image_size_(image_size) {}

absl::Status FakeEngine::TakeFailure() { return std::exchange(failure_, absl::OkStatus()); }

absl::StatusOr<std::vector<GenerateResult>> FakeEngine::Generate(absl::Span<const GenerateRequest> requests) {
  v1::PolicyManifest policy;
  {
    absl::MutexLock lock(&mutex_);
    ++calls_;
    if (absl::Status s = TakeFailure(); !s.ok()) return s;
    policy = policy_;
  }
  for (const GenerateRequest& request : requests) {
    if (absl::Status s = Check(request); !s.ok()) return s;
  }
  std::vector<GenerateResult> results;
  for (const GenerateRequest& request : requests) {
    GenerateResult& result = results.emplace_back();
    result.policy = policy;
    for (unsigned char c : request.prompt.text) result.prompt_ids.push_back(c);
    for (uint64_t seed : request.seeds) {
      v1::Response& response = result.responses.emplace_back();
      response.set_text(script_(request.prompt, seed));
      response.set_finish(v1::STOP);
      response.set_seed(seed);
      for (unsigned char c : response.text()) response.add_token_ids(c);
      if (response.token_ids_size() >= request.max_new_tokens) {
        response.mutable_token_ids()->Truncate(request.max_new_tokens);
        response.mutable_text()->resize(request.max_new_tokens);
        response.set_finish(v1::LENGTH);
      } else {
        response.add_token_ids(kEnd);
      }
      for (int i = 0; i < response.token_ids_size(); ++i) response.add_logprobs(-0.5f);
      response.add_weight_versions(policy.version());
      Decode(codec(), &response);
      const int sample = static_cast<int>(result.responses.size()) - 1;
      for (const int32_t id : response.token_ids()) {
        if (!request.on_token) break;
        TokenEvent event{sample, {id, -0.5f}, {}};
        for (int k = 0; k < request.top_logprobs; ++k) event.top.push_back({k == 0 ? id : 'a' + k, -0.5f - k});
        request.on_token(event);
      }
    }
    if (request.on_done) request.on_done(result);
  }
  return results;
}

absl::Status FakeEngine::Check(const GenerateRequest& request) const {
  return refused_ && refused_(request.prompt) ? absl::InvalidArgumentError("this prompt is refused") : absl::OkStatus();
}

absl::Status FakeEngine::LoadWeights(const v1::PolicyManifest& policy) {
  absl::MutexLock lock(&mutex_);
  if (absl::Status s = TakeFailure(); !s.ok()) return s;
  policy_ = policy;
  return absl::OkStatus();
}

v1::PolicyManifest FakeEngine::policy() const {
  absl::MutexLock lock(&mutex_);
  return policy_;
}

absl::StatusOr<std::vector<int32_t>> FakeEngine::Tokenize(absl::string_view response_text) const {
  std::vector<int32_t> ids;
  for (unsigned char c : response_text) ids.push_back(c);
  ids.push_back(kEnd);
  return ids;
}

std::string FakeEngine::TokenBytes(int32_t id) const { return id < 0 || id >= kEnd ? "" : std::string(1, static_cast<char>(id)); }

void FakeEngine::FailNext(absl::Status status) {
  absl::MutexLock lock(&mutex_);
  failure_ = std::move(status);
}

int FakeEngine::calls() const {
  absl::MutexLock lock(&mutex_);
  return calls_;
}

}  // namespace swerve
