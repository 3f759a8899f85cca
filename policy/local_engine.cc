// The engine that runs in this process on CPU threads. Each thread takes whole groups from the call's queue, runs their
// prompts and decodes its rows together; rows never depend on each other, so neither threads nor batch change a bit.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "base/random.h"
#include "base/sha256.h"
#include "base/status.h"
#include "policy/checkpoint.h"
#include "policy/codec.h"
#include "policy/engine.h"
#include "policy/fused_model.h"
#include "policy/prompt_input.h"

namespace swerve {
namespace {

// A prompt ready to run. Held by its rows; freed with the last.
struct Group {
  const GenerateRequest* request;
  GenerateResult* result;
  std::vector<float> pixels;
  FusedModel::Cache cache;
};

struct Sequence {
  std::shared_ptr<Group> group;
  v1::Response* response;
  FusedModel::Row row;
  int32_t token = 0;  // sampled last, not fed yet
};

class LocalEngine : public Engine {
 public:
  LocalEngine(EngineOptions options, ModelConfig config, std::unique_ptr<const Tokenizer> tokenizer)
      : options_(std::move(options)), config_(std::move(config)), tokenizer_(std::move(tokenizer)) {}

  absl::StatusOr<std::vector<GenerateResult>> Generate(absl::Span<const GenerateRequest> requests) override;
  absl::Status Check(const GenerateRequest& request) const override {
    GenerateResult unused;
    return Prepare(request, &unused).status();
  }
  absl::Status LoadWeights(const v1::PolicyManifest& policy) override;
  v1::PolicyManifest policy() const override {
    absl::MutexLock lock(&mutex_);
    return policy_;
  }
  absl::StatusOr<std::vector<int32_t>> Tokenize(absl::string_view response_text) const override {
    return ResponseIds(*tokenizer_, config_, response_text);
  }
  int image_size() const override { return config_.vision.image; }

 private:
  absl::StatusOr<std::shared_ptr<Group>> Prepare(const GenerateRequest& request, GenerateResult* result) const;
  void Work(const FusedModel& model, std::vector<std::shared_ptr<Group>>* groups, std::atomic<size_t>* next, size_t room) const;
  bool Sample(const float* logits, Sequence* sequence, std::vector<float>* scratch) const;
  void Finish(int64_t version, GenerateResult* result) const;

  const EngineOptions options_;
  const ModelConfig config_;
  const std::unique_ptr<const Tokenizer> tokenizer_;
  mutable absl::Mutex mutex_;
  std::shared_ptr<const FusedModel> model_ ABSL_GUARDED_BY(mutex_);
  v1::PolicyManifest policy_ ABSL_GUARDED_BY(mutex_);
};

absl::StatusOr<std::shared_ptr<Group>> LocalEngine::Prepare(const GenerateRequest& request, GenerateResult* result) const {
  if (request.seeds.empty()) return absl::InvalidArgumentError("no seeds");
  if (request.max_new_tokens < 1) return absl::InvalidArgumentError("max_new_tokens is below 1");
  if (!(request.temperature >= 0) || !std::isfinite(request.temperature)) return absl::InvalidArgumentError("temperature is negative or not finite");
  auto group = std::make_shared<Group>();
  group->request = &request;
  group->result = result;
  SWERVE_ASSIGN_OR_RETURN(result->prompt_ids, PromptIds(*tokenizer_, config_, request.prompt.text, request.prompt.image != nullptr));
  const int64_t total = static_cast<int64_t>(result->prompt_ids.size()) + request.max_new_tokens;
  if (total > config_.text.max_positions) {
    return absl::InvalidArgumentError(absl::StrCat(result->prompt_ids.size(), " prompt tokens and max_new_tokens ", request.max_new_tokens, " exceed the model's ", config_.text.max_positions, " positions"));
  }
  for (int32_t id : result->prompt_ids) {
    if (id >= config_.text.vocab) return absl::InvalidArgumentError(absl::StrCat("token id ", id, " is outside the model's vocabulary"));
  }
  if (request.prompt.image) {
    SWERVE_ASSIGN_OR_RETURN(group->pixels, Pixels(*request.prompt.image, config_));
  }
  for (uint64_t seed : request.seeds) result->responses.emplace_back().set_seed(seed);
  return group;
}

// Draws the next token. The draw is keyed by (seed, position). False when the sequence ended.
bool LocalEngine::Sample(const float* logits, Sequence* sequence, std::vector<float>* scratch) const {
  const int vocab = config_.text.vocab;
  const double temperature = sequence->group->request->temperature;
  v1::Response* response = sequence->response;
  scratch->resize(kernels::Padded(vocab));
  float* p = scratch->data();
  const float scale = temperature > 0 ? static_cast<float>(1.0 / temperature) : 1.0f;
  for (int i = 0; i < vocab; ++i) p[i] = logits[i] * scale;
  float max;
  const double sum = kernels::Best().exp_sum(p, vocab, &max);
  int32_t token = 0;
  if (temperature > 0) {
    const double target = Random(StreamSeed(response->seed(), HashName("sample"), response->token_ids_size())).Uniform() * sum;
    double below = 0;
    int32_t last = 0;
    for (token = 0; token < vocab; ++token) {
      if (p[token] > 0) last = token;
      below += p[token];
      if (below > target) break;
    }
    if (token == vocab) token = last;
  } else {
    token = static_cast<int32_t>(std::max_element(logits, logits + vocab) - logits);
  }
  response->add_token_ids(token);
  response->add_logprobs(static_cast<float>(static_cast<double>(logits[token] * scale) - max - std::log(sum)));
  sequence->token = token;
  if (std::find(config_.eos.begin(), config_.eos.end(), token) != config_.eos.end()) {
    response->set_finish(v1::STOP);
    return false;
  }
  if (response->token_ids_size() >= sequence->group->request->max_new_tokens) {
    response->set_finish(v1::LENGTH);
    return false;
  }
  return true;
}

void LocalEngine::Work(const FusedModel& model, std::vector<std::shared_ptr<Group>>* groups, std::atomic<size_t>* next, size_t room) const {
  FusedModel::Scratch scratch;
  std::vector<float> logits(model.logit_stride()), probabilities;
  std::vector<std::unique_ptr<Sequence>> active, spare;
  std::vector<FusedModel::Row*> rows;
  std::vector<int32_t> tokens;
  // Sequences of a prompt that found no room yet, with the logits that start them.
  std::shared_ptr<Group> group;
  size_t begun = 0;
  std::vector<float> first(model.logit_stride());
  while (true) {
    while (active.size() < room) {
      if (group == nullptr) {
        const size_t i = next->fetch_add(1);
        if (i >= groups->size()) break;
        group = std::move((*groups)[i]);
        begun = 0;
        model.Prefill(group->result->prompt_ids, group->pixels.empty() ? nullptr : group->pixels.data(), &group->cache, first.data(), &scratch);
      }
      std::unique_ptr<Sequence> s;
      if (spare.empty()) {
        s = std::make_unique<Sequence>();
      } else {
        s = std::move(spare.back());
        spare.pop_back();
      }
      s->group = group;
      s->response = &group->result->responses[begun];
      s->row.prompt = &group->cache;
      s->row.own.Reset(model, group->request->max_new_tokens);
      if (++begun == group->request->seeds.size()) group = nullptr;
      if (Sample(first.data(), s.get(), &probabilities)) active.push_back(std::move(s));
    }
    if (active.empty()) return;
    rows.clear(), tokens.clear();
    for (auto& s : active) rows.push_back(&s->row), tokens.push_back(s->token);
    logits.resize(active.size() * model.logit_stride());
    model.Step(rows, tokens, logits.data(), &scratch);
    size_t kept = 0;
    for (size_t i = 0; i < active.size(); ++i) {
      if (Sample(logits.data() + i * model.logit_stride(), active[i].get(), &probabilities)) {
        if (kept != i) std::swap(active[kept], active[i]);
        ++kept;
      } else {
        active[i]->group = nullptr;
        spare.push_back(std::move(active[i]));
      }
    }
    active.resize(kept);
  }
}

void LocalEngine::Finish(int64_t version, GenerateResult* result) const {
  for (v1::Response& response : result->responses) {
    std::vector<int32_t> ids(response.token_ids().begin(), response.token_ids().end());
    if (response.finish() == v1::STOP) ids.pop_back();
    response.set_text(tokenizer_->Decode(ids));
    response.add_weight_versions(version);
    const Parsed parsed = ParsePose3(response.text());
    response.set_parse(parsed.status);
    for (const v1::Pose& pose : parsed.poses) *response.add_poses() = pose;
  }
}

absl::StatusOr<std::vector<GenerateResult>> LocalEngine::Generate(absl::Span<const GenerateRequest> requests) {
  std::shared_ptr<const FusedModel> model;
  int64_t version;
  {
    absl::MutexLock lock(&mutex_);
    model = model_;
    version = policy_.version();
  }
  std::vector<GenerateResult> results(requests.size());
  std::vector<std::shared_ptr<Group>> groups;
  for (size_t i = 0; i < requests.size(); ++i) {
    auto group = Prepare(requests[i], &results[i]);
    if (!group.ok()) return Annotate(group.status(), absl::StrCat("request ", i));
    groups.push_back(*std::move(group));
  }
  std::atomic<size_t> next{0};
  const size_t threads = std::clamp<size_t>(options_.threads, 1, std::max<size_t>(1, groups.size()));
  const size_t room = std::max<size_t>(1, options_.max_batch / threads);
  std::vector<std::thread> helpers;
  for (size_t i = 1; i < threads; ++i) helpers.emplace_back([&] { Work(*model, &groups, &next, room); });
  Work(*model, &groups, &next, room);
  for (std::thread& t : helpers) t.join();
  for (GenerateResult& result : results) Finish(version, &result);
  return results;
}

absl::Status LocalEngine::LoadWeights(const v1::PolicyManifest& policy) {
  if (!policy.checksum().empty()) {
    SWERVE_ASSIGN_OR_RETURN(const std::string found, Sha256OfFile(policy.directory() + "/model.safetensors"));
    if (found != policy.checksum()) {
      return absl::DataLossError(absl::StrCat(policy.directory(), "/model.safetensors has SHA-256 ", found, ", version ",
                                              policy.version(), " was announced with ", policy.checksum()));
    }
  }
  SWERVE_ASSIGN_OR_RETURN(TensorMap tensors, LoadTensors(policy.directory(), config_));
  SWERVE_ASSIGN_OR_RETURN(std::shared_ptr<const FusedModel> model, FusedModel::Create(config_, tensors));
  absl::MutexLock lock(&mutex_);
  model_ = std::move(model);
  policy_ = policy;
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Engine>> CreateLocalEngine(const EngineOptions& options) {
  if (options.device != "cpu") {
    return absl::UnavailableError(absl::StrCat("the generation engine runs on cpu, not on '", options.device, "'"));
  }
  if (options.threads < 1 || options.max_batch < 1) return absl::InvalidArgumentError("threads and max_batch must be at least 1");
  SWERVE_ASSIGN_OR_RETURN(ModelConfig config, LoadModelConfig(options.model_dir));
  SWERVE_ASSIGN_OR_RETURN(std::unique_ptr<const Tokenizer> tokenizer, Tokenizer::Load(options.model_dir));
  if (config.eos.empty()) {
    if (int32_t id = tokenizer->Id("<|im_end|>"); id >= 0) config.eos.push_back(id);
  }
  if (config.eos.empty()) return absl::InvalidArgumentError(options.model_dir + ": no eos_token_id in generation_config.json or config.json");
  auto engine = std::make_unique<LocalEngine>(options, std::move(config), std::move(tokenizer));
  v1::PolicyManifest start;
  start.set_directory(options.model_dir);
  SWERVE_RETURN_IF_ERROR(engine->LoadWeights(start));
  return engine;
}

}  // namespace swerve
