#include "policy/decode_loop.h"

#include <algorithm>
#include <cstdlib>

#include <spdlog/spdlog.h>

#include "base/random.h"

namespace swerve {

void DecodeLoop::Run() {
  while (Admit()) Step();
}

// Fills the free rows. False: the engine ends.
bool DecodeLoop::Admit() {
  while (active_.size() < options_.rows) {
    if (next_ == nullptr) {
      next_ = host_->Take(active_.empty(), options_.cache_bytes - held_bytes_);
      if (next_ == nullptr) break;
      if (!Begin()) continue;
    }
    AddSequence();
  }
  return !active_.empty();
}

// Runs next_'s prompt. False: there was no need to.
bool DecodeLoop::Begin() {
  GenerateGroup& group = *next_;
  group.weights = host_->Weights();
  group.left = group.result->responses.size();
  group.result->policy = group.weights->policy;
  held_bytes_ += group.bytes;
  ++load_->prompts;
  if (host_->Cut(*group.request)) {
    for (v1::Response& response : group.result->responses) {
      response.set_finish(v1::CANCELLED);
      response.add_weight_versions(group.weights->policy.version());
    }
    EndGroup(&group);
    next_ = nullptr;
    return false;
  }
  if (held_bytes_ > options_.cache_bytes - spare_bytes_) spare_.clear(), spare_bytes_ = 0;
  const FusedModel& model = *group.weights->model;
  first_.resize(model.logit_stride());
  const absl::Status status = model.Prefill(group.result->prompt_ids, group.images, &group.cache, first_.data(), &scratch_);
  if (!status.ok()) {  // ids and images were made to fit
    spdlog::critical("prompt: {}", status.ToString());
    std::abort();
  }
  group.images.clear();
  return true;
}

// The next response of next_ begins with what its prompt predicts.
void DecodeLoop::AddSequence() {
  std::unique_ptr<Sequence> s;
  const FusedModel& model = *next_->weights->model;
  const int tokens = next_->request->max_new_tokens;
  if (!spare_.empty()) {
    s = std::move(spare_.back());
    spare_.pop_back();
    spare_bytes_ -= FusedModel::CacheBytes(model.config(), s->row.own.stride);
    if (s->row.own.stride != FusedModel::Cache::StrideOf(tokens)) s->row.own = {};
  } else {
    s = std::make_unique<Sequence>();
  }
  s->sample = static_cast<int>(next_->begun);
  s->response = &next_->result->responses[next_->begun];
  s->group = next_;
  s->weights = next_->weights;
  s->versions.clear();
  s->text.clear();
  s->row.prompt = &next_->cache;
  s->row.own.Reset(model, tokens);
  ++load_->sequences;
  if (++next_->begun == next_->result->responses.size()) next_ = nullptr;
  if (probabilities_.empty()) probabilities_.resize(options_.team == nullptr ? 1 : options_.team->size());
  if (Take(Draw(first_.data(), *s, &probabilities_[0]), s.get())) {
    active_.push_back(std::move(s));
  } else {
    End(std::move(s));
  }
}

// Rows [from, to) have the same weights.
void DecodeLoop::Forward(size_t from, size_t to) {
  std::vector<FusedModel::Row*> rows;
  std::vector<int32_t> tokens;
  for (size_t i = from; i < to; ++i) rows.push_back(&active_[i]->row), tokens.push_back(active_[i]->token);
  const FusedModel& model = *active_[from]->weights->model;
  model.Step(rows, tokens, logits_.data() + from * model.logit_stride(), &scratch_);
}

// A token more for every row.
void DecodeLoop::Step() {
  if (options_.stream) {
    const std::shared_ptr<const LoadedWeights> now = host_->Weights();
    for (auto& s : active_) s->weights = now;
  }
  const int64_t stride = active_[0]->weights->model->logit_stride();
  logits_.resize(active_.size() * stride);
  for (size_t from = 0; from < active_.size();) {
    const LoadedWeights* weights = active_[from]->weights.get();
    const auto same = [weights](const std::unique_ptr<Sequence>& s) { return s->weights.get() == weights; };
    const size_t to = std::stable_partition(active_.begin() + from, active_.end(), same) - active_.begin();
    Forward(from, to);
    from = to;
  }
  drawn_.resize(active_.size());
  const auto draw = [&](size_t i, std::vector<float>* scratch) { drawn_[i] = Draw(logits_.data() + i * stride, *active_[i], scratch); };
  if (options_.team != nullptr) {
    options_.team->Run([&](int member) {
      for (size_t i = member; i < active_.size(); i += options_.team->size()) draw(i, &probabilities_[member]);
    });
  } else {
    for (size_t i = 0; i < active_.size(); ++i) draw(i, &probabilities_[0]);
  }
  size_t kept = 0;
  for (size_t i = 0; i < active_.size(); ++i) {
    if (Take(std::move(drawn_[i]), active_[i].get())) {
      if (kept != i) std::swap(active_[kept], active_[i]);
      ++kept;
    } else {
      End(std::move(active_[i]));
    }
  }
  active_.resize(kept);
}

// The draw is keyed by (seed, position).
DrawnToken DecodeLoop::Draw(const float* logits, const Sequence& s, std::vector<float>* scratch) const {
  const GenerateRequest& request = *s.group->request;
  const double uniform = request.temperature > 0 ? Random(StreamSeed(s.response->seed(), HashName("sample"), s.response->token_ids_size())).Uniform() : 0;
  return DrawToken(logits, s.weights->model->config().text.vocab, request, uniform, scratch);
}

// False when the sequence ended with it.
bool DecodeLoop::Take(DrawnToken drawn, Sequence* s) {
  const int64_t version = s->weights->policy.version(), begun = s->group->weights->policy.version();
  if (version != begun && s->versions.empty()) s->versions.assign(s->response->token_ids_size(), begun);
  if (version != begun || !s->versions.empty()) s->versions.push_back(version);
  s->response->add_token_ids(drawn.token.id);
  s->response->add_logprobs(drawn.token.logprob);
  s->token = drawn.token.id;
  const GenerateRequest& request = *s->group->request;
  if (request.on_token) request.on_token({s->sample, drawn.token, std::move(drawn.top)});
  return !Ended(s->token, s);
}

// Sets why the sequence ended, if it did.
bool DecodeLoop::Ended(int32_t token, Sequence* s) {
  const GenerateRequest& request = *s->group->request;
  bool stopped = host_->IsEnd(token);
  if (!stopped && !request.stop.empty()) {
    const std::string bytes = host_->Bytes(token);
    s->text += bytes;
    for (const std::string& stop : request.stop) {
      const size_t from = s->text.size() - std::min(s->text.size(), bytes.size() + stop.size());
      stopped = stopped || s->text.find(stop, from) != std::string::npos;
    }
  }
  if (stopped) {
    s->response->set_finish(v1::STOP);
  } else if (s->response->token_ids_size() >= request.max_new_tokens) {
    s->response->set_finish(v1::LENGTH);
  } else if (host_->Cut(request)) {
    s->response->set_finish(v1::CANCELLED);
  } else {
    return false;
  }
  return true;
}

void DecodeLoop::End(std::unique_ptr<Sequence> s) {
  if (s->versions.empty()) {
    s->response->add_weight_versions(s->group->weights->policy.version());
  } else {
    s->response->mutable_weight_versions()->Assign(s->versions.begin(), s->versions.end());
  }
  const std::shared_ptr<GenerateGroup> group = std::move(s->group);
  spare_bytes_ += FusedModel::CacheBytes(s->weights->model->config(), s->row.own.stride);
  s->weights = nullptr;
  spare_.push_back(std::move(s));
  --load_->sequences;
  if (--group->left == 0) EndGroup(group.get());
}

void DecodeLoop::EndGroup(GenerateGroup* group) {
  held_bytes_ -= group->bytes;
  group->cache = {};
  group->weights = nullptr;
  --load_->prompts;
  host_->Finish(group);
}

}  // namespace swerve
