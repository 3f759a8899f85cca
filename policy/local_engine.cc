// The engine that runs in this process, on its cores or on a CUDA device. Requests of all callers wait in one line; loops
// (decode_loop.h) take them as they have room.
#include <algorithm>
#include <atomic>
#include <deque>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/blocking_counter.h"
#include "absl/synchronization/mutex.h"
#include "base/status.h"
#include "policy/checkpoint.h"
#include "policy/cpu_backend.h"
#include "policy/decode_backend.h"
#include "policy/decode_loop.h"
#include "policy/engine.h"
#include "policy/engine_text.h"
#include "policy/fused_model.h"
#include "policy/prompt_input.h"

namespace swerve {
namespace {

class LocalEngine : public Engine, private DecodeHost {
 public:
  LocalEngine(EngineOptions options, std::unique_ptr<EnginePlatform> platform, std::unique_ptr<const EngineText> text)
      : options_(std::move(options)), platform_(std::move(platform)), text_(std::move(text)), config_(text_->config()) {}
  ~LocalEngine() override;

  // Begins to serve, with the weights that were loaded before.
  absl::Status Start();

  absl::StatusOr<std::vector<GenerateResult>> Generate(absl::Span<const GenerateRequest> requests) override;
  absl::Status Check(const GenerateRequest& request) const override {
    GenerateResult unused;
    return Prepare(request, &unused).status();
  }
  absl::Status LoadWeights(const v1::PolicyManifest& policy) override;
  v1::PolicyManifest policy() const override {
    absl::MutexLock lock(&mutex_);
    return weights_->policy;
  }
  absl::StatusOr<std::vector<int32_t>> Tokenize(absl::string_view response_text) const override {
    return text_->Tokenize(response_text);
  }
  std::string TokenBytes(int32_t id) const override { return text_->TokenBytes(id); }
  int image_size() const override { return ImageSize(config_); }
  const Codec& codec() const override { return text_->codec(); }
  EngineLoad load() const override { return {load_.prompts.load(), load_.sequences.load()}; }

 private:
  std::unique_ptr<GenerateGroup> Take(bool wait, int64_t room) override;
  std::shared_ptr<const LoadedWeights> Weights() override {
    absl::MutexLock lock(&mutex_);
    return weights_;
  }
  bool Cut(const GenerateRequest& request) override;
  bool IsEnd(int32_t token) override { return text_->EndsTurn(token); }
  std::string Bytes(int32_t token) override { return text_->tokenizer().Bytes(token); }
  void Finish(GenerateGroup* group) override;

  absl::StatusOr<std::unique_ptr<GenerateGroup>> Prepare(const GenerateRequest& request, GenerateResult* result) const;

  const EngineOptions options_;
  const std::unique_ptr<EnginePlatform> platform_;
  const std::unique_ptr<const EngineText> text_;
  const ModelConfig& config_;
  EnginePlatform::Layout layout_;
  std::atomic<bool> closing_{false};
  mutable absl::Mutex mutex_;
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
  std::deque<std::unique_ptr<GenerateGroup>> line_ ABSL_GUARDED_BY(mutex_);
  std::shared_ptr<const LoadedWeights> weights_ ABSL_GUARDED_BY(mutex_);
  DecodeLoop::Load load_;
  std::vector<std::unique_ptr<DecodeLoop>> loops_;
  std::vector<std::thread> threads_;
};

absl::Status LocalEngine::Start() {
  SWERVE_ASSIGN_OR_RETURN(layout_, platform_->Start(config_, *Weights()->model));
  DecodeHost* const host = this;
  const DecodeLoop::Options options{layout_.rows, layout_.prompts, layout_.cache_bytes, options_.stream_weights};
  for (const auto& backend : layout_.loops) loops_.push_back(std::make_unique<DecodeLoop>(host, backend.get(), options, &load_));
  for (const auto& loop : loops_) threads_.emplace_back([&loop] { loop->Run(); });
  return absl::OkStatus();
}

// What still waits or is under way ends as cancelled.
LocalEngine::~LocalEngine() {
  closing_ = true;
  {
    absl::MutexLock lock(&mutex_);
    closed_ = true;
  }
  for (std::thread& t : threads_) t.join();
}

absl::StatusOr<std::unique_ptr<GenerateGroup>> LocalEngine::Prepare(const GenerateRequest& request, GenerateResult* result) const {
  auto group = std::make_unique<GenerateGroup>();
  group->request = &request;
  group->result = result;
  SWERVE_ASSIGN_OR_RETURN(result->prompt_ids, text_->Prompt(request));
  if (request.prompt.image) {
    SWERVE_ASSIGN_OR_RETURN(ProcessedImage image, VisionInput(config_, *request.prompt.image));
    group->images.push_back(std::make_shared<const ProcessedImage>(std::move(image)));
  }
  group->bytes = platform_->CacheBytes(config_, static_cast<int>(result->prompt_ids.size())) +
                 static_cast<int64_t>(request.seeds.size()) * platform_->CacheBytes(config_, request.max_new_tokens);
  if (group->bytes > layout_.cache_bytes) {
    return absl::InvalidArgumentError(absl::StrCat("the request's keys and values take ", group->bytes >> 20, " MiB, more than the ", layout_.cache_bytes >> 20,
                                                   " MiB that ", loops_.size() > 1 ? "each of the engine's threads" : "the engine", " may hold (cache_mb); ask for fewer samples or tokens"));
  }
  for (uint64_t seed : request.seeds) result->responses.emplace_back().set_seed(seed);
  return group;
}

// Nobody waits for it any longer.
bool LocalEngine::Cut(const GenerateRequest& request) {
  if (closing_.load(std::memory_order_relaxed)) return true;
  if (request.cancelled && request.cancelled->load()) return true;
  return request.deadline < absl::InfiniteFuture() && (options_.now ? options_.now() : absl::Now()) > request.deadline;
}

std::unique_ptr<GenerateGroup> LocalEngine::Take(bool wait, int64_t room) {
  absl::MutexLock lock(&mutex_);
  const auto ready = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return closed_ || !line_.empty(); };
  if (wait) mutex_.Await(absl::Condition(&ready));
  if (line_.empty() || line_.front()->bytes > room) return nullptr;
  std::unique_ptr<GenerateGroup> group = std::move(line_.front());
  line_.pop_front();
  return group;
}

void LocalEngine::Finish(GenerateGroup* group) {
  for (v1::Response& response : group->result->responses) text_->Finish(group->request->stop, &response);
  if (group->request->on_done) group->request->on_done(*group->result);
  group->ended(group->status);
}

absl::StatusOr<std::vector<GenerateResult>> LocalEngine::Generate(absl::Span<const GenerateRequest> requests) {
  std::vector<GenerateResult> results(requests.size());
  std::vector<std::unique_ptr<GenerateGroup>> groups;
  std::vector<absl::Status> status(requests.size());
  absl::BlockingCounter left(static_cast<int>(requests.size()));
  for (size_t i = 0; i < requests.size(); ++i) {
    auto group = Prepare(requests[i], &results[i]);
    if (!group.ok()) return Annotate(group.status(), absl::StrCat("request ", i));
    (*group)->ended = [&left, to = &status[i]](absl::Status s) {
      *to = std::move(s);
      left.DecrementCount();
    };
    groups.push_back(*std::move(group));
  }
  {
    absl::MutexLock lock(&mutex_);
    for (auto& group : groups) line_.push_back(std::move(group));
  }
  left.Wait();
  for (const absl::Status& s : status) SWERVE_RETURN_IF_ERROR(s);
  return results;
}

absl::Status LocalEngine::LoadWeights(const v1::PolicyManifest& policy) {
  if (!policy.checksum().empty()) {
    SWERVE_ASSIGN_OR_RETURN(const std::string found, WeightsChecksum(policy.directory()));
    if (found != policy.checksum()) {
      return absl::DataLossError(absl::StrCat("the weights in ", policy.directory(), " have SHA-256 ", found, ", version ",
                                              policy.version(), " was announced with ", policy.checksum()));
    }
  }
  SWERVE_ASSIGN_OR_RETURN(std::shared_ptr<const DecodeWeights> model, platform_->Load(policy.directory(), config_));
  auto weights = std::make_shared<const LoadedWeights>(LoadedWeights{std::move(model), policy});
  absl::MutexLock lock(&mutex_);
  weights_ = std::move(weights);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Engine>> CreateEngineOn(std::unique_ptr<EnginePlatform> platform, const EngineOptions& options) {
  if (options.threads < 1 || options.max_batch < 1 || options.cache_mb < 1) return absl::InvalidArgumentError("threads, max_batch and cache_mb must be at least 1");
  SWERVE_ASSIGN_OR_RETURN(std::unique_ptr<const EngineText> text, EngineText::Load(options.model_dir, options.codec, options.codebook, FusedModel::kMaxPositions));
  SWERVE_RETURN_IF_ERROR(platform->Check(text->config()));
  auto engine = std::make_unique<LocalEngine>(options, std::move(platform), std::move(text));
  v1::PolicyManifest start;
  start.set_directory(options.model_dir);
  SWERVE_RETURN_IF_ERROR(engine->LoadWeights(start));
  SWERVE_RETURN_IF_ERROR(engine->Start());
  return engine;
}

absl::StatusOr<std::unique_ptr<Engine>> CreateLocalEngine(const EngineOptions& options) {
  if (options.device != "cpu") {
    return absl::UnavailableError(absl::StrCat("device '", options.device, "': built without CUDA (CMake found no CUDA compiler), so the generation engine runs on cpu alone"));
  }
  SWERVE_ASSIGN_OR_RETURN(std::unique_ptr<EnginePlatform> platform, CreateCpuPlatform(options));
  return CreateEngineOn(std::move(platform), options);
}

}  // namespace swerve
