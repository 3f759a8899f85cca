#include "policy/fused_model.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/status.h"

namespace swerve {
namespace {

using kernels::Padded;
constexpr int kMaxGroup = 64;

float* Room(std::vector<float>* v, int64_t n) {
  if (static_cast<int64_t>(v->size()) < n) v->resize(n);
  return v->data();
}
int Round32(int n) { return (n + 31) / 32 * 32; }

struct Part {
  const HostTensor* weight;
  const HostTensor* bias = nullptr;   // null: none
  const HostTensor* scale = nullptr;  // per output row
};

}  // namespace

void FusedModel::Cache::Reset(const FusedModel& model, int wanted) {
  const TextConfig& c = model.config_.text;
  length = 0;
  capacity = wanted;
  stride = Round32(std::max(1, wanted));
  const size_t n = static_cast<size_t>(c.layers) * c.kv_heads * c.head_dim * stride;
  if (keys.size() < n) keys.resize(n), values.resize(n);
}

absl::StatusOr<std::shared_ptr<const FusedModel>> FusedModel::Create(const ModelConfig& config, const TensorMap& tensors,
                                                                     const kernels::Table& kernels) {
  const TextConfig& t = config.text;
  auto bad = [](absl::string_view what) { return absl::InvalidArgumentError(absl::StrCat("the generation engine needs ", what)); };
  if (t.head_dim % 8 != 0) return bad(absl::StrCat("a head_dim that is a multiple of 8, not ", t.head_dim));
  if (t.hidden % kernels::kLanes != 0) return bad(absl::StrCat("a hidden_size that is a multiple of 16, not ", t.hidden));
  if (t.heads / t.kv_heads > kMaxGroup) return bad("at most 64 query heads per key head");
  if (config.has_vision && (config.vision.hidden % kernels::kLanes != 0 || config.vision.hidden / config.vision.heads % 8 != 0)) {
    return bad("a vision hidden_size that is a multiple of 16 and heads of a multiple of 8");
  }
  std::shared_ptr<FusedModel> m(new FusedModel(kernels));
  m->config_ = config;
  auto get = [&](const std::string& name) { return &tensors.at(name); };
  auto stack = [](std::initializer_list<Part> parts) {
    Matrix out;
    bool any_bias = false;
    for (const Part& p : parts) any_bias |= p.bias != nullptr;
    for (const Part& p : parts) {
      const int n = static_cast<int>(p.weight->shape[0]), padded = static_cast<int>(Padded(n));
      out.k = static_cast<int>(p.weight->data.size() / n);
      std::vector<float> w = p.weight->data, b(padded, 0.0f);
      if (p.bias != nullptr) std::copy(p.bias->data.begin(), p.bias->data.end(), b.begin());
      for (int i = 0; i < n && p.scale != nullptr; ++i) {
        for (int j = 0; j < out.k; ++j) w[static_cast<size_t>(i) * out.k + j] *= p.scale->data[i];
        b[i] *= p.scale->data[i];
      }
      const size_t at = out.packed.size();
      out.packed.resize(at + static_cast<size_t>(padded) * out.k);
      kernels::Pack(w.data(), n, out.k, out.packed.data() + at);
      if (any_bias) out.bias.insert(out.bias.end(), b.begin(), b.end());
      out.n += padded;
    }
    return out;
  };
  const std::string text = "language_model.model.";
  m->embed_ = get(text + "embed_tokens.weight")->data;
  m->norm_ = get(text + "norm.weight")->data;
  m->head_ = stack({{get(t.tied ? text + "embed_tokens.weight" : "language_model.lm_head.weight")}});
  for (int i = 0; i < t.layers; ++i) {
    const std::string p = absl::StrCat(text, "layers.", i, "."), a = p + "self_attn.";
    Layer& l = m->layers_.emplace_back();
    l.norm1 = get(p + "input_layernorm.weight")->data;
    l.norm2 = get(p + "post_attention_layernorm.weight")->data;
    l.qkv = stack({{get(a + "q_proj.weight"), get(a + "q_proj.bias")}, {get(a + "k_proj.weight"), get(a + "k_proj.bias")}, {get(a + "v_proj.weight"), get(a + "v_proj.bias")}});
    l.o = stack({{get(a + "o_proj.weight")}});
    l.gate_up = stack({{get(p + "mlp.gate_proj.weight")}, {get(p + "mlp.up_proj.weight")}});
    l.down = stack({{get(p + "mlp.down_proj.weight")}});
  }
  const int half = t.head_dim / 2;
  m->cos_.resize(static_cast<size_t>(t.max_positions) * half);
  m->sin_.resize(m->cos_.size());
  for (int i = 0; i < half; ++i) {
    const float frequency = static_cast<float>(std::pow(t.rope_theta, -2.0 * i / t.head_dim));
    for (int p = 0; p < t.max_positions; ++p) {
      const float angle = static_cast<float>(p) * frequency;
      m->cos_[static_cast<size_t>(p) * half + i] = std::cos(angle);
      m->sin_[static_cast<size_t>(p) * half + i] = std::sin(angle);
    }
  }
  if (!config.has_vision) return m;
  const std::string e = "vision_tower.embeddings.";
  const int h = config.vision.hidden;
  m->patch_ = stack({{get(e + "patch_embeddings.projection.weight"), get(e + "patch_embeddings.projection.bias")}});
  m->position_ = get(e + "position_embeddings")->data;
  for (int j = 0; j < h; ++j) m->position_[j] += get(e + "cls_token")->data[j];
  for (int i = 0; i < config.vision.layers; ++i) {
    const std::string p = absl::StrCat("vision_tower.encoder.layer.", i, "."), a = p + "attention.";
    VisionLayer& l = m->vision_.emplace_back();
    l.norm1 = get(p + "layernorm_before.weight")->data, l.bias1 = get(p + "layernorm_before.bias")->data;
    l.norm2 = get(p + "layernorm_after.weight")->data, l.bias2 = get(p + "layernorm_after.bias")->data;
    auto part = [&](const char* x) {
      return Part{get(absl::StrCat(a, x, "_proj.weight")), config.vision.qkv_bias ? get(absl::StrCat(a, x, "_proj.bias")) : nullptr};
    };
    l.qkv = stack({part("q"), part("k"), part("v")});
    l.proj = stack({{get(a + "projection_layer.weight"), get(a + "projection_layer.bias"), get(p + "lambda_1")}});
    l.fc1 = stack({{get(p + "mlp.fc1.weight"), get(p + "mlp.fc1.bias")}});
    l.fc2 = stack({{get(p + "mlp.fc2.weight"), get(p + "mlp.fc2.bias"), get(p + "lambda_2")}});
  }
  const std::string j = "multi_modal_projector.";
  m->projector_norm_ = get(j + "layer_norm.weight")->data, m->projector_bias_ = get(j + "layer_norm.bias")->data;
  m->linear1_ = stack({{get(j + "linear_1.weight"), get(j + "linear_1.bias")}});
  m->linear2_ = stack({{get(j + "linear_2.weight"), get(j + "linear_2.bias")}});
  return m;
}

void FusedModel::Multiply(const Matrix& m, const float* a, int64_t lda, int rows, float* c, int64_t ldc, bool add) const {
  k_.gemm(a, lda, rows, m.packed.data(), m.n, m.k, m.bias.empty() ? nullptr : m.bias.data(), c, ldc, add);
}

void FusedModel::Rope(float* head, int position) const {
  const int half = config_.text.head_dim / 2;
  const float *cos = &cos_[static_cast<size_t>(position) * half], *sin = &sin_[static_cast<size_t>(position) * half];
  for (int i = 0; i < half; ++i) {
    const float a = head[i], b = head[i + half];
    head[i] = a * cos[i] - b * sin[i];
    head[i + half] = b * cos[i] + a * sin[i];
  }
}

void FusedModel::Put(const float* k, const float* v, int layer, int head, int at, Cache* cache) const {
  const TextConfig& c = config_.text;
  const size_t base = (static_cast<size_t>(layer) * c.kv_heads + head) * c.head_dim * cache->stride;
  float* keys = cache->keys.data() + base + kernels::KeyIndex(at, 0, c.head_dim);
  for (int i = 0; i < c.head_dim; ++i) keys[i * kernels::kKeyBlock] = k[i];
  std::memcpy(cache->values.data() + base + static_cast<size_t>(at) * c.head_dim, v, sizeof(float) * c.head_dim);
}

// Attention of the query heads that share key head `head`, over a's first tokens and then b's. q is scaled already.
void FusedModel::Attend(const float* q, int layer, int head, const Cache& a, int a_count, const Cache* b, int b_count, float* out, Scratch* s) const {
  const TextConfig& c = config_.text;
  const int group = c.heads / c.kv_heads, d = c.head_dim, total = a_count + b_count;
  const int64_t stride = Round32(total) + 64;
  float* scores = Room(&s->scores, group * stride);
  auto at = [&](const Cache& cache) { return (static_cast<size_t>(layer) * c.kv_heads + head) * d * cache.stride; };
  k_.scores(q, group, d, a.keys.data() + at(a), a_count, scores, stride);
  if (b != nullptr) k_.scores(q, group, d, b->keys.data() + at(*b), b_count, scores + a_count, stride);
  float inverse[kMaxGroup];
  for (int h = 0; h < group; ++h) {
    float max;
    inverse[h] = static_cast<float>(1.0 / k_.exp_sum(scores + h * stride, total, &max));
  }
  std::fill(out, out + group * d, 0.0f);
  k_.mix(scores, stride, group, a.values.data() + at(a), a_count, d, out);
  if (b != nullptr) k_.mix(scores + a_count, stride, group, b->values.data() + at(*b), b_count, d, out);
  for (int h = 0; h < group; ++h) {
    for (int i = 0; i < d; ++i) out[h * d + i] *= inverse[h];
  }
}

void FusedModel::AfterAttention(const Layer& layer, int rows, Scratch* s) const {
  const TextConfig& c = config_.text;
  const int64_t width = Padded(c.mlp), heads = c.heads * c.head_dim;
  Multiply(layer.o, s->attention.data(), heads, rows, s->x.data(), c.hidden, true);
  k_.rms_norm(s->x.data(), layer.norm2.data(), c.eps, rows, c.hidden, s->n.data());
  float *wide = Room(&s->wide, rows * width * 2), *narrow = Room(&s->narrow, rows * width);
  Multiply(layer.gate_up, s->n.data(), c.hidden, rows, wide, 2 * width, false);
  k_.silu_mul(wide, rows, static_cast<int>(width), narrow);
  Multiply(layer.down, narrow, width, rows, s->x.data(), c.hidden, true);
}

void FusedModel::Logits(const float* x, int rows, float* logits, Scratch* s) const {
  const TextConfig& c = config_.text;
  k_.rms_norm(x, norm_.data(), c.eps, rows, c.hidden, Room(&s->n, static_cast<int64_t>(rows) * c.hidden));
  Multiply(head_, s->n.data(), c.hidden, rows, logits, logit_stride(), false);
}

void FusedModel::Prefill(absl::Span<const int32_t> ids, const float* pixels, Cache* cache, float* logits, Scratch* s) const {
  const TextConfig& c = config_.text;
  const int n = static_cast<int>(ids.size()), d = c.head_dim, group = c.heads / c.kv_heads;
  const int64_t wq = Padded(c.heads * d), wk = Padded(c.kv_heads * d), ldq = wq + 2 * wk, heads = c.heads * d;
  const float scale = 1.0f / std::sqrt(static_cast<float>(d));
  std::vector<float> features;
  if (pixels != nullptr) {
    features.resize(static_cast<size_t>(config_.image_tokens) * c.hidden);
    Vision(pixels, features.data(), s);
  }
  cache->Reset(*this, n);
  float* x = Room(&s->x, static_cast<int64_t>(n) * c.hidden);
  for (int i = 0, slot = 0; i < n; ++i) {
    const bool image = pixels != nullptr && ids[i] == config_.image_token_id;
    const float* from = image ? &features[static_cast<size_t>(slot++) * c.hidden] : &embed_[static_cast<size_t>(ids[i]) * c.hidden];
    std::copy(from, from + c.hidden, x + static_cast<int64_t>(i) * c.hidden);
  }
  Room(&s->n, static_cast<int64_t>(n) * c.hidden);
  float *qkv = Room(&s->qkv, n * ldq), *attention = Room(&s->attention, n * heads);
  for (int l = 0; l < c.layers; ++l) {
    k_.rms_norm(x, layers_[l].norm1.data(), c.eps, n, c.hidden, s->n.data());
    Multiply(layers_[l].qkv, s->n.data(), c.hidden, n, qkv, ldq, false);
    for (int i = 0; i < n; ++i) {
      float* row = qkv + i * ldq;
      for (int h = 0; h < c.heads; ++h) Rope(row + h * d, i);
      for (int j = 0; j < c.heads * d; ++j) row[j] *= scale;
      for (int h = 0; h < c.kv_heads; ++h) {
        Rope(row + wq + h * d, i);
        Put(row + wq + h * d, row + wq + wk + h * d, l, h, i, cache);
      }
    }
    // After the last layer's keys and values only the last token matters.
    const bool last = l + 1 == c.layers;
    const int first = last ? n - 1 : 0;
    for (int h = 0; h < c.kv_heads; ++h) {
      for (int i = first; i < n; ++i) {
        Attend(qkv + i * ldq + h * group * d, l, h, *cache, i + 1, nullptr, 0, attention + (i - first) * heads + h * group * d, s);
      }
    }
    if (last && n > 1) std::copy(x + static_cast<int64_t>(n - 1) * c.hidden, x + static_cast<int64_t>(n) * c.hidden, x);
    AfterAttention(layers_[l], n - first, s);
  }
  cache->length = n;
  Logits(x, 1, logits, s);
}

void FusedModel::Step(absl::Span<Row* const> rows, absl::Span<const int32_t> tokens, float* logits, Scratch* s) const {
  const TextConfig& c = config_.text;
  const int n = static_cast<int>(rows.size()), d = c.head_dim, group = c.heads / c.kv_heads;
  const int64_t wq = Padded(c.heads * d), wk = Padded(c.kv_heads * d), ldq = wq + 2 * wk, heads = c.heads * d;
  const float scale = 1.0f / std::sqrt(static_cast<float>(d));
  float* x = Room(&s->x, static_cast<int64_t>(n) * c.hidden);
  for (int i = 0; i < n; ++i) std::copy_n(&embed_[static_cast<size_t>(tokens[i]) * c.hidden], c.hidden, x + static_cast<int64_t>(i) * c.hidden);
  Room(&s->n, static_cast<int64_t>(n) * c.hidden);
  float *qkv = Room(&s->qkv, n * ldq), *attention = Room(&s->attention, n * heads);
  for (int l = 0; l < c.layers; ++l) {
    k_.rms_norm(x, layers_[l].norm1.data(), c.eps, n, c.hidden, s->n.data());
    Multiply(layers_[l].qkv, s->n.data(), c.hidden, n, qkv, ldq, false);
    for (int i = 0; i < n; ++i) {
      Row& r = *rows[i];
      float* row = qkv + i * ldq;
      const int position = r.prompt->length + r.own.length;
      for (int h = 0; h < c.heads; ++h) Rope(row + h * d, position);
      for (int j = 0; j < c.heads * d; ++j) row[j] *= scale;
      for (int h = 0; h < c.kv_heads; ++h) {
        Rope(row + wq + h * d, position);
        Put(row + wq + h * d, row + wq + wk + h * d, l, h, r.own.length, &r.own);
      }
    }
    for (int h = 0; h < c.kv_heads; ++h) {
      for (int i = 0; i < n; ++i) {
        Row& r = *rows[i];
        Attend(qkv + i * ldq + h * group * d, l, h, *r.prompt, r.prompt->length, &r.own, r.own.length + 1, attention + i * heads + h * group * d, s);
      }
    }
    AfterAttention(layers_[l], n, s);
  }
  for (Row* r : rows) ++r->own.length;
  Logits(x, n, logits, s);
}

void FusedModel::VisionAttention(int tokens, Scratch* s) const {
  const int h = config_.vision.hidden, heads = config_.vision.heads, d = h / heads;
  const int64_t ld = 3 * Padded(h), stride = Round32(tokens);
  const float scale = 1.0f / std::sqrt(static_cast<float>(d));
  float* scores = Room(&s->scores, tokens * stride);
  float* q = Room(&s->keys, d * stride + 3LL * tokens * d);
  float *kt = q + tokens * d, *v = kt + d * stride, *out = v + tokens * d;
  for (int head = 0; head < heads; ++head) {
    for (int i = 0; i < tokens; ++i) {
      const float* row = s->qkv.data() + i * ld + head * d;
      for (int j = 0; j < d; ++j) {
        q[i * d + j] = row[j] * scale;
        kt[kernels::KeyIndex(i, j, d)] = row[Padded(h) + j];
        v[i * d + j] = row[2 * Padded(h) + j];
      }
    }
    k_.scores(q, tokens, d, kt, tokens, scores, stride);
    std::fill(out, out + tokens * d, 0.0f);
    std::vector<float> inverse(tokens);
    for (int i = 0; i < tokens; ++i) {
      float max;
      inverse[i] = static_cast<float>(1.0 / k_.exp_sum(scores + i * stride, tokens, &max));
    }
    k_.mix(scores, stride, tokens, v, tokens, d, out);
    for (int i = 0; i < tokens; ++i) {
      for (int j = 0; j < d; ++j) s->attention[static_cast<size_t>(i) * h + head * d + j] = out[i * d + j] * inverse[i];
    }
  }
}

void FusedModel::Vision(const float* pixels, float* features, Scratch* s) const {
  const VisionConfig& c = config_.vision;
  const int grid = c.image / c.patch, patches = grid * grid, tokens = patches + 1, h = c.hidden, in = 3 * c.patch * c.patch;
  float *x = Room(&s->x, static_cast<int64_t>(tokens) * h), *cut = Room(&s->wide, static_cast<int64_t>(patches) * in);
  for (int p = 0; p < patches; ++p) {
    for (int ch = 0; ch < 3; ++ch) {
      for (int i = 0; i < c.patch; ++i) {
        const float* from = pixels + (static_cast<size_t>(ch) * c.image + p / grid * c.patch + i) * c.image + p % grid * c.patch;
        std::copy(from, from + c.patch, cut + (static_cast<size_t>(p) * 3 + ch) * c.patch * c.patch + i * c.patch);
      }
    }
  }
  std::copy(position_.begin(), position_.end(), x);
  Multiply(patch_, cut, in, patches, x + h, h, true);
  float *n = Room(&s->n, static_cast<int64_t>(tokens) * h), *qkv = Room(&s->qkv, tokens * 3 * Padded(h));
  Room(&s->attention, static_cast<int64_t>(tokens) * h);
  for (const VisionLayer& l : vision_) {
    k_.layer_norm(x, l.norm1.data(), l.bias1.data(), c.eps, tokens, h, n);
    Multiply(l.qkv, n, h, tokens, qkv, 3 * Padded(h), false);
    VisionAttention(tokens, s);
    Multiply(l.proj, s->attention.data(), h, tokens, x, h, true);
    k_.layer_norm(x, l.norm2.data(), l.bias2.data(), c.eps, tokens, h, n);
    float* wide = Room(&s->wide, tokens * Padded(c.mlp));
    Multiply(l.fc1, n, h, tokens, wide, Padded(c.mlp), false);
    k_.gelu(wide, tokens * Padded(c.mlp));
    Multiply(l.fc2, wide, Padded(c.mlp), tokens, x, h, true);
  }
  // Pixel shuffle: cells of 2 × 2 patches in row-major order, each patch's channels together.
  const int side = grid / 2, out = side * side;
  float* shuffled = Room(&s->wide, static_cast<int64_t>(out) * 4 * h);
  for (int o = 0; o < out; ++o) {
    for (int q = 0; q < 4; ++q) {
      const int patch = (o / side * 2 + q / 2) * grid + o % side * 2 + q % 2;
      std::copy_n(x + (1 + static_cast<size_t>(patch)) * h, h, shuffled + (static_cast<size_t>(o) * 4 + q) * h);
    }
  }
  float* normed = Room(&s->narrow, static_cast<int64_t>(out) * 4 * h);
  k_.layer_norm(shuffled, projector_norm_.data(), projector_bias_.data(), 1e-5f, out, 4 * h, normed);
  const int wide = config_.text.hidden;
  float* middle = Room(&s->qkv, static_cast<int64_t>(out) * wide);
  Multiply(linear1_, normed, 4 * h, out, middle, wide, false);
  k_.gelu(middle, static_cast<int64_t>(out) * wide);
  Multiply(linear2_, middle, wide, out, features, wide, false);
}

}  // namespace swerve
