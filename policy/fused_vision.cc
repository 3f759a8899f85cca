// FusedModel's vision towers: from pixels to what stands at the image placeholders.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/status.h"
#include "policy/fused_parts.h"
#include "policy/qwen_grid.h"

namespace swerve {
namespace {

using kernels::Padded;
constexpr int kQueries = 256;  // attended together: bounds the scores that are held

}  // namespace

absl::StatusOr<std::vector<float>> FusedModel::Features(const Images& images, int slots, Scratch* s) const {
  std::vector<float> out(static_cast<size_t>(slots) * config_.text.hidden);
  const bool tiles = config_.vision.kind == VisionConfig::Kind::kInternVit;
  int64_t at = 0;
  for (const auto& image : images) {
    const int each = tiles ? config_.processor.tokens_per_tile : image->grid_h * image->grid_w / (config_.vision.merge * config_.vision.merge);
    const int parts = tiles ? image->tiles : image->grid_t;
    if (at + int64_t{each} * parts > slots) return absl::InvalidArgumentError(absl::StrCat(slots, " image placeholders do not fit the images, which take more"));
    if (!tiles) QwenVision(*image, out.data() + at * config_.text.hidden, s);
    const size_t pixels = tiles ? image->values.size() / std::max(1, parts) : 0;
    for (int i = 0; tiles && i < parts; ++i) InternVit(image->values.data() + i * pixels, out.data() + (at + i * each) * config_.text.hidden, s);
    at += int64_t{each} * parts;
  }
  if (at != slots) return absl::InvalidArgumentError(absl::StrCat(slots, " image placeholders do not fit the images, which take ", at));
  return out;
}

// Among the rows `tokens` of s->qkv ([q, k, v], each part padded), into the same rows of s->attention.
void FusedModel::VisionAttention(const std::vector<int>& tokens, Scratch* s) const {
  const int h = config_.vision.hidden, heads = config_.vision.heads, d = h / heads, n = static_cast<int>(tokens.size());
  const int64_t part = Padded(h), ld = 3 * part, stride = Round32(n);
  const float scale = 1.0f / std::sqrt(static_cast<float>(d));
  ForEach(s, heads, 1, [&](int64_t head, Scratch::Lane* lane) {
    float* scores = Room(&lane->scores, std::min(n, kQueries) * stride);
    float* q = Room(&lane->keys, d * stride + 3LL * n * d);
    float *kt = q + n * d, *v = kt + d * stride, *out = v + n * d;
    for (int i = 0; i < n; ++i) {
      const float* row = s->qkv.data() + tokens[i] * ld + head * d;
      for (int j = 0; j < d; ++j) {
        q[i * d + j] = row[j] * scale;
        kt[kernels::KeyIndex(i, j, d)] = row[part + j];
        v[i * d + j] = row[2 * part + j];
      }
    }
    std::fill(out, out + n * d, 0.0f);
    for (int from = 0; from < n; from += kQueries) {
      const int count = std::min(kQueries, n - from);
      k_.scores(q + from * d, count, d, kt, n, scores, stride);
      float inverse[kQueries];
      for (int i = 0; i < count; ++i) {
        float max;
        inverse[i] = static_cast<float>(1.0 / k_.exp_sum(scores + i * stride, n, &max));
      }
      k_.mix(scores, stride, count, v, n, d, out + from * d);
      for (int i = 0; i < count; ++i) {
        float* to = s->attention.data() + static_cast<size_t>(tokens[from + i]) * h + head * d;
        for (int j = 0; j < d; ++j) to[j] = out[(from + i) * d + j] * inverse[i];
      }
    }
  });
}

void FusedModel::InternVit(const float* pixels, float* features, Scratch* s) const {
  const VisionConfig& c = config_.vision;
  const int grid = c.image / c.patch, patches = grid * grid, tokens = patches + 1, h = c.hidden, in = 3 * c.patch * c.patch;
  const int side = config_.processor.tile;
  float *x = Room(&s->x, static_cast<int64_t>(tokens) * h), *cut = Room(&s->wide, static_cast<int64_t>(patches) * in);
  for (int p = 0; p < patches; ++p) {
    for (int ch = 0; ch < 3; ++ch) {
      for (int i = 0; i < c.patch; ++i) {
        const float* from = pixels + (static_cast<size_t>(ch) * side + p / grid * c.patch + i) * side + p % grid * c.patch;
        std::copy(from, from + c.patch, cut + (static_cast<size_t>(p) * 3 + ch) * c.patch * c.patch + i * c.patch);
      }
    }
  }
  std::copy(position_.begin(), position_.end(), x);
  Multiply(patch_, cut, in, patches, x + h, h, true, s);
  std::vector<int> all(tokens);
  std::iota(all.begin(), all.end(), 0);
  float *n = Room(&s->n, static_cast<int64_t>(tokens) * h), *qkv = Room(&s->qkv, tokens * 3 * Padded(h));
  Room(&s->attention, static_cast<int64_t>(tokens) * h);
  for (const VisionLayer& l : vision_) {
    k_.layer_norm(x, l.norm1.data(), l.bias1.data(), c.eps, tokens, h, n);
    Multiply(l.qkv, n, h, tokens, qkv, 3 * Padded(h), false, s);
    VisionAttention(all, s);
    Multiply(l.proj, s->attention.data(), h, tokens, x, h, true, s);
    k_.layer_norm(x, l.norm2.data(), l.bias2.data(), c.eps, tokens, h, n);
    float* wide = Room(&s->wide, tokens * Padded(c.mlp));
    Multiply(l.fc1, n, h, tokens, wide, Padded(c.mlp), false, s);
    ForParts(s, tokens, kRowsApart, [&](int64_t from, int64_t to) { k_.gelu(wide + from * Padded(c.mlp), (to - from) * Padded(c.mlp)); });
    Multiply(l.fc2, wide, Padded(c.mlp), tokens, x, h, true, s);
  }
  if (!final_norm_.empty()) {
    k_.layer_norm(x, final_norm_.data(), final_bias_.data(), c.eps, tokens, h, n);
    std::copy(n, n + static_cast<int64_t>(tokens) * h, x);
  }
  // Pixel shuffle: cells of merge × merge patches in row-major order, each patch's channels together.
  const int m = c.merge, cells = grid / m, out = cells * cells, wide = config_.text.hidden, width = m * m * h;
  float* shuffled = Room(&s->wide, static_cast<int64_t>(out) * width);
  for (int o = 0; o < out; ++o) {
    for (int q = 0; q < m * m; ++q) {
      const int patch = (o / cells * m + q / m) * grid + o % cells * m + q % m;
      std::copy_n(x + (1 + static_cast<size_t>(patch)) * h, h, shuffled + (static_cast<size_t>(o) * m * m + q) * h);
    }
  }
  float* normed = Room(&s->narrow, static_cast<int64_t>(out) * width);
  k_.layer_norm(shuffled, projector_norm_.data(), projector_bias_.data(), 1e-5f, out, width, normed);
  float* middle = Room(&s->qkv, static_cast<int64_t>(out) * wide);
  Multiply(linear1_, normed, width, out, middle, wide, false, s);
  k_.gelu(middle, static_cast<int64_t>(out) * wide);
  Multiply(linear2_, middle, wide, out, features, wide, false, s);
}

void FusedModel::QwenVision(const ProcessedImage& image, float* features, Scratch* s) const {
  const VisionConfig& c = config_.vision;
  const int n = image.grid_t * image.grid_h * image.grid_w, h = c.hidden, d = h / c.heads, half = d / 2, quarter = d / 4;
  const int64_t part = Padded(h), width = Padded(c.mlp);
  const QwenGrid grid = GridOf(c, image);
  // Angles by patch: first the row's frequencies, then the column's.
  std::vector<float> cos(static_cast<size_t>(n) * half), sin(cos.size());
  for (int i = 0; i < n; ++i) {
    for (int j = 0; j < half; ++j) {
      const float frequency = static_cast<float>(std::pow(c.rope_theta, -2.0 * (j % quarter) / half));
      const float angle = static_cast<float>(j < quarter ? grid.row[i] : grid.column[i]) * frequency;
      cos[static_cast<size_t>(i) * half + j] = std::cos(angle), sin[static_cast<size_t>(i) * half + j] = std::sin(angle);
    }
  }
  float *x = Room(&s->x, static_cast<int64_t>(n) * h), *normed = Room(&s->n, static_cast<int64_t>(n) * h), *qkv = Room(&s->qkv, n * 3 * part);
  Room(&s->attention, static_cast<int64_t>(n) * h);
  Multiply(patch_, image.values.data(), 3 * c.temporal_patch * c.patch * c.patch, n, x, h, false, s);
  for (int block = 0; block < c.layers; ++block) {
    const VisionLayer& l = vision_[block];
    k_.rms_norm(x, l.norm1.data(), 1e-6f, n, h, normed);
    Multiply(l.qkv, normed, h, n, qkv, 3 * part, false, s);
    for (int i = 0; i < n; ++i) {
      const float *cs = &cos[static_cast<size_t>(i) * half], *sn = &sin[static_cast<size_t>(i) * half];
      for (int head = 0; head < 2 * c.heads; ++head) {  // queries, then keys
        float* p = qkv + i * 3 * part + head / c.heads * part + head % c.heads * d;
        for (int j = 0; j < half; ++j) {
          const float a = p[j], b = p[j + half];
          p[j] = a * cs[j] - b * sn[j];
          p[j + half] = b * cs[j] + a * sn[j];
        }
      }
    }
    for (const std::vector<int>& tokens : IsFullBlock(c, block) ? grid.frames : grid.windows) VisionAttention(tokens, s);
    Multiply(l.proj, s->attention.data(), h, n, x, h, true, s);
    k_.rms_norm(x, l.norm2.data(), 1e-6f, n, h, normed);
    float *wide = Room(&s->wide, n * width * 2), *narrow = Room(&s->narrow, n * width);
    Multiply(l.fc1, normed, h, n, wide, 2 * width, false, s);
    ForParts(s, n, kRowsApart, [&](int64_t from, int64_t to) {
      k_.silu_mul(wide + from * 2 * width, static_cast<int>(to - from), static_cast<int>(width), narrow + from * width);
    });
    Multiply(l.fc2, narrow, width, n, x, h, true, s);
  }
  k_.rms_norm(x, projector_norm_.data(), 1e-6f, n, h, normed);
  // Patches of a cell lie together: a cell is one row.
  const int cells = n / (c.merge * c.merge), merged = h * c.merge * c.merge, out = config_.text.hidden;
  float* middle = Room(&s->qkv, static_cast<int64_t>(cells) * merged);
  Multiply(linear1_, normed, merged, cells, middle, merged, false, s);
  k_.gelu(middle, static_cast<int64_t>(cells) * merged);
  Multiply(linear2_, middle, merged, cells, features, out, false, s);
}

}  // namespace swerve
