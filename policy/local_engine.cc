// The engine that runs in this process on CPU threads. Each thread takes whole groups from the call's queue, runs their
// prompts and decodes its rows together; rows never depend on each other, so neither threads nor batch change a bit.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdlib>
#include <thread>

#include <spdlog/spdlog.h>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "base/random.h"
#include "base/status.h"
#include "policy/checkpoint.h"
#include "policy/engine.h"
#include "policy/fused_model.h"
#include "policy/prompt_input.h"

namespace swerve {
namespace {

// A prompt ready to run. Held by its rows; freed with the last.
struct Group {
  const GenerateRequest* request;
  GenerateResult* result;
  FusedModel::Images images;
  FusedModel::Cache cache;
  size_t left = 0;  // responses not ended
  std::atomic<int64_t>* counted = nullptr;  // of the prompts whose cache is held, once this is one of them
  ~Group() {
    if (counted != nullptr) --*counted;
  }
};

struct Sequence {
  std::shared_ptr<Group> group;
  v1::Response* response;
  int sample = 0;
  std::string text;  // bytes so far; kept where there are stop strings
  FusedModel::Row row;
  int32_t token = 0;  // sampled last, not fed yet
};

// The `count` largest, best first.
std::vector<int32_t> Largest(const float* p, int n, int count) {
  std::vector<int32_t> ids(count > 0 ? n : 0);
  for (size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<int32_t>(i);
  count = std::min(count, n);
  std::partial_sort(ids.begin(), ids.begin() + count, ids.end(), [p](int32_t a, int32_t b) { return p[a] != p[b] ? p[a] > p[b] : a < b; });
  ids.resize(count);
  return ids;
}

// Zeroes all but the smallest set of the largest whose sum reaches `mass`; returns that sum.
double KeepNucleus(float* p, int n, double mass) {
  std::vector<int32_t> ids = Largest(p, n, n);
  double kept = 0;
  size_t i = 0;
  while (i < ids.size() && (i == 0 || kept < mass)) kept += p[ids[i++]];
  for (; i < ids.size(); ++i) p[ids[i]] = 0;
  return kept;
}

class LocalEngine : public Engine {
 public:
  LocalEngine(EngineOptions options, ModelConfig config, std::unique_ptr<const Tokenizer> tokenizer, std::shared_ptr<const Codec> codec)
      : options_(std::move(options)), config_(std::move(config)), tokenizer_(std::move(tokenizer)), codec_(std::move(codec)) {}

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
  std::string TokenBytes(int32_t id) const override { return IsEnd(id) ? "" : tokenizer_->Bytes(id); }
  int image_size() const override { return ImageSize(config_); }
  const Codec& codec() const override { return *codec_; }
  EngineLoad load() const override { return {prompts_.load(), sequences_.load()}; }

 private:
  absl::StatusOr<std::vector<int32_t>> TurnIds(const std::vector<Turn>& turns) const;
  absl::StatusOr<std::shared_ptr<Group>> Prepare(const GenerateRequest& request, GenerateResult* result) const;
  void Work(const FusedModel& model, std::vector<std::shared_ptr<Group>>* groups, std::atomic<size_t>* next, size_t room, int64_t version) const;
  bool IsEnd(int32_t id) const { return std::find(config_.eos.begin(), config_.eos.end(), id) != config_.eos.end(); }
  bool Cut(const GenerateRequest& request) const;
  bool Ended(int32_t token, Sequence* sequence) const;
  bool Sample(const float* logits, Sequence* sequence, std::vector<float>* scratch) const;
  void Finish(int64_t version, const GenerateRequest& request, GenerateResult* result) const;

  const EngineOptions options_;
  const ModelConfig config_;
  const std::unique_ptr<const Tokenizer> tokenizer_;
  const std::shared_ptr<const Codec> codec_;
  mutable absl::Mutex mutex_;
  std::shared_ptr<const FusedModel> model_ ABSL_GUARDED_BY(mutex_);
  v1::PolicyManifest policy_ ABSL_GUARDED_BY(mutex_);
  mutable std::atomic<int64_t> prompts_{0}, sequences_{0};
};

absl::StatusOr<std::vector<int32_t>> LocalEngine::TurnIds(const std::vector<Turn>& turns) const {
  std::vector<int32_t> ids;
  if (const std::string& standing = config_.chat.standing_system; !standing.empty() && turns[0].role != "system") {
    ids = tokenizer_->Encode(absl::StrCat("<|im_start|>system\n", standing, "<|im_end|>\n"));
  }
  for (const Turn& turn : turns) {
    for (int32_t id : tokenizer_->Encode(absl::StrCat("<|im_start|>", turn.role, "\n", turn.text, "<|im_end|>\n"))) {
      if (config_.has_vision && id == config_.image_token_id) return absl::InvalidArgumentError("an earlier turn's text holds an image placeholder token");
      ids.push_back(id);
    }
  }
  return ids;
}

absl::StatusOr<std::shared_ptr<Group>> LocalEngine::Prepare(const GenerateRequest& request, GenerateResult* result) const {
  if (request.seeds.empty()) return absl::InvalidArgumentError("no seeds");
  if (request.max_new_tokens < 1) return absl::InvalidArgumentError("max_new_tokens is below 1");
  if (!(request.temperature >= 0) || !std::isfinite(request.temperature)) return absl::InvalidArgumentError("temperature is negative or not finite");
  if (!(request.top_p > 0) || request.top_p > 1) return absl::InvalidArgumentError("top_p is not in (0, 1]");
  auto group = std::make_shared<Group>();
  group->left = request.seeds.size();
  group->request = &request;
  group->result = result;
  SWERVE_ASSIGN_OR_RETURN(result->prompt_ids, PromptIds(*tokenizer_, config_, request.prompt.text, request.prompt.image.get(), request.prompt.before.empty()));
  if (!request.prompt.before.empty()) {
    SWERVE_ASSIGN_OR_RETURN(std::vector<int32_t> before, TurnIds(request.prompt.before));
    result->prompt_ids.insert(result->prompt_ids.begin(), before.begin(), before.end());
  }
  const int64_t total = static_cast<int64_t>(result->prompt_ids.size()) + request.max_new_tokens;
  if (total > config_.text.max_positions) {
    return absl::InvalidArgumentError(absl::StrCat(result->prompt_ids.size(), " prompt tokens and max_new_tokens ", request.max_new_tokens, " exceed the model's ", config_.text.max_positions, " positions"));
  }
  for (int32_t id : result->prompt_ids) {
    if (id >= config_.text.vocab) return absl::InvalidArgumentError(absl::StrCat("token id ", id, " is outside the model's vocabulary"));
  }
  if (request.prompt.image) {
    SWERVE_ASSIGN_OR_RETURN(ProcessedImage image, VisionInput(config_, *request.prompt.image));
    group->images.push_back(std::make_shared<const ProcessedImage>(std::move(image)));
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
  const GenerateRequest& request = *sequence->group->request;
  double kept = sum;
  if (temperature > 0 && request.top_p < 1) kept = KeepNucleus(p, vocab, request.top_p * sum);
  if (temperature > 0) {
    const double target = Random(StreamSeed(response->seed(), HashName("sample"), response->token_ids_size())).Uniform() * kept;
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
  auto logprob = [&](int32_t id) { return static_cast<float>(static_cast<double>(logits[id] * scale) - max - std::log(kept)); };
  response->add_token_ids(token);
  response->add_logprobs(logprob(token));
  sequence->token = token;
  if (request.on_token) {
    TokenEvent event{sequence->sample, {token, logprob(token)}, {}};
    for (int32_t id : Largest(logits, vocab, request.top_logprobs)) event.top.push_back({id, logprob(id)});
    request.on_token(std::move(event));
  }
  return !Ended(token, sequence);
}

// Nobody waits for it any longer.
bool LocalEngine::Cut(const GenerateRequest& request) const {
  if (request.cancelled && request.cancelled->load()) return true;
  return request.deadline < absl::InfiniteFuture() && (options_.now ? options_.now() : absl::Now()) > request.deadline;
}

// Sets why the sequence ended, if it did.
bool LocalEngine::Ended(int32_t token, Sequence* sequence) const {
  const GenerateRequest& request = *sequence->group->request;
  v1::Response* response = sequence->response;
  bool stopped = IsEnd(token);
  if (!stopped && !request.stop.empty()) {
    const std::string bytes = tokenizer_->Bytes(token);
    sequence->text += bytes;
    for (const std::string& stop : request.stop) {
      const size_t from = sequence->text.size() - std::min(sequence->text.size(), bytes.size() + stop.size());
      stopped = stopped || sequence->text.find(stop, from) != std::string::npos;
    }
  }
  if (stopped) {
    response->set_finish(v1::STOP);
  } else if (response->token_ids_size() >= request.max_new_tokens) {
    response->set_finish(v1::LENGTH);
  } else if (Cut(request)) {
    response->set_finish(v1::CANCELLED);
  } else {
    return false;
  }
  return true;
}

void LocalEngine::Work(const FusedModel& model, std::vector<std::shared_ptr<Group>>* groups, std::atomic<size_t>* next, size_t room, int64_t version) const {
  FusedModel::Scratch scratch;
  std::vector<float> logits(model.logit_stride()), probabilities;
  std::vector<std::unique_ptr<Sequence>> active, spare;
  std::vector<FusedModel::Row*> rows;
  std::vector<int32_t> tokens;
  // Sequences of a prompt that found no room yet, with the logits that start them.
  std::shared_ptr<Group> group;
  size_t begun = 0;
  std::vector<float> first(model.logit_stride());
  auto finish = [&](const Group& g) {
    Finish(version, *g.request, g.result);
    if (g.request->on_done) g.request->on_done(*g.result);
  };
  auto end = [&](Sequence* s) {
    if (--s->group->left == 0) finish(*s->group);
    s->group = nullptr;
    --sequences_;
  };
  while (true) {
    while (active.size() < room) {
      if (group == nullptr) {
        const size_t i = next->fetch_add(1);
        if (i >= groups->size()) break;
        group = std::move((*groups)[i]);
        begun = 0;
        if (Cut(*group->request)) {  // before a prompt was run for it
          for (v1::Response& response : group->result->responses) response.set_finish(v1::CANCELLED);
          finish(*group);
          group = nullptr;
          continue;
        }
        ++prompts_;
        group->counted = &prompts_;
        const absl::Status status = model.Prefill(group->result->prompt_ids, group->images, &group->cache, first.data(), &scratch);
        if (!status.ok()) {  // Prepare made ids and images to fit
          spdlog::critical("prompt: {}", status.ToString());
          std::abort();
        }
        group->images.clear();
      }
      std::unique_ptr<Sequence> s;
      if (spare.empty()) {
        s = std::make_unique<Sequence>();
      } else {
        s = std::move(spare.back());
        spare.pop_back();
      }
      s->group = group;
      ++sequences_;
      s->response = &group->result->responses[begun];
      s->sample = static_cast<int>(begun);
      s->text.clear();
      s->row.prompt = &group->cache;
      s->row.own.Reset(model, group->request->max_new_tokens);
      if (++begun == group->request->seeds.size()) group = nullptr;
      if (Sample(first.data(), s.get(), &probabilities)) {
        active.push_back(std::move(s));
      } else {
        end(s.get());
      }
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
        end(active[i].get());
        spare.push_back(std::move(active[i]));
      }
    }
    active.resize(kept);
  }
}

void LocalEngine::Finish(int64_t version, const GenerateRequest& request, GenerateResult* result) const {
  for (v1::Response& response : result->responses) {
    std::vector<int32_t> ids(response.token_ids().begin(), response.token_ids().end());
    if (!ids.empty() && IsEnd(ids.back())) ids.pop_back();
    std::string text = tokenizer_->Decode(ids);
    size_t cut = text.size();
    for (const std::string& stop : request.stop) cut = std::min(cut, text.find(stop));
    response.set_text(text.substr(0, cut));
    response.add_weight_versions(version);
    Decode(*codec_, &response);
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
  for (size_t i = 1; i < threads; ++i) helpers.emplace_back([&] { Work(*model, &groups, &next, room, version); });
  Work(*model, &groups, &next, room, version);
  for (std::thread& t : helpers) t.join();
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
  SWERVE_ASSIGN_OR_RETURN(const MappedTensors tensors, MapTensors(policy.directory(), config_));
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
  SWERVE_ASSIGN_OR_RETURN(std::shared_ptr<const Codec> codec, CreateCodec(options.codec, options.codebook));
  SWERVE_ASSIGN_OR_RETURN(ModelConfig config, LoadModelConfig(options.model_dir));
  SWERVE_RETURN_IF_ERROR(FusedModel::Check(config));
  config.text.max_positions = std::min(config.text.max_positions, FusedModel::kMaxPositions);
  SWERVE_ASSIGN_OR_RETURN(std::unique_ptr<const Tokenizer> tokenizer, Tokenizer::Load(options.model_dir));
  if (config.eos.empty()) {
    if (int32_t id = tokenizer->Id("<|im_end|>"); id >= 0) config.eos.push_back(id);
  }
  if (config.eos.empty()) return absl::InvalidArgumentError(options.model_dir + ": no eos_token_id in generation_config.json or config.json");
  auto engine = std::make_unique<LocalEngine>(options, std::move(config), std::move(tokenizer), std::move(codec));
  v1::PolicyManifest start;
  start.set_directory(options.model_dir);
  SWERVE_RETURN_IF_ERROR(engine->LoadWeights(start));
  return engine;
}

}  // namespace swerve
