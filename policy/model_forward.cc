// Policy's forward passes: batches packed without padding, one sequence for parity checks, greedy continuation.
#include <torch/torch.h>

#include <algorithm>
#include <array>
#include <map>

#include "base/status.h"
#include "policy/model.h"
#include "policy/prompt_input.h"
#include "policy/padded_indices.h"
#include "policy/torch_attention.h"
#include "policy/torch_decoder.h"
#include "policy/token_logprobs.h"
#include "policy/torch_vision.h"
#include "policy/weight_names.h"

namespace swerve {

using torch::Tensor;

// Every token of the batch once, packed without padding: prompts first, then what each response feeds back (all its
// tokens but the last).
struct Policy::Batch {
  std::vector<int64_t> ids;
  std::array<std::vector<int64_t>, 3> positions;  // t, h, w
  std::vector<int64_t> image_slots;               // packed positions of placeholders, in image order
  Images images;
  PackedSequences sequences;
  std::vector<int64_t> next;             // of prompts: the position that follows
  std::vector<int64_t> select, targets;  // packed position that predicts each response token, and the token

  int64_t prompts() const { return static_cast<int64_t>(next.size()); }

  // Throws where images and placeholders do not fit.
  void AddPrompt(const ModelConfig& config, const std::vector<int32_t>& prompt, const Images& shown) {
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
  void AddResponse(const std::vector<int32_t>& response, int64_t u) {
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
};

Policy::Batch Policy::MakeBatch(absl::Span<const Row> rows) const {
  Batch b;
  std::vector<int64_t> prompt_of;
  std::map<std::pair<std::vector<int32_t>, const Image*>, int64_t> known;
  for (const Row& row : rows) {
    auto [it, fresh] = known.try_emplace({row.prompt_ids, row.image.get()}, b.prompts());
    prompt_of.push_back(it->second);
    if (!fresh) continue;
    Images images;
    if (row.image) {
      auto image = VisionInput(config_, *row.image);
      TORCH_CHECK(image.ok(), image.status().ToString());
      images.push_back(std::make_shared<const ProcessedImage>(*std::move(image)));
    }
    b.AddPrompt(config_, row.prompt_ids, images);
  }
  for (size_t r = 0; r < rows.size(); ++r) b.AddResponse(rows[r].response_ids, prompt_of[r]);
  return b;
}

namespace {

Tensor Index(const std::vector<int64_t>& v, torch::Device device) { return torch::tensor(v, torch::kInt64).to(device); }

std::vector<int64_t> Flat(const std::array<std::vector<int64_t>, 3>& positions) {
  std::vector<int64_t> out;
  for (const auto& axis : positions) out.insert(out.end(), axis.begin(), axis.end());
  return out;
}

}  // namespace

// Token embeddings with the pictures' features at their placeholders.
Tensor Policy::Embed(const Batch& b) const {
  Tensor x = torch::embedding(weights_.at(kEmbeddingName), Index(b.ids, device_));
  if (b.images.empty()) return x;
  Tensor features;
  if (vision_frozen_) {
    torch::NoGradGuard frozen;
    features = VisionFeatures(weights_, config_, b.images);
  } else {
    features = VisionFeatures(weights_, config_, b.images);
  }
  TORCH_CHECK(features.size(0) == static_cast<int64_t>(b.image_slots.size()), b.image_slots.size(), " image placeholders do not fit the images, which take ", features.size(0));
  return x.index_copy(0, Index(b.image_slots, device_), features);
}

namespace {

// Answers beside each other, padded, with masks: for devices and types that have no kernels here.
Attend PaddedAttention(const PaddedIndices& b, const TextConfig& c, torch::Device device) {
  const int64_t g = c.heads / c.kv_heads, P = b.prompt_pad, T = b.response_pad, U = b.prompts, R = static_cast<int64_t>(b.row_prompt_length.size());
  const Tensor prompt_index = Index(b.prompt_index, device), prompt_valid = Index(b.prompt_valid, device);
  const Tensor prompt_mask = torch::ones({P, P}, torch::kBool).tril().repeat({g, 1}).to(device);
  Tensor response_index, response_valid, keys_index, response_mask;
  if (T > 0) {
    response_index = Index(b.response_index, device), response_valid = Index(b.response_valid, device), keys_index = Index(b.keys_index, device);
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

}  // namespace

Tensor Policy::Decode(const Batch& b) const {
  const TextConfig& c = config_.text;
  const Tensor x = Embed(b);
  Attend attend;
  if (FitsPackedAttention(torch::empty({0, c.heads, c.head_dim}, x.options()))) {
    auto sequences = std::make_shared<const PackedSequences>(b.sequences);
    attend = [sequences](int, const Tensor& q, const Tensor& k, const Tensor& v) { return PackedAttention(q, k, v, sequences); };
  } else {
    attend = PaddedAttention(PaddedIndices(b.sequences), c, device_);
  }
  return RunDecoder(weights_, c, x, RotaryOf(c, Flat(b.positions), x), attend, checkpoint_gradients_);
}

Tensor Policy::Logprobs(absl::Span<const Row> rows, double temperature) {
  if (rows.empty()) return torch::zeros({0});
  const absl::Status valid = Check(rows);
  TORCH_CHECK(valid.ok(), valid.ToString());
  TORCH_CHECK(temperature > 0, "temperature must be positive");
  const Batch batch = MakeBatch(rows);
  const Tensor hidden = Decode(batch).index_select(0, Index(batch.select, device_));
  return TokenLogprobs(FinalNorm(weights_, config_.text, hidden), HeadWeight(weights_), Index(batch.targets, device_), temperature);
}

Tensor Policy::Logits(const std::vector<int32_t>& ids, const Images& images) {
  Batch batch;
  batch.AddPrompt(config_, ids, images);
  return DecoderLogits(weights_, config_.text, Decode(batch)).to(torch::kFloat32);
}

std::vector<int32_t> Policy::Greedy(const std::vector<int32_t>& ids, const Images& images, int count) {
  torch::NoGradGuard constant;
  const TextConfig& c = config_.text;
  Batch prompt;
  prompt.AddPrompt(config_, ids, images);
  Tensor x = Embed(prompt);
  const int64_t capacity = static_cast<int64_t>(ids.size()) + count, g = c.heads / c.kv_heads;
  std::vector<Tensor> keys, values;
  for (int i = 0; i < c.layers; ++i) {
    for (auto* cache : {&keys, &values}) cache->push_back(torch::empty({1, capacity, c.kv_heads, c.head_dim}, x.options()));
  }
  int64_t held = 0;
  auto run = [&](const Tensor& tokens, const std::vector<int64_t>& positions) {
    const int64_t n = tokens.size(0);
    const Tensor mask = n > 1 ? torch::ones({n, n}, torch::kBool).tril().repeat({g, 1}).to(device_) : Tensor();
    const Tensor y = RunDecoder(weights_, c, tokens, RotaryOf(c, positions, tokens), [&](int layer, const Tensor& q, const Tensor& k, const Tensor& v) {
      keys[layer].narrow(1, held, n).copy_(k.unsqueeze(0));
      values[layer].narrow(1, held, n).copy_(v.unsqueeze(0));
      return GroupedAttention(q.unsqueeze(0), keys[layer].narrow(1, 0, held + n), values[layer].narrow(1, 0, held + n), mask);
    });
    held += n;
    return DecoderLogits(weights_, c, y.narrow(0, n - 1, 1)).argmax(-1).item<int64_t>();
  };
  std::vector<int32_t> out;
  int64_t token = run(x, Flat(prompt.positions));
  // As transformers' generate: each axis goes on from the last token's. That is not where training goes on
  // (RotaryPositions) when a prompt ends inside a picture.
  std::vector<int64_t> at;
  for (const auto& axis : prompt.positions) at.push_back(axis.back());
  while (true) {
    for (int64_t& p : at) ++p;
    out.push_back(static_cast<int32_t>(token));
    if (static_cast<int>(out.size()) >= count || std::find(config_.eos.begin(), config_.eos.end(), token) != config_.eos.end()) return out;
    token = run(torch::embedding(weights_.at(kEmbeddingName), Index({token}, device_)), at);
  }
}

}  // namespace swerve
