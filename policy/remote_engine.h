// The engine whose tokens come from inference servers over HTTP. The prompt is tokenized here and goes out as ids; ids and
// log-probabilities come back; text is never tokenized again. One HTTP request for each seed, spread over the servers.
//
// Weights are told apart by a label, swerve:RUN:VERSION:CHECKSUM, that each server is given with the directory it loads them
// from. An answer that was not made with the label's weights is dropped and asked for again once they are loaded.
// See docs/engines.md; CreateRemoteEngine is in engine.h.
#ifndef SWERVE_POLICY_REMOTE_ENGINE_H_
#define SWERVE_POLICY_REMOTE_ENGINE_H_

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "base/task_pool.h"
#include "policy/engine_text.h"
#include "policy/server_pool.h"

namespace swerve {

// Generate: UNAVAILABLE where no server gave a usable answer within ServerOptions::deadline and max_attempts, which is never an
// outcome of the policy; any other code is a misconfiguration that trying again cannot mend. A request's own deadline and
// cancellation end its responses as CANCELLED, without tokens. Tokens are told (on_token) when a response is whole.
// LoadWeights: waits until what is being generated has ended, and Generate waits for it; so versions never mix in a group.
class RemoteEngine final : public Engine {
 public:
  struct Parts {
    ServerOptions servers;
    std::string model_dir;
    std::unique_ptr<const EngineText> text;
    std::unique_ptr<const ServerDialect> dialect;
    std::shared_ptr<HttpTransport> http;
    ApiKey key;
    RetryClock clock;
  };
  // NOT_FOUND, INVALID_ARGUMENT: urls, numbers, no weights in model_dir.
  static absl::StatusOr<std::unique_ptr<RemoteEngine>> Make(Parts parts);
  // What is under way ends as cancelled, within about a second.
  ~RemoteEngine() override;

  absl::StatusOr<std::vector<GenerateResult>> Generate(absl::Span<const GenerateRequest> requests) override ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status Check(const GenerateRequest& request) const override;
  absl::Status LoadWeights(const v1::PolicyManifest& policy) override ABSL_LOCKS_EXCLUDED(mutex_);
  v1::PolicyManifest policy() const override ABSL_LOCKS_EXCLUDED(mutex_);
  absl::StatusOr<std::vector<int32_t>> Tokenize(absl::string_view text) const override { return parts_.text->Tokenize(text); }
  std::string TokenBytes(int32_t id) const override { return parts_.text->TokenBytes(id); }
  const Codec& codec() const override { return parts_.text->codec(); }
  EngineLoad load() const override { return {groups_.load(), pool_->places()}; }
  int image_size() const override { return parts_.text->image_size(); }

 private:
  struct Group;  // a request on its way

  explicit RemoteEngine(Parts parts);
  ServerWeights WeightsOf(const v1::PolicyManifest& policy, const std::string& checksum) const;
  std::string PathThere(const std::string& path) const;
  absl::Status Prepare(const GenerateRequest& request, Group* group) const;
  bool Cut(const Group& group) const;
  void Respond(Group* group, size_t sample);
  absl::Status Ask(const Group& group, const ServerAsk& ask, ServerAnswer* answer, v1::Response* response);
  absl::Status Try(const Group& group, ServerAsk ask, ServerAnswer* answer, v1::Response* response, bool* again_at_once);
  void End(Group* group, size_t sample, const absl::Status& status, ServerAnswer answer, v1::Response response);
  void Wait(absl::Duration pause, const Group& group) const;
  v1::PolicyManifest Enter() ABSL_LOCKS_EXCLUDED(mutex_);
  void Leave() ABSL_LOCKS_EXCLUDED(mutex_);

  const Parts parts_;
  std::atomic<bool> closing_{false};
  std::atomic<int64_t> groups_{0};
  std::unique_ptr<ServerPool> pool_;
  mutable absl::Mutex mutex_;
  v1::PolicyManifest policy_ ABSL_GUARDED_BY(mutex_);
  std::string checksum_ ABSL_GUARDED_BY(mutex_);  // of policy_, which may not tell it
  int generating_ ABSL_GUARDED_BY(mutex_) = 0;    // calls of Generate
  bool loading_ ABSL_GUARDED_BY(mutex_) = false;
  std::unique_ptr<TaskPool> tasks_;               // last: its threads use what is above
};

// swerve:RUN:VERSION:CHECKSUM, of characters that any server takes.
std::string WeightsLabel(const std::string& run, int64_t version, const std::string& checksum);

}  // namespace swerve

#endif  // SWERVE_POLICY_REMOTE_ENGINE_H_
