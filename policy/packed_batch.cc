#include <torch/torch.h>

#include "policy/packed_batch.h"

#include <algorithm>

#include "policy/padded_indices.h"
#include "policy/prompt_input.h"
#include "policy/torch_vision.h"
#include "policy/weight_names.h"

namespace swerve {

using torch::Tensor;

void PackedBatch::AddPrompt(const ModelConfig& config, const std::vector<int32_t>& prompt, const Images& shown) {
  const auto at = RotaryPositions(config, prompt, shown);
  TORCH_CHECK(at.ok(), at.status().ToString());
  sequences.groups.push_back({{static_cast<int64_t>(ids.size()), static_cast<int64_t>(prompt.size())}, {}});
  next.push_back(1 + *std::max_element(at->begin(), at->end()));
  images.insert(images.end(), shown.begin(), shown.end());
  for (size_t i = 0; i < prompt.size(); ++i) {
    if (!shown.empty() && prompt[i] == config.image_token_id) image_slots.push_back(ids.size());
    for (int axis = 0; axis < 3; ++axis) positions[axis].push_back((*at)[axis * prompt.size() + i]);
    ids.push_back(prompt[i]);
  }
}

void PackedBatch::AddResponse(const std::vector<int32_t>& response, int64_t u) {
  PackedSequences::Group& group = sequences.groups[u];
  const int64_t n = response.size() - 1, from = ids.size();
  group.answers.push_back({from, n});
  for (int64_t t = 0; t <= n; ++t) {
    select.push_back(t == 0 ? group.prompt.first + group.prompt.length - 1 : from + t - 1);
    targets.push_back(response[t]);
    if (t == n) break;
    for (auto& axis : positions) axis.push_back(next[u] + t);
    ids.push_back(response[t]);
  }
}

std::vector<int64_t> PackedBatch::FlatPositions() const {
  std::vector<int64_t> out;
  for (const auto& axis : positions) out.insert(out.end(), axis.begin(), axis.end());
  return out;
}

Tensor IndexTensor(const std::vector<int64_t>& v, torch::Device device) { return torch::tensor(v, torch::kInt64).to(device); }

Tensor EmbedBatch(const TorchWeights& w, const ModelConfig& config, const PackedBatch& b, bool vision_frozen) {
  const Tensor& table = w.at(kEmbeddingName);
  Tensor x = torch::embedding(table, IndexTensor(b.ids, table.device()));
  if (table.is_cuda()) x = x.to(torch::kFloat32);
  if (b.images.empty()) return x;
  Tensor features;
  {
    torch::AutoGradMode record(torch::GradMode::is_enabled() && !vision_frozen);
    features = VisionFeatures(w, config, b.images);
  }
  TORCH_CHECK(features.size(0) == static_cast<int64_t>(b.image_slots.size()), b.image_slots.size(), " image placeholders do not fit the images, which take ", features.size(0));
  return x.index_copy(0, IndexTensor(b.image_slots, table.device()), features.to(x.scalar_type()));
}

namespace {

// Answers beside each other, padded, with masks: for devices and types that have no kernels here.
Attend PaddedAttention(const PaddedIndices& b, const TextConfig& c, torch::Device device) {
  const int64_t g = c.heads / c.kv_heads, P = b.prompt_pad, T = b.response_pad, U = b.prompts, R = static_cast<int64_t>(b.row_prompt_length.size());
  const Tensor prompt_index = IndexTensor(b.prompt_index, device), prompt_valid = IndexTensor(b.prompt_valid, device);
  const Tensor prompt_mask = torch::ones({P, P}, torch::kBool).tril().repeat({g, 1}).to(device);
  Tensor response_index, response_valid, keys_index, response_mask;
  if (T > 0) {
    response_index = IndexTensor(b.response_index, device), response_valid = IndexTensor(b.response_valid, device), keys_index = IndexTensor(b.keys_index, device);
    Tensor sees = torch::arange(P, torch::kInt64).unsqueeze(0) < torch::tensor(b.row_prompt_length, torch::kInt64).unsqueeze(1);
    response_mask = torch::cat({sees.unsqueeze(1).expand({R, T, P}), torch::ones({T, T}, torch::kBool).tril().expand({R, T, T})}, 2)
                        .repeat({1, g, 1}).unsqueeze(1).to(device);
  }
  auto attend = [](const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& queries, const Tensor& keys, int64_t rows,
                   const Tensor& mask, const Tensor& valid) {
    auto cut = [rows](const Tensor& t, const Tensor& index) { return t.index_select(0, index).view({rows, index.numel() / rows, t.size(1), t.size(2)}); };
    return GroupedAttention(cut(q, queries), cut(k, keys), cut(v, keys), mask).index_select(0, valid);
  };
  // Nothing by reference: a checkpointed layer is computed again after the forward pass has returned.
  return [=](int, const Tensor& q, const Tensor& k, const Tensor& v) {
    const Tensor o = attend(q, k, v, prompt_index, prompt_index, U, prompt_mask, prompt_valid);
    return T > 0 ? torch::cat({o, attend(q, k, v, response_index, keys_index, R, response_mask, response_valid)}) : o;
  };
}

// Sequences one after the other and where each begins, as flash attention wants them.
class Lengths {
 public:
  void Add(int64_t length) {
    begins_.push_back(begins_.back() + static_cast<int>(length));
    longest_ = std::max(longest_, length);
  }
  Tensor Begins(torch::Device device) const { return torch::tensor(begins_, torch::kInt32).to(device); }
  int64_t longest() const { return longest_; }
  int64_t total() const { return begins_.back(); }

 private:
  std::vector<int> begins_ = {0};
  int64_t longest_ = 0;
};

Tensor Flash(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& queries, const Tensor& keys, int64_t longest_query, int64_t longest_key) {
  // Causal from the end: the last query of a sequence sees all its keys.
  const Tensor o = std::get<0>(at::_flash_attention_forward(q, k, v, queries, keys, longest_query, longest_key, 0.0, /*is_causal=*/true, /*return_debug_mask=*/false));
  return o.reshape({q.size(0), -1});
}

// Prompts among themselves, then each answer over a copy of its prompt's keys and its own: keys are few beside queries.
Attend FlashAttention(const PackedSequences& sequences, torch::Device device) {
  struct Answer {
    PackedSequences::Stretch own, prompt;
  };
  std::vector<Answer> answers;
  Lengths prompts, queries, keys;
  for (const auto& group : sequences.groups) {
    prompts.Add(group.prompt.length);
    for (const auto& answer : group.answers) {
      if (answer.length > 0) answers.push_back({answer, group.prompt});
    }
  }
  std::sort(answers.begin(), answers.end(), [](const Answer& a, const Answer& b) { return a.own.first < b.own.first; });
  std::vector<int64_t> index;
  for (const Answer& a : answers) {
    queries.Add(a.own.length);
    keys.Add(a.prompt.length + a.own.length);
    for (const auto& s : {a.prompt, a.own}) {
      for (int64_t t = 0; t < s.length; ++t) index.push_back(s.first + t);
    }
  }
  const Tensor prompt_begins = prompts.Begins(device);
  const int64_t P = prompts.total(), longest_prompt = prompts.longest();
  if (answers.empty()) {
    return [=](int, const Tensor& q, const Tensor& k, const Tensor& v) { return Flash(q, k, v, prompt_begins, prompt_begins, longest_prompt, longest_prompt); };
  }
  const Tensor query_begins = queries.Begins(device), key_begins = keys.Begins(device), gather = IndexTensor(index, device);
  const int64_t A = queries.total(), longest_query = queries.longest(), longest_key = keys.longest();
  return [=](int, const Tensor& q, const Tensor& k, const Tensor& v) {
    auto first = [P](const Tensor& t) { return t.narrow(0, 0, P); };
    const Tensor o = Flash(first(q), first(k), first(v), prompt_begins, prompt_begins, longest_prompt, longest_prompt);
    return torch::cat({o, Flash(q.narrow(0, P, A), k.index_select(0, gather), v.index_select(0, gather), query_begins, key_begins, longest_query, longest_key)});
  };
}

}  // namespace

Attend BatchAttention(const TorchWeights& w, const TextConfig& c, const PackedSequences& sequences) {
  const Tensor& table = w.at(kEmbeddingName);
  if (table.is_cuda() && w.compute != torch::kFloat32 && c.head_dim % 8 == 0) return FlashAttention(sequences, table.device());
  if (FitsPackedAttention(torch::empty({0, c.heads, c.head_dim}, table.options().dtype(w.compute)))) {
    auto shared = std::make_shared<const PackedSequences>(sequences);
    return [shared](int, const Tensor& q, const Tensor& k, const Tensor& v) { return PackedAttention(q, k, v, shared); };
  }
  return PaddedAttention(PaddedIndices(sequences), c, table.device());
}

}  // namespace swerve
