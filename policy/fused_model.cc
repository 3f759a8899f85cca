#include "policy/fused_model.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>

#include "base/status.h"
#include "policy/fused_parts.h"
#include "policy/prompt_input.h"

namespace swerve {
namespace {

using kernels::Padded;
constexpr int kBlock = 8;  // tokens that attend together

}  // namespace

int FusedModel::Cache::StrideOf(int capacity) { return Round32(std::max(1, capacity)); }

int64_t FusedModel::CacheBytes(const ModelConfig& config, int capacity) {
  const TextConfig& c = config.text;
  return int64_t{2} * sizeof(float) * c.layers * c.kv_heads * c.head_dim * Cache::StrideOf(capacity);
}

int FusedModel::rows_at_once() const {
  constexpr int kTypical = 128;                    // positions of a row's own
  constexpr int64_t kHeld = int64_t{4} << 20;  // beside weights and prompts: a second-level cache and a share of the third
  if (wants_team()) return std::numeric_limits<int>::max();
  return static_cast<int>(std::max<int64_t>(kBlock, kHeld / CacheBytes(config_, kTypical) / kBlock * kBlock));
}

void FusedModel::Cache::Reset(const FusedModel& model, int wanted) {
  length = 0;
  capacity = wanted;
  stride = StrideOf(wanted);
  const size_t n = CacheBytes(model.config_, wanted) / (2 * sizeof(float));
  if (keys.size() < n) keys.resize(n), values.resize(n);
}

void FusedModel::Multiply(const Matrix& m, const float* a, int64_t lda, int rows, float* c, int64_t ldc, bool add, Scratch* s) const {
  const bool bf16 = precision_ == Precision::kBfloat16;
  if (bf16) {
    uint16_t* half = Room(&s->half, static_cast<int64_t>(rows) * m.k);
    ForParts(s, rows, kRowsApart, [&](int64_t from, int64_t to) {
      for (int64_t i = from; i < to; ++i) k_.to_bf16(a + i * lda, m.k, half + i * m.k);
    });
  }
  // Columns over the members, whole pairs of panels each. Few multiplications are not worth a meeting.
  constexpr int64_t kUnit = 2 * kernels::kLanes;
  const int64_t apart = std::max<int64_t>(1, kMacsApart / (kUnit * m.k * rows));
  ForParts(s, (m.n + kUnit - 1) / kUnit, apart, [&](int64_t from, int64_t to) {
    const int64_t j = from * kUnit;
    const int n = static_cast<int>(std::min<int64_t>(m.n, to * kUnit) - j);
    const float* bias = m.bias.empty() ? nullptr : m.bias.data() + j;
    if (bf16) {
      k_.gemm16(s->half.data(), m.k, rows, m.half.data() + j * m.k, n, m.k, bias, c + j, ldc, add);
    } else {
      k_.gemm(a, lda, rows, m.packed.data() + j * m.k, n, m.k, bias, c + j, ldc, add);
    }
  });
}

// A row of the embedding, which lies in panels.
void FusedModel::Embed(int32_t id, float* out) const {
  constexpr int64_t kLanes = kernels::kLanes;
  const Matrix& m = embed_.n > 0 ? embed_ : head_;
  const int64_t panel = id / kLanes * kLanes * m.k, lane = id % kLanes;
  if (precision_ == Precision::kFloat32) {
    for (int p = 0; p < m.k; ++p) out[p] = m.packed[panel + p * kLanes + lane];
    return;
  }
  for (int p = 0; p < m.k; ++p) {
    const uint32_t bits = uint32_t{m.half[panel + p / 2 * 2 * kLanes + 2 * lane + p % 2]} << 16;
    std::memcpy(out + p, &bits, sizeof bits);
  }
}

void FusedModel::Rope(float* x, int heads, int position, float scale) const {
  const size_t at = static_cast<size_t>(position) * (config_.text.head_dim / 2);
  k_.rope(x, heads, config_.text.head_dim, &cos_[at], &sin_[at], scale);
}

// Three positions a token, `stride` apart.
void FusedModel::Rope(float* x, int heads, const int32_t* at, int64_t stride, float scale) const {
  const int32_t p[3] = {at[0], at[stride], at[2 * stride]};
  if (axis_.empty() || (p[0] == p[1] && p[0] == p[2])) return Rope(x, heads, p[0], scale);
  const int d = config_.text.head_dim, half = d / 2;
  float cos[kMaxHeadDim / 2], sin[kMaxHeadDim / 2];
  for (int i = 0; i < half; ++i) {
    const size_t entry = static_cast<size_t>(p[axis_[i]]) * half + i;
    cos[i] = cos_[entry], sin[i] = sin_[entry];
  }
  k_.rope(x, heads, d, cos, sin, scale);
}

void FusedModel::Put(const float* k, const float* v, int layer, int head, int at, Cache* cache) const {
  const TextConfig& c = config_.text;
  const size_t base = (static_cast<size_t>(layer) * c.kv_heads + head) * c.head_dim * cache->stride;
  float* keys = cache->keys.data() + base + kernels::KeyIndex(at, 0, c.head_dim);
  for (int i = 0; i < c.head_dim; ++i) keys[i * kernels::kKeyBlock] = k[i];
  std::memcpy(cache->values.data() + base + static_cast<size_t>(at) * c.head_dim, v, sizeof(float) * c.head_dim);
}

// Scores to weights: of each query the first `count` positions, then nothing up to `all`. Fills `inverse` with what they must
// be multiplied by to sum to 1.
void FusedModel::Weigh(float* scores, int count, int all, float* inverse) const {
  float max;
  *inverse = static_cast<float>(1.0 / k_.exp_sum(scores, count, &max));
  std::fill(scores + count, scores + all, 0.0f);
}

// Attention over a prompt's keys of the tokens [from, to) of that prompt, whose queries (scaled) lie in qkv: the query heads
// of all of them that share key head `head` pass over its keys and values together.
void FusedModel::AttendPrompt(const float* qkv, int64_t ldq, int layer, int head, const Cache& prompt, int from, int to, float* attention,
                              Scratch::Lane* lane) const {
  const TextConfig& c = config_.text;
  const int group = c.heads / c.kv_heads, d = c.head_dim, queries = (to - from) * group;
  const int64_t stride = Round32(to) + 32, heads = c.heads * d;
  const size_t at = (static_cast<size_t>(layer) * c.kv_heads + head) * d * prompt.stride;
  float *scores = Room(&lane->scores, queries * stride + queries), *inverse = scores + queries * stride;
  float *q = Room(&lane->keys, 2LL * queries * d), *out = q + queries * d;
  for (int i = from; i < to; ++i) std::copy_n(qkv + i * ldq + head * group * d, group * d, q + (i - from) * group * d);
  k_.scores(q, queries, d, prompt.keys.data() + at, to, scores, stride);
  for (int h = 0; h < queries; ++h) Weigh(scores + h * stride, from + h / group + 1, to, inverse + h);
  std::fill(out, out + queries * d, 0.0f);
  k_.mix(scores, stride, queries, prompt.values.data() + at, to, d, out);
  for (int h = 0; h < queries; ++h) {
    float* put = attention + h / group * heads + (head * group + h % group) * d;
    for (int i = 0; i < d; ++i) put[i] = out[h * d + i] * inverse[h];
  }
}

// Attention of a step's rows `which`, which go on from one prompt: over its keys and values together, then each over its own.
void FusedModel::AttendRows(const float* qkv, int64_t ldq, int layer, int head, absl::Span<Row* const> rows, absl::Span<const int> which,
                            float* attention, Scratch::Lane* lane) const {
  const TextConfig& c = config_.text;
  const Cache& prompt = *rows[which[0]]->prompt;
  const int group = c.heads / c.kv_heads, d = c.head_dim, n = static_cast<int>(which.size()), queries = n * group, shared = prompt.length;
  int longest = 0;
  for (const int i : which) longest = std::max(longest, rows[i]->own.length + 1);
  const int64_t stride = Round32(shared + longest) + 64, heads = c.heads * d;
  auto at = [&](const Cache& cache) { return (static_cast<size_t>(layer) * c.kv_heads + head) * d * cache.stride; };
  float *scores = Room(&lane->scores, queries * stride + queries), *inverse = scores + queries * stride;
  float *q = Room(&lane->keys, 2LL * queries * d), *out = q + queries * d;
  for (int r = 0; r < n; ++r) std::copy_n(qkv + which[r] * ldq + head * group * d, group * d, q + r * group * d);
  k_.scores(q, queries, d, prompt.keys.data() + at(prompt), shared, scores, stride);
  for (int r = 0; r < n; ++r) {
    const Cache& own = rows[which[r]]->own;
    float* first = scores + r * group * stride;
    k_.scores(q + r * group * d, group, d, own.keys.data() + at(own), own.length + 1, first + shared, stride);
    const int total = shared + own.length + 1;
    for (int h = 0; h < group; ++h) Weigh(first + h * stride, total, total, inverse + r * group + h);
  }
  std::fill(out, out + queries * d, 0.0f);
  k_.mix(scores, stride, queries, prompt.values.data() + at(prompt), shared, d, out);
  for (int r = 0; r < n; ++r) {
    const Cache& own = rows[which[r]]->own;
    float *put = attention + which[r] * heads + head * group * d, *sum = out + r * group * d;
    k_.mix(scores + r * group * stride + shared, stride, group, own.values.data() + at(own), own.length + 1, d, sum);
    for (int h = 0; h < group; ++h) {
      for (int i = 0; i < d; ++i) put[h * d + i] = sum[h * d + i] * inverse[r * group + h];
    }
  }
}

void FusedModel::AfterAttention(const Layer& layer, int rows, Scratch* s) const {
  const TextConfig& c = config_.text;
  const int64_t width = Padded(c.mlp), heads = c.heads * c.head_dim;
  Multiply(layer.o, s->attention.data(), heads, rows, s->x.data(), c.hidden, true, s);
  k_.rms_norm(s->x.data(), layer.norm2.data(), c.eps, rows, c.hidden, s->n.data());
  float *wide = Room(&s->wide, rows * width * 2), *narrow = Room(&s->narrow, rows * width);
  Multiply(layer.gate_up, s->n.data(), c.hidden, rows, wide, 2 * width, false, s);
  ForParts(s, rows, kRowsApart, [&](int64_t from, int64_t to) {
    k_.silu_mul(wide + from * 2 * width, static_cast<int>(to - from), static_cast<int>(width), narrow + from * width);
  });
  Multiply(layer.down, narrow, width, rows, s->x.data(), c.hidden, true, s);
}

void FusedModel::Logits(const float* x, int rows, float* logits, Scratch* s) const {
  const TextConfig& c = config_.text;
  k_.rms_norm(x, norm_.data(), c.eps, rows, c.hidden, Room(&s->n, static_cast<int64_t>(rows) * c.hidden));
  Multiply(head_, s->n.data(), c.hidden, rows, logits, logit_stride(), false, s);
}

absl::Status FusedModel::Prefill(const std::vector<int32_t>& ids, const Images& images, Cache* cache, float* logits, Scratch* s) const {
  const TextConfig& c = config_.text;
  const int n = static_cast<int>(ids.size()), d = c.head_dim;
  const int64_t wq = Padded(c.heads * d), wk = Padded(c.kv_heads * d), ldq = wq + 2 * wk, heads = c.heads * d;
  const float scale = 1.0f / std::sqrt(static_cast<float>(d));
  const bool seeing = config_.has_vision && !images.empty();
  const int slots = seeing ? static_cast<int>(std::count(ids.begin(), ids.end(), config_.image_token_id)) : 0;
  SWERVE_ASSIGN_OR_RETURN(const std::vector<float> features, Features(images, slots, s));
  SWERVE_ASSIGN_OR_RETURN(const std::vector<int32_t> positions, RotaryPositions(config_, ids, images));
  cache->Reset(*this, n);
  cache->next = 1 + *std::max_element(positions.begin(), positions.end());
  float* x = Room(&s->x, static_cast<int64_t>(n) * c.hidden);
  for (int i = 0, slot = 0; i < n; ++i) {
    const bool image = seeing && ids[i] == config_.image_token_id;
    float* to = x + static_cast<int64_t>(i) * c.hidden;
    if (image) {
      std::copy_n(&features[static_cast<size_t>(slot++) * c.hidden], c.hidden, to);
    } else {
      Embed(ids[i], to);
    }
  }
  Room(&s->n, static_cast<int64_t>(n) * c.hidden);
  float *qkv = Room(&s->qkv, n * ldq), *attention = Room(&s->attention, n * heads);
  for (int l = 0; l < c.layers; ++l) {
    k_.rms_norm(x, layers_[l].norm1.data(), c.eps, n, c.hidden, s->n.data());
    Multiply(layers_[l].qkv, s->n.data(), c.hidden, n, qkv, ldq, false, s);
    ForParts(s, n, kRowsApart, [&](int64_t from, int64_t to) {
      for (int64_t i = from; i < to; ++i) {
        float* row = qkv + i * ldq;
        Rope(row, c.heads, &positions[i], n, scale);
        Rope(row + wq, c.kv_heads, &positions[i], n, 1.0f);
        for (int h = 0; h < c.kv_heads; ++h) {
          Put(row + wq + h * d, row + wq + wk + h * d, l, h, static_cast<int>(i), cache);
        }
      }
    });
    // After the last layer's keys and values only the last token matters.
    const bool last = l + 1 == c.layers;
    const int first = last ? n - 1 : 0;
    const int blocks = (n - first + kBlock - 1) / kBlock;
    ForEach(s, static_cast<int64_t>(blocks) * c.kv_heads, 1, [&](int64_t part, Scratch::Lane* lane) {
      const int from = first + static_cast<int>(part) / c.kv_heads * kBlock, to = std::min(n, from + kBlock);
      AttendPrompt(qkv, ldq, l, static_cast<int>(part) % c.kv_heads, *cache, from, to, attention + (from - first) * heads, lane);
    });
    if (last && n > 1) std::copy(x + static_cast<int64_t>(n - 1) * c.hidden, x + static_cast<int64_t>(n) * c.hidden, x);
    AfterAttention(layers_[l], n - first, s);
  }
  cache->length = n;
  Logits(x, 1, logits, s);
  return absl::OkStatus();
}

void FusedModel::Step(absl::Span<Row* const> rows, absl::Span<const int32_t> tokens, float* logits, Scratch* s) const {
  const TextConfig& c = config_.text;
  const int n = static_cast<int>(rows.size()), d = c.head_dim;
  const int64_t wq = Padded(c.heads * d), wk = Padded(c.kv_heads * d), ldq = wq + 2 * wk, heads = c.heads * d;
  const float scale = 1.0f / std::sqrt(static_cast<float>(d));
  float* x = Room(&s->x, static_cast<int64_t>(n) * c.hidden);
  for (int i = 0; i < n; ++i) Embed(tokens[i], x + static_cast<int64_t>(i) * c.hidden);
  Room(&s->n, static_cast<int64_t>(n) * c.hidden);
  float *qkv = Room(&s->qkv, n * ldq), *attention = Room(&s->attention, n * heads);
  std::vector<int> order(n);
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](int a, int b) { return std::pair(rows[a]->prompt, a) < std::pair(rows[b]->prompt, b); });
  std::vector<absl::Span<const int>> runs;  // of rows with one prompt
  for (int from = 0, to; from < n; from = to) {
    for (to = from + 1; to < n && to - from < kBlock && rows[order[to]]->prompt == rows[order[from]]->prompt;) ++to;
    runs.push_back(absl::MakeConstSpan(order).subspan(from, to - from));
  }
  for (int l = 0; l < c.layers; ++l) {
    k_.rms_norm(x, layers_[l].norm1.data(), c.eps, n, c.hidden, s->n.data());
    Multiply(layers_[l].qkv, s->n.data(), c.hidden, n, qkv, ldq, false, s);
    for (int i = 0; i < n; ++i) {
      Row& r = *rows[i];
      float* row = qkv + i * ldq;
      const int position = r.prompt->next + r.own.length;
      Rope(row, c.heads, position, scale);
      Rope(row + wq, c.kv_heads, position, 1.0f);
      for (int h = 0; h < c.kv_heads; ++h) {
        Put(row + wq + h * d, row + wq + wk + h * d, l, h, r.own.length, &r.own);
      }
    }
    ForEach(s, static_cast<int64_t>(runs.size()) * c.kv_heads, 1, [&](int64_t part, Scratch::Lane* lane) {
      AttendRows(qkv, ldq, l, static_cast<int>(part) % c.kv_heads, rows, runs[part / c.kv_heads], attention, lane);
    });
    AfterAttention(layers_[l], n, s);
  }
  for (Row* r : rows) ++r->own.length;
  Logits(x, n, logits, s);
}

}  // namespace swerve
