// Policy's forward passes: batches packed without padding, one sequence for parity checks, greedy continuation.
#include <torch/torch.h>

#include <algorithm>
#include <map>

#include "base/status.h"
#include "policy/model.h"
#include "policy/prompt_input.h"
#include "policy/packed_batch.h"
#include "policy/torch_decoder.h"
#include "policy/token_logprobs.h"
#include "policy/weight_names.h"

namespace swerve {

using torch::Tensor;

PackedBatch Policy::MakeBatch(absl::Span<const Row> rows) const {
  PackedBatch b;
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

Tensor Policy::Decode(const PackedBatch& b) const {
  const Tensor x = EmbedBatch(weights_, config_, b, vision_frozen_);
  return RunDecoder(weights_, config_.text, x, RotaryOf(config_.text, b.FlatPositions(), x), BatchAttention(weights_, config_.text, b.sequences), checkpoint_gradients_);
}

Tensor Policy::Logprobs(absl::Span<const Row> rows, double temperature) {
  if (rows.empty()) return torch::zeros({0});
  const absl::Status valid = Check(rows);
  TORCH_CHECK(valid.ok(), valid.ToString());
  TORCH_CHECK(temperature > 0, "temperature must be positive");
  const PackedBatch batch = MakeBatch(rows);
  const Tensor hidden = Decode(batch).index_select(0, IndexTensor(batch.select, device_));
  return TokenLogprobs(FinalNorm(weights_, config_.text, hidden), HeadWeight(weights_), IndexTensor(batch.targets, device_), temperature);
}

Tensor Policy::Logits(const std::vector<int32_t>& ids, const Images& images) {
  PackedBatch batch;
  batch.AddPrompt(config_, ids, images);
  return DecoderLogits(weights_, config_.text, Decode(batch)).to(torch::kFloat32);
}

std::vector<int32_t> Policy::Greedy(const std::vector<int32_t>& ids, const Images& images, int count) {
  torch::NoGradGuard constant;
  const TextConfig& c = config_.text;
  PackedBatch prompt;
  prompt.AddPrompt(config_, ids, images);
  Tensor x = EmbedBatch(weights_, config_, prompt, vision_frozen_);
  const int64_t capacity = static_cast<int64_t>(ids.size()) + count, g = c.heads / c.kv_heads;
  std::vector<Tensor> keys, values;
  for (int i = 0; i < c.layers; ++i) {
    for (auto* cache : {&keys, &values}) cache->push_back(torch::empty({1, capacity, c.kv_heads, c.head_dim}, x.options().dtype(weights_.compute)));
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
  int64_t token = run(x, prompt.FlatPositions());
  // As transformers' generate: each axis goes on from the last token's. That is not where training goes on
  // (RotaryPositions) when a prompt ends inside a picture.
  std::vector<int64_t> at;
  for (const auto& axis : prompt.positions) at.push_back(axis.back());
  while (true) {
    for (int64_t& p : at) ++p;
    out.push_back(static_cast<int32_t>(token));
    if (static_cast<int>(out.size()) >= count || std::find(config_.eos.begin(), config_.eos.end(), token) != config_.eos.end()) return out;
    token = run(torch::embedding(weights_.at(kEmbeddingName), IndexTensor({token}, device_)).to(x.scalar_type()), at);
  }
}

}  // namespace swerve
