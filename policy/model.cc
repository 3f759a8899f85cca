#include <torch/torch.h>

#include "policy/model.h"

#include <dlfcn.h>

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_replace.h"
#include "base/status.h"
#include "policy/checkpoint.h"
#include "policy/prompt_input.h"

namespace swerve {
namespace {

using torch::Tensor;
const char kText[] = "language_model.model.";

Tensor RmsNorm(const Tensor& x, const Tensor& weight, double eps) {
  return x * torch::rsqrt(x.square().mean(-1, true) + eps) * weight;
}

// Rotate-half RoPE on [N, heads, head_dim].
Tensor Rotate(const Tensor& x, const Tensor& cos, const Tensor& sin) {
  const int64_t half = x.size(-1) / 2;
  Tensor a = x.narrow(-1, 0, half), b = x.narrow(-1, half, half);
  return x * cos + torch::cat({-b, a}, -1) * sin;
}

absl::Status LoadCudaBackend() {
  static void* handle = dlopen("libtorch_cuda.so", RTLD_NOW | RTLD_LOCAL);
  return handle != nullptr && torch::cuda::is_available() ? absl::OkStatus()
                                                          : absl::UnavailableError("no CUDA device or no CUDA build of LibTorch");
}

}  // namespace

// Every token of the batch once, packed without padding: prompts first, then what each response feeds back (all its
// tokens but the last). Padded index tensors exist for attention alone.
struct Policy::Batch {
  std::vector<int64_t> ids, positions;
  std::vector<int64_t> image_slots;  // packed positions of placeholders, in image order
  std::vector<std::shared_ptr<const Image>> images;
  int64_t prompts = 0, prompt_pad = 0, responses = 0, response_pad = 0;
  std::vector<int64_t> prompt_index, prompt_valid;      // [U·P] into packed; packed order from [U·P]
  std::vector<int64_t> response_index, response_valid;  // [R·T], likewise
  std::vector<int64_t> keys_index;                      // [R·(P+T)]: a row's prompt, then itself
  std::vector<int64_t> row_prompt_length;
  std::vector<int64_t> select, targets;  // packed position that predicts each response token, and the token
};

absl::StatusOr<std::shared_ptr<Policy>> Policy::Load(const std::string& dir, torch::Device device) {
  if (device.is_cuda()) SWERVE_RETURN_IF_ERROR(LoadCudaBackend());
  std::shared_ptr<Policy> policy(new Policy);
  SWERVE_ASSIGN_OR_RETURN(policy->config_, LoadModelConfig(dir));
  SWERVE_ASSIGN_OR_RETURN(policy->tokenizer_, Tokenizer::Load(dir));
  SWERVE_ASSIGN_OR_RETURN(TensorMap tensors, LoadTensors(dir, policy->config_));
  policy->directory_ = dir;
  policy->device_ = device;
  try {
    for (auto& [name, t] : tensors) {
      Tensor value = torch::from_blob(t.data.data(), t.shape, torch::kFloat32).clone().to(device);
      policy->weights_[name] = policy->register_parameter(absl::StrReplaceAll(name, {{".", "/"}}), value);
    }
  } catch (const c10::Error& e) {
    return absl::UnavailableError(absl::StrCat("LibTorch: ", e.what_without_backtrace()));
  }
  return policy;
}

absl::Status Policy::Save(const std::string& dir) const {
  if (config_.model_type == "internvl_chat") {
    return absl::InvalidArgumentError(absl::StrCat(directory_, ": the original InternVL layout is read, not written; convert it to -hf with transformers first"));
  }
  std::vector<Tensor> held;
  std::vector<NamedFloats> named;
  for (const auto& [name, shape] : ExpectedTensors(config_)) {
    held.push_back(weights_.at(name).detach().to(torch::kCPU, torch::kFloat32).contiguous());
    named.push_back({name, shape, held.back().data_ptr<float>()});
  }
  return SaveCheckpoint(dir, directory_, config_, named);
}

absl::Status Policy::Check(absl::Span<const Row> rows) const {
  for (size_t i = 0; i < rows.size(); ++i) {
    const Row& row = rows[i];
    auto bad = [&](absl::string_view what) { return absl::InvalidArgumentError(absl::StrCat("row ", i, ": ", what)); };
    if (row.prompt_ids.empty() || row.response_ids.empty()) return bad("the prompt or the response has no tokens");
    if (row.prompt_ids.size() + row.response_ids.size() > static_cast<size_t>(config_.text.max_positions)) return bad("longer than the model's positions");
    for (const auto* ids : {&row.prompt_ids, &row.response_ids}) {
      for (int32_t id : *ids) {
        if (id < 0 || id >= config_.text.vocab) return bad(absl::StrCat("token id ", id, " is outside the vocabulary"));
      }
    }
    const int64_t slots = config_.has_vision ? std::count(row.prompt_ids.begin(), row.prompt_ids.end(), config_.image_token_id) : 0;
    if (slots != (row.image ? config_.image_tokens : 0)) return bad(absl::StrCat(slots, " image placeholders do not fit the image"));
  }
  return absl::OkStatus();
}

Policy::Batch Policy::MakeBatch(absl::Span<const Row> rows) const {
  Batch b;
  std::vector<int64_t> prompt_of, start, length;
  std::map<std::pair<std::vector<int32_t>, const Image*>, int64_t> known;
  for (const Row& row : rows) {
    auto [it, fresh] = known.try_emplace({row.prompt_ids, row.image.get()}, b.prompts);
    prompt_of.push_back(it->second);
    if (!fresh) continue;
    ++b.prompts;
    start.push_back(b.ids.size());
    length.push_back(row.prompt_ids.size());
    b.prompt_pad = std::max<int64_t>(b.prompt_pad, length.back());
    if (row.image) b.images.push_back(row.image);
    for (int32_t id : row.prompt_ids) {
      if (row.image && id == config_.image_token_id) b.image_slots.push_back(b.ids.size());
      b.positions.push_back(static_cast<int64_t>(b.ids.size()) - start.back());
      b.ids.push_back(id);
    }
  }
  for (int64_t u = 0; u < b.prompts; ++u) {
    for (int64_t p = 0; p < b.prompt_pad; ++p) {
      b.prompt_index.push_back(start[u] + std::min(p, length[u] - 1));
      if (p < length[u]) b.prompt_valid.push_back(u * b.prompt_pad + p);
    }
  }
  b.responses = rows.size();
  for (const Row& row : rows) b.response_pad = std::max<int64_t>(b.response_pad, row.response_ids.size() - 1);
  for (int64_t r = 0; r < b.responses; ++r) {
    const int64_t u = prompt_of[r], n = rows[r].response_ids.size() - 1, from = b.ids.size();
    b.row_prompt_length.push_back(length[u]);
    for (int64_t p = 0; p < b.prompt_pad; ++p) b.keys_index.push_back(start[u] + std::min(p, length[u] - 1));
    for (int64_t t = 0; t < b.response_pad; ++t) {
      // Padding points at a token that exists; nothing valid ever looks at it.
      const int64_t at = t < n ? from + t : start[u];
      b.response_index.push_back(at);
      b.keys_index.push_back(at);
      if (t < n) b.response_valid.push_back(r * b.response_pad + t);
    }
    for (int64_t t = 0; t <= n; ++t) {
      b.select.push_back(t == 0 ? start[u] + length[u] - 1 : from + t - 1);
      b.targets.push_back(rows[r].response_ids[t]);
      if (t == n) break;
      b.positions.push_back(length[u] + t);
      b.ids.push_back(rows[r].response_ids[t]);
    }
  }
  return b;
}

Tensor Policy::Linear(const Tensor& x, const std::string& name, bool bias) const {
  return bias ? torch::linear(x, weights_.at(name + ".weight"), weights_.at(name + ".bias"))
              : torch::linear(x, weights_.at(name + ".weight"));
}

Tensor Policy::Vision(const Tensor& pixels) const {
  const VisionConfig& c = config_.vision;
  const std::string e = "vision_tower.embeddings.";
  const int64_t batch = pixels.size(0), grid = c.image / c.patch, h = c.hidden, tokens = grid * grid + 1;
  Tensor x = torch::conv2d(pixels, weights_.at(e + "patch_embeddings.projection.weight"),
                           weights_.at(e + "patch_embeddings.projection.bias"), c.patch);
  x = torch::cat({weights_.at(e + "cls_token").expand({batch, 1, h}), x.flatten(2).transpose(1, 2)}, 1) +
      weights_.at(e + "position_embeddings");
  for (int i = 0; i < c.layers; ++i) {
    const std::string p = absl::StrCat("vision_tower.encoder.layer.", i, ".");
    auto norm = [&](const Tensor& v, const std::string& name) {
      return torch::layer_norm(v, {h}, weights_.at(p + name + ".weight"), weights_.at(p + name + ".bias"), c.eps);
    };
    auto heads = [&](const Tensor& v) { return v.view({batch, tokens, c.heads, h / c.heads}).transpose(1, 2); };
    Tensor n = norm(x, "layernorm_before");
    Tensor a = torch::scaled_dot_product_attention(heads(Linear(n, p + "attention.q_proj", c.qkv_bias)),
                                                   heads(Linear(n, p + "attention.k_proj", c.qkv_bias)),
                                                   heads(Linear(n, p + "attention.v_proj", c.qkv_bias)));
    a = Linear(a.transpose(1, 2).reshape({batch, tokens, h}), p + "attention.projection_layer", true);
    x = x + weights_.at(p + "lambda_1") * a;
    Tensor m = Linear(torch::gelu(Linear(norm(x, "layernorm_after"), p + "mlp.fc1", true)), p + "mlp.fc2", true);
    x = x + weights_.at(p + "lambda_2") * m;
  }
  const int64_t s = grid / 2;
  x = x.narrow(1, 1, grid * grid).reshape({batch, s, 2, s, 2, h}).permute({0, 1, 3, 2, 4, 5}).reshape({batch, s * s, 4 * h});
  const std::string m = "multi_modal_projector.";
  x = torch::layer_norm(x, {4 * h}, weights_.at(m + "layer_norm.weight"), weights_.at(m + "layer_norm.bias"), 1e-5);
  return Linear(torch::gelu(Linear(x, m + "linear_1", true)), m + "linear_2", true);
}

Tensor Policy::Features(const std::vector<std::shared_ptr<const Image>>& images) const {
  const int64_t size = config_.vision.image;
  Tensor pixels = torch::empty({static_cast<int64_t>(images.size()), 3, size, size});
  for (size_t i = 0; i < images.size(); ++i) {
    auto one = Pixels(*images[i], config_);
    TORCH_CHECK(one.ok(), one.status().ToString());
    std::copy(one->begin(), one->end(), pixels.data_ptr<float>() + i * one->size());
  }
  pixels = pixels.to(device_);
  if (!vision_frozen_) return Vision(pixels);
  torch::NoGradGuard frozen;
  return Vision(pixels);
}

Tensor Policy::Decode(const Batch& b) const {
  const TextConfig& c = config_.text;
  auto index = [&](const std::vector<int64_t>& v) { return torch::tensor(v, torch::kInt64).to(device_); };
  Tensor x = torch::embedding(weights_.at(std::string(kText) + "embed_tokens.weight"), index(b.ids));
  if (!b.images.empty()) x = x.index_copy(0, index(b.image_slots), Features(b.images).reshape({-1, c.hidden}));

  Tensor frequency = torch::pow(c.rope_theta, torch::arange(0, c.head_dim, 2, torch::kFloat64) / -c.head_dim).to(torch::kFloat32);
  Tensor angle = torch::outer(torch::tensor(b.positions, torch::kFloat32), frequency);
  angle = torch::cat({angle, angle}, -1).unsqueeze(1).to(device_);
  const Tensor cos = angle.cos(), sin = angle.sin();

  // Query heads that share a key head become extra query rows of it, so keys are never repeated.
  const int64_t kv = c.kv_heads, g = c.heads / c.kv_heads, d = c.head_dim, P = b.prompt_pad, T = b.response_pad, U = b.prompts, R = b.responses;
  const Tensor prompt_index = index(b.prompt_index), prompt_valid = index(b.prompt_valid);
  const Tensor prompt_mask = torch::ones({P, P}, torch::kBool).tril().repeat({g, 1}).to(device_);
  Tensor response_index, response_valid, keys_index, response_mask;
  if (T > 0) {
    response_index = index(b.response_index), response_valid = index(b.response_valid), keys_index = index(b.keys_index);
    Tensor sees = torch::arange(P, torch::kInt64).unsqueeze(0) < torch::tensor(b.row_prompt_length, torch::kInt64).unsqueeze(1);
    response_mask = torch::cat({sees.unsqueeze(1).expand({R, T, P}), torch::ones({T, T}, torch::kBool).tril().expand({R, T, T})}, 2)
                        .repeat({1, g, 1}).unsqueeze(1).to(device_);
  }
  auto attend = [&](const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& queries, const Tensor& keys, int64_t rows,
                    const Tensor& mask, const Tensor& valid) {
    const int64_t nq = queries.numel() / rows, nk = keys.numel() / rows;
    Tensor qq = q.index_select(0, queries).view({rows, nq, kv, g, d}).permute({0, 2, 3, 1, 4}).reshape({rows, kv, g * nq, d});
    Tensor kk = k.index_select(0, keys).view({rows, nk, kv, d}).transpose(1, 2);
    Tensor vv = v.index_select(0, keys).view({rows, nk, kv, d}).transpose(1, 2);
    Tensor o = torch::scaled_dot_product_attention(qq, kk, vv, mask);
    return o.view({rows, kv, g, nq, d}).permute({0, 3, 1, 2, 4}).reshape({rows * nq, kv * g * d}).index_select(0, valid);
  };
  for (int i = 0; i < c.layers; ++i) {
    const std::string p = absl::StrCat(kText, "layers.", i, ".");
    Tensor n = RmsNorm(x, weights_.at(p + "input_layernorm.weight"), c.eps);
    Tensor q = Rotate(Linear(n, p + "self_attn.q_proj", true).view({-1, c.heads, d}), cos, sin);
    Tensor k = Rotate(Linear(n, p + "self_attn.k_proj", true).view({-1, kv, d}), cos, sin);
    Tensor v = Linear(n, p + "self_attn.v_proj", true).view({-1, kv, d});
    Tensor o = attend(q, k, v, prompt_index, prompt_index, U, prompt_mask, prompt_valid);
    if (T > 0) o = torch::cat({o, attend(q, k, v, response_index, keys_index, R, response_mask, response_valid)});
    x = x + Linear(o, p + "self_attn.o_proj", false);
    n = RmsNorm(x, weights_.at(p + "post_attention_layernorm.weight"), c.eps);
    x = x + Linear(torch::silu(Linear(n, p + "mlp.gate_proj", false)) * Linear(n, p + "mlp.up_proj", false), p + "mlp.down_proj", false);
  }
  return x;
}

Tensor Policy::Head(const Tensor& hidden) const {
  const std::string text(kText);
  return torch::linear(RmsNorm(hidden, weights_.at(text + "norm.weight"), config_.text.eps),
                       weights_.at(config_.text.tied ? text + "embed_tokens.weight" : "language_model.lm_head.weight"));
}

Tensor Policy::Logprobs(absl::Span<const Row> rows, double temperature) {
  if (rows.empty()) return torch::zeros({0});
  const absl::Status valid = Check(rows);
  TORCH_CHECK(valid.ok(), valid.ToString());
  TORCH_CHECK(temperature > 0, "temperature must be positive");
  const Batch batch = MakeBatch(rows);
  Tensor hidden = Decode(batch).index_select(0, torch::tensor(batch.select, torch::kInt64).to(device_));
  Tensor logits = Head(hidden);
  if (temperature != 1.0) logits = logits / temperature;
  return -torch::nn::functional::cross_entropy(logits, torch::tensor(batch.targets, torch::kInt64).to(device_),
                                               torch::nn::functional::CrossEntropyFuncOptions().reduction(torch::kNone));
}

Tensor Policy::SftLoss(absl::Span<const Row> rows) { return -Logprobs(rows, 1.0).mean(); }

Tensor Policy::Logits(const std::vector<int32_t>& ids, const std::shared_ptr<const Image>& image) {
  // The whole sequence is a prompt; the one-token response is only there to make a row.
  Row row{ids, {ids.back()}, image};
  const absl::Status valid = Check({&row, 1});
  TORCH_CHECK(valid.ok(), valid.ToString());
  return Head(Decode(MakeBatch({&row, 1})));
}

void Policy::FreezeVision(bool frozen) {
  vision_frozen_ = frozen;
  for (auto& [name, tensor] : weights_) {
    if (!absl::StartsWith(name, kText) && !absl::StartsWith(name, "language_model.")) tensor.requires_grad_(!frozen);
  }
}

}  // namespace swerve
