#include "policy/decode_loop.h"

#include <algorithm>

#include <spdlog/spdlog.h>

#include "base/random.h"
#include "policy/engine_metrics.h"

namespace swerve {

void DecodeLoop::Run() {
  while (Admit()) Step();
}

// Fills the free rows. False: the engine ends.
bool DecodeLoop::Admit() {
  while (active_.size() < options_.rows) {
    if (begun_.empty() && !BeginGroups()) break;
    if (!begun_.empty()) AddSequences();
  }
  return !active_.empty();
}

// Takes groups until their responses fill the free rows. False: there are none, or the engine ends.
bool DecodeLoop::BeginGroups() {
  std::vector<std::shared_ptr<GenerateGroup>> taken;
  std::shared_ptr<const LoadedWeights> weights;
  const size_t free = options_.rows - active_.size();
  for (size_t samples = 0; samples < free && taken.size() < options_.prompts;) {
    std::shared_ptr<GenerateGroup> group = host_->Take(active_.empty() && taken.empty(), options_.cache_bytes - held_bytes_);
    if (group == nullptr) break;
    if (weights == nullptr) weights = host_->Weights();
    group->weights = weights;
    group->left = group->result->responses.size();
    group->result->policy = weights->policy;
    held_bytes_ += group->bytes;
    EngineMetrics::Get().cache_bytes.Increment(static_cast<double>(group->bytes));
    ++load_->prompts;
    if (host_->Cut(*group->request)) {
      Abandon(group.get(), absl::OkStatus());
      weights = nullptr;  // the next may come much later
      continue;
    }
    samples += group->left;
    taken.push_back(std::move(group));
  }
  if (taken.empty()) return false;
  RunPrompts(std::move(taken));
  return true;
}

void DecodeLoop::RunPrompts(std::vector<std::shared_ptr<GenerateGroup>> taken) {
  backend_->Trim(held_bytes_, options_.cache_bytes - held_bytes_);
  std::vector<DecodeBackend::PromptWork> work;
  for (const auto& group : taken) work.push_back({&group->result->prompt_ids, &group->images});
  const absl::Status status = backend_->Prefill(*taken[0]->weights->model, absl::MakeSpan(work));
  if (!status.ok()) spdlog::error("{} prompts could not be run: {}", taken.size(), status.ToString());
  if (!status.ok()) EngineMetrics::Get().failures.Increment();
  for (size_t i = 0; i < taken.size(); ++i) {
    if (status.ok()) EngineMetrics::Get().prompt_tokens.Increment(static_cast<double>(taken[i]->result->prompt_ids.size()));
    taken[i]->images.clear();
    taken[i]->prompt = std::move(work[i].prompt);
    if (status.ok()) {
      begun_.push_back(std::move(taken[i]));
    } else {
      Abandon(taken[i].get(), status);
    }
  }
}

// As many responses of the first group in begun_ as there are rows for begin with what its prompt predicts.
void DecodeLoop::AddSequences() {
  const std::shared_ptr<GenerateGroup> group = begun_.front();
  std::vector<v1::Response>& responses = group->result->responses;
  const size_t from = group->begun, to = std::min(responses.size(), from + options_.rows - active_.size());
  std::vector<DecodeBackend::Draw> draws;
  for (size_t i = from; i < to; ++i) draws.push_back(DrawOf(*group, responses[i]));
  if (const absl::Status status = backend_->First(*group->prompt, absl::MakeSpan(draws)); !status.ok()) return FailAll(status);
  EngineMetrics::Get().tokens.Increment(static_cast<double>(to - from));
  if ((group->begun = to) == responses.size()) begun_.pop_front();
  for (size_t i = from; i < to; ++i) {
    std::unique_ptr<Sequence> s;
    if (spare_.empty()) {
      s = std::make_unique<Sequence>();
    } else {
      s = std::move(spare_.back());
      spare_.pop_back();
    }
    s->sample = static_cast<int>(i);
    s->response = &responses[i];
    s->group = group;
    s->weights = group->weights;
    s->versions.clear();
    s->text.clear();
    s->row = backend_->Begin(*group->prompt, group->request->max_new_tokens);
    ++load_->sequences;
    if (Take(std::move(draws[i - from].drawn), s.get())) {
      active_.push_back(std::move(s));
    } else {
      End(std::move(s));
    }
  }
}

// Rows [from, to) have the same weights.
absl::Status DecodeLoop::Forward(size_t from, size_t to) {
  return backend_->Step(*active_[from]->weights->model, absl::MakeSpan(work_).subspan(from, to - from));
}

// A token more for every row.
void DecodeLoop::Step() {
  if (options_.stream) {
    const std::shared_ptr<const LoadedWeights> now = host_->Weights();
    for (auto& s : active_) s->weights = now;
  }
  std::vector<std::pair<size_t, size_t>> runs;
  for (size_t from = 0; from < active_.size(); from = runs.back().second) {
    const LoadedWeights* weights = active_[from]->weights.get();
    const auto same = [weights](const std::unique_ptr<Sequence>& s) { return s->weights.get() == weights; };
    runs.emplace_back(from, std::stable_partition(active_.begin() + from, active_.end(), same) - active_.begin());
  }
  work_.clear();
  for (const auto& s : active_) work_.push_back({s->row.get(), s->token, DrawOf(*s->group, *s->response)});
  for (const auto& [from, to] : runs) {
    if (const absl::Status status = Forward(from, to); !status.ok()) return FailAll(status);
  }
  EngineMetrics::Get().tokens.Increment(static_cast<double>(active_.size()));
  EngineMetrics::Get().sequences.Set(static_cast<double>(load_->sequences.load()));
  size_t kept = 0;
  for (size_t i = 0; i < active_.size(); ++i) {
    if (Take(std::move(work_[i].draw.drawn), active_[i].get())) {
      if (kept != i) std::swap(active_[kept], active_[i]);
      ++kept;
    } else {
      End(std::move(active_[i]));
    }
  }
  active_.resize(kept);
}

// The draw is keyed by (seed, position).
DecodeBackend::Draw DecodeLoop::DrawOf(const GenerateGroup& group, const v1::Response& response) const {
  const bool greedy = group.request->temperature <= 0;
  return {group.request, greedy ? 0 : Random(StreamSeed(response.seed(), HashName("sample"), response.token_ids_size())).Uniform()};
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
  s->weights = nullptr;
  backend_->End(std::move(s->row));
  spare_.push_back(std::move(s));
  EngineMetrics::Get().sequences.Set(static_cast<double>(--load_->sequences));
  if (--group->left == 0) EndGroup(group.get());
}

void DecodeLoop::EndGroup(GenerateGroup* group) {
  held_bytes_ -= group->bytes;
  EngineMetrics::Get().cache_bytes.Decrement(static_cast<double>(group->bytes));
  group->prompt = nullptr;
  group->weights = nullptr;
  --load_->prompts;
  host_->Finish(group);
}

// Responses that did not begin end as cancelled.
void DecodeLoop::Abandon(GenerateGroup* group, absl::Status status) {
  group->status.Update(std::move(status));
  for (; group->begun < group->result->responses.size(); ++group->begun, --group->left) {
    v1::Response& response = group->result->responses[group->begun];
    response.set_finish(v1::CANCELLED);
    response.add_weight_versions(group->weights->policy.version());
  }
  if (group->left == 0) EndGroup(group);
}

// What is under way ends with `status`; what comes next is tried again.
void DecodeLoop::FailAll(const absl::Status& status) {
  spdlog::error("{} responses could not be continued: {}", active_.size(), status.ToString());
  EngineMetrics::Get().failures.Increment();
  for (auto& s : active_) {
    s->group->status.Update(status);
    s->response->set_finish(v1::CANCELLED);
    End(std::move(s));
  }
  active_.clear();
  for (const auto& group : begun_) Abandon(group.get(), status);
  begun_.clear();
}

}  // namespace swerve
