#include <torch/torch.h>

#include "policy/torch_vision.h"

#include <map>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "policy/qwen_grid.h"
#include "policy/torch_fused.h"

namespace swerve {
namespace {

using torch::Tensor;
using Images = std::vector<std::shared_ptr<const ProcessedImage>>;

// Values of all pictures, [rows, width].
Tensor Stack(const Images& images, int64_t width, const Tensor& like) {
  std::vector<Tensor> parts;
  for (const auto& image : images) {
    parts.push_back(torch::from_blob(const_cast<float*>(image->values.data()), {static_cast<int64_t>(image->values.size()) / width, width}, torch::kFloat32));
  }
  return torch::cat(parts).to(like.device(), like.scalar_type());
}

// Position embeddings for grid × grid patches; bicubic where they were made for another grid.
Tensor Positions(const TorchWeights& w, const VisionConfig& c, int64_t grid) {
  const Tensor& all = w.at("vision_tower.embeddings.position_embeddings");
  const int64_t own = c.image / c.patch;
  if (own == grid) return all;
  Tensor patches = all.narrow(1, 1, own * own).reshape({1, own, own, c.hidden}).permute({0, 3, 1, 2});
  patches = torch::upsample_bicubic2d(patches, {grid, grid}, false).permute({0, 2, 3, 1}).reshape({1, grid * grid, c.hidden});
  return torch::cat({all.narrow(1, 0, 1), patches}, 1);
}

Tensor InternVit(const TorchWeights& w, const ModelConfig& config, const Images& images) {
  const VisionConfig& c = config.vision;
  const std::string e = "vision_tower.embeddings.";
  const Tensor& projection = w.at(e + "patch_embeddings.projection.weight");
  const int64_t side = config.processor.tile, grid = side / c.patch, h = c.hidden, tokens = grid * grid + 1, m = c.merge;
  const Tensor pixels = Stack(images, 3 * side * side, projection).view({-1, 3, side, side});
  const int64_t batch = pixels.size(0);
  Tensor x = torch::conv2d(pixels, projection, w.at(e + "patch_embeddings.projection.bias"), c.patch);
  x = torch::cat({w.at(e + "cls_token").expand({batch, 1, h}), x.flatten(2).transpose(1, 2)}, 1);
  if (c.positions) x = x + Positions(w, c, grid);
  auto norm = [&](const Tensor& v, const std::string& name, int64_t width, double eps) {
    return torch::layer_norm(v, {width}, w.at(name + ".weight"), w.at(name + ".bias"), eps);
  };
  for (int i = 0; i < c.layers; ++i) {
    const std::string p = absl::StrCat("vision_tower.encoder.layer.", i, ".");
    auto heads = [&](const Tensor& v) { return v.view({batch, tokens, c.heads, h / c.heads}).transpose(1, 2); };
    Tensor n = norm(x, p + "layernorm_before", h, c.eps);
    Tensor a = torch::scaled_dot_product_attention(heads(w.Linear(n, p + "attention.q_proj")), heads(w.Linear(n, p + "attention.k_proj")),
                                                   heads(w.Linear(n, p + "attention.v_proj")));
    a = w.Linear(a.transpose(1, 2).reshape({batch, tokens, h}), p + "attention.projection_layer");
    x = x + w.at(p + "lambda_1") * a;
    x = x + w.at(p + "lambda_2") * w.Linear(torch::gelu(w.Linear(norm(x, p + "layernorm_after", h, c.eps), p + "mlp.fc1")), p + "mlp.fc2");
  }
  if (c.final_norm) x = norm(x, "vision_tower.layernorm", h, c.eps);
  const int64_t s = grid / m, width = m * m * h;
  x = x.narrow(1, 1, grid * grid).reshape({batch, s, m, s, m, h}).permute({0, 1, 3, 2, 4, 5}).reshape({batch, s * s, width});
  x = norm(x, "multi_modal_projector.layer_norm", width, 1e-5);
  x = w.Linear(torch::gelu(w.Linear(x, "multi_modal_projector.linear_1")), "multi_modal_projector.linear_2");
  return x.reshape({-1, config.text.hidden});
}

// Lists of patches that attend to each other; lists of one length run together.
struct Neighbours {
  struct Same {
    Tensor index;  // [lists · length]
    int64_t length;
  };
  std::vector<Same> sets;
  Tensor back;  // where each patch's result lies in the sets' concatenation
};

Neighbours Arrange(const std::vector<std::vector<int>>& lists, torch::Device device) {
  std::map<size_t, std::vector<int64_t>> by_length;
  for (const auto& list : lists) by_length[list.size()].insert(by_length[list.size()].end(), list.begin(), list.end());
  Neighbours out;
  std::vector<int64_t> order;
  for (auto& [length, index] : by_length) {
    out.sets.push_back({torch::tensor(index, torch::kInt64).to(device), static_cast<int64_t>(length)});
    order.insert(order.end(), index.begin(), index.end());
  }
  std::vector<int64_t> back(order.size());
  for (size_t i = 0; i < order.size(); ++i) back[order[i]] = static_cast<int64_t>(i);
  out.back = torch::tensor(back, torch::kInt64).to(device);
  return out;
}

Tensor QwenAttention(const Tensor& q, const Tensor& k, const Tensor& v, const Neighbours& neighbours) {
  const int64_t heads = q.size(1), d = q.size(2);
  std::vector<Tensor> parts;
  for (const auto& set : neighbours.sets) {
    auto cut = [&](const Tensor& t) { return t.index_select(0, set.index).view({-1, set.length, heads, d}).transpose(1, 2); };
    parts.push_back(torch::scaled_dot_product_attention(cut(q), cut(k), cut(v)).transpose(1, 2).reshape({-1, heads * d}));
  }
  return torch::cat(parts).index_select(0, neighbours.back);
}

// Angles of patches by row and column, [N, 1, d].
Tensor QwenAngles(const VisionConfig& c, const std::vector<int>& row, const std::vector<int>& column) {
  const int64_t half = c.hidden / c.heads / 2;
  const Tensor frequency = torch::pow(c.rope_theta, torch::arange(0, half, 2, torch::kFloat64) / -half).to(torch::kFloat32);
  auto outer = [&](const std::vector<int>& at) { return torch::outer(torch::tensor(at, torch::kInt32).to(torch::kFloat32), frequency); };
  const Tensor angle = torch::cat({outer(row), outer(column)}, -1);
  return torch::cat({angle, angle}, -1).unsqueeze(1);
}

Tensor QwenVision(const TorchWeights& w, const ModelConfig& config, const Images& images) {
  const VisionConfig& c = config.vision;
  std::vector<int> row, column;
  std::vector<std::vector<int>> windows, frames;
  for (const auto& image : images) {
    const QwenGrid grid = GridOf(c, *image);
    const int first = static_cast<int>(row.size());
    row.insert(row.end(), grid.row.begin(), grid.row.end());
    column.insert(column.end(), grid.column.begin(), grid.column.end());
    for (auto [from, to] : {std::pair{&grid.windows, &windows}, {&grid.frames, &frames}}) {
      for (std::vector<int> list : *from) {
        for (int& i : list) i += first;
        to->push_back(std::move(list));
      }
    }
  }
  const Tensor& projection = w.at("visual.patch_embed.proj.weight");
  const int64_t heads = c.heads, h = c.hidden, d = h / heads, in = 3 * c.temporal_patch * c.patch * c.patch;
  Tensor x = torch::linear(Stack(images, in, projection), projection.reshape({h, in}));
  const Tensor angle = QwenAngles(c, row, column).to(x.device()), cos = angle.cos(), sin = angle.sin();
  const Neighbours near = Arrange(windows, x.device()), all = Arrange(frames, x.device());
  for (int i = 0; i < c.layers; ++i) {
    const std::string p = absl::StrCat("visual.blocks.", i, ".");
    const Tensor qkv = w.Linear(RmsNorm(x, w.at(p + "norm1.weight"), 1e-6, x.scalar_type()), p + "attn.qkv").view({-1, 3, heads, d});
    auto rotated = [&](int part) { return Rotate(qkv.select(1, part).to(torch::kFloat32), cos, sin).to(x.scalar_type()); };
    x = x + w.Linear(QwenAttention(rotated(0), rotated(1), qkv.select(1, 2), IsFullBlock(c, i) ? all : near), p + "attn.proj");
    const Tensor n = RmsNorm(x, w.at(p + "norm2.weight"), 1e-6, x.scalar_type());
    x = x + w.Linear(torch::silu(w.Linear(n, p + "mlp.gate_proj")) * w.Linear(n, p + "mlp.up_proj"), p + "mlp.down_proj");
  }
  x = RmsNorm(x, w.at("visual.merger.ln_q.weight"), 1e-6, x.scalar_type()).reshape({-1, h * c.merge * c.merge});
  return w.Linear(torch::gelu(w.Linear(x, "visual.merger.mlp.0")), "visual.merger.mlp.2");
}

// The tower's tensors as they are computed with: it has no fused operations that would take them as they are.
TorchWeights Cast(const TorchWeights& w) {
  TorchWeights out = w;
  for (auto& [name, tensor] : out.tensors) {
    if (!absl::StartsWith(name, "language_model.")) tensor = tensor.to(w.compute);
  }
  return out;
}

}  // namespace

Tensor VisionFeatures(const TorchWeights& weights, const ModelConfig& config, const Images& images) {
  const TorchWeights w = Cast(weights);
  return config.vision.kind == VisionConfig::Kind::kInternVit ? InternVit(w, config, images) : QwenVision(w, config, images);
}

}  // namespace swerve
