// FusedModel::Create: from a mapped checkpoint to packed matrices, one tensor converted at a time.
#include <algorithm>
#include <cmath>
#include <optional>

#include "base/status.h"
#include "policy/fused_model.h"

namespace swerve {

using kernels::Padded;

class FusedModel::Loader {
 public:
  Loader(const MappedTensors& tensors, FusedModel* m) : tensors_(tensors), m_(*m) {}

  void Text() {
    const TextConfig& t = m_.config_.text;
    const bool tied = tensors_.tensors.count(kHeadName) == 0;
    if (!tied) m_.embed_ = Stack({{kEmbeddingName}});
    m_.norm_ = Get("language_model.model.norm.weight");
    m_.head_ = Stack({{tied ? kEmbeddingName : kHeadName}});
    for (int i = 0; i < t.layers; ++i) {
      const std::string p = absl::StrCat(kTextPrefix, "layers.", i, "."), a = p + "self_attn.";
      Layer& l = m_.layers_.emplace_back();
      l.norm1 = Get(p + "input_layernorm.weight");
      l.norm2 = Get(p + "post_attention_layernorm.weight");
      l.qkv = Stack({Linear(a + "q_proj"), Linear(a + "k_proj"), Linear(a + "v_proj")});
      l.o = Stack({Linear(a + "o_proj")});
      l.gate_up = Stack({Linear(p + "mlp.gate_proj"), Linear(p + "mlp.up_proj")});
      l.down = Stack({Linear(p + "mlp.down_proj")});
      for (const Matrix* m : {&l.qkv, &l.o, &l.gate_up, &l.down}) m_.step_weights_ += static_cast<int64_t>(m->n) * m->k;
    }
    m_.step_weights_ += static_cast<int64_t>(m_.head_.n) * m_.head_.k;
    const int half = t.head_dim / 2;
    m_.cos_.resize(static_cast<size_t>(t.max_positions) * half);
    m_.sin_.resize(m_.cos_.size());
    for (int i = 0; i < half; ++i) {
      const float frequency = static_cast<float>(std::pow(t.rope_theta, -2.0 * i / t.head_dim));
      for (int p = 0; p < t.max_positions; ++p) {
        const float angle = static_cast<float>(p) * frequency;
        m_.cos_[static_cast<size_t>(p) * half + i] = std::cos(angle);
        m_.sin_[static_cast<size_t>(p) * half + i] = std::sin(angle);
      }
    }
    for (size_t i = 0; i < t.mrope.size(); ++i) m_.axis_.insert(m_.axis_.end(), t.mrope[i], static_cast<int>(i % 3));
  }

  void InternVit() {
    const VisionConfig& v = m_.config_.vision;
    const std::string e = "vision_tower.embeddings.";
    m_.patch_ = Stack({Linear(e + "patch_embeddings.projection")});
    const int grid = v.image / v.patch;
    m_.position_ = v.positions ? Get(e + "position_embeddings") : std::vector<float>((grid * grid + 1) * static_cast<size_t>(v.hidden));
    const std::vector<float> token = Get(e + "cls_token");
    for (int j = 0; j < v.hidden; ++j) m_.position_[j] += token[j];
    for (int i = 0; i < v.layers; ++i) {
      const std::string p = absl::StrCat("vision_tower.encoder.layer.", i, "."), a = p + "attention.";
      VisionLayer& l = m_.vision_.emplace_back();
      l.norm1 = Get(p + "layernorm_before.weight"), l.bias1 = Get(p + "layernorm_before.bias");
      l.norm2 = Get(p + "layernorm_after.weight"), l.bias2 = Get(p + "layernorm_after.bias");
      l.qkv = Stack({Linear(a + "q_proj"), Linear(a + "k_proj"), Linear(a + "v_proj")});
      l.proj = Stack({Linear(a + "projection_layer", p + "lambda_1")});
      l.fc1 = Stack({Linear(p + "mlp.fc1")});
      l.fc2 = Stack({Linear(p + "mlp.fc2", p + "lambda_2")});
    }
    if (v.final_norm) m_.final_norm_ = Get("vision_tower.layernorm.weight"), m_.final_bias_ = Get("vision_tower.layernorm.bias");
    const std::string j = "multi_modal_projector.";
    m_.projector_norm_ = Get(j + "layer_norm.weight"), m_.projector_bias_ = Get(j + "layer_norm.bias");
    m_.linear1_ = Stack({Linear(j + "linear_1")});
    m_.linear2_ = Stack({Linear(j + "linear_2")});
  }

  void QwenVision() {
    m_.patch_ = Stack({Linear("visual.patch_embed.proj")});
    for (int i = 0; i < m_.config_.vision.layers; ++i) {
      const std::string p = absl::StrCat("visual.blocks.", i, ".");
      VisionLayer& l = m_.vision_.emplace_back();
      l.norm1 = Get(p + "norm1.weight"), l.norm2 = Get(p + "norm2.weight");
      l.qkv = Stack({Linear(p + "attn.qkv")});
      l.proj = Stack({Linear(p + "attn.proj")});
      l.fc1 = Stack({Linear(p + "mlp.gate_proj"), Linear(p + "mlp.up_proj")});
      l.fc2 = Stack({Linear(p + "mlp.down_proj")});
    }
    m_.projector_norm_ = Get("visual.merger.ln_q.weight");
    m_.linear1_ = Stack({Linear("visual.merger.mlp.0")});
    m_.linear2_ = Stack({Linear("visual.merger.mlp.2")});
  }

 private:
  struct Part {
    std::string weight, bias = {}, scale = {};  // names; empty: none. The scale is per output row
  };
  std::vector<float> Get(const std::string& name) const { return tensors_.tensors.at(name).ToFloat(); }
  Part Linear(const std::string& module, const std::string& scale = "") const {
    const std::string bias = module + ".bias";
    return {module + ".weight", tensors_.tensors.count(bias) ? bias : "", scale};
  }
  Matrix Stack(const std::vector<Part>& parts) const {
    Matrix out;
    bool any_bias = false;
    for (const Part& p : parts) any_bias |= !p.bias.empty();
    for (const Part& p : parts) {
      const int n = static_cast<int>(tensors_.tensors.at(p.weight).shape[0]), padded = static_cast<int>(Padded(n));
      std::vector<float> w = Get(p.weight), b(padded, 0.0f);
      out.k = static_cast<int>(w.size() / n);
      if (!p.bias.empty()) {
        const std::vector<float> bias = Get(p.bias);
        std::copy(bias.begin(), bias.end(), b.begin());
      }
      if (!p.scale.empty()) {
        const std::vector<float> scale = Get(p.scale);
        for (int i = 0; i < n; ++i) {
          for (int j = 0; j < out.k; ++j) w[static_cast<size_t>(i) * out.k + j] *= scale[i];
          b[i] *= scale[i];
        }
      }
      const size_t at = static_cast<size_t>(out.n) * out.k, size = at + static_cast<size_t>(padded) * out.k;
      if (m_.precision_ == Precision::kBfloat16) {
        out.half.resize(size);
        kernels::PackBf16(w.data(), n, out.k, out.half.data() + at);
      } else {
        out.packed.resize(size);
        kernels::Pack(w.data(), n, out.k, out.packed.data() + at);
      }
      if (any_bias) out.bias.insert(out.bias.end(), b.begin(), b.end());
      out.n += padded;
    }
    return out;
  }

  const MappedTensors& tensors_;
  FusedModel& m_;
};

absl::StatusOr<FusedModel::Precision> FusedModel::ParsePrecision(const std::string& dtype) {
  if (dtype == "float32") return Precision::kFloat32;
  if (dtype == "bfloat16") return Precision::kBfloat16;
  return absl::InvalidArgumentError(absl::StrCat("dtype '", dtype, "' is not supported (float32, bfloat16)"));
}

absl::Status FusedModel::Check(const ModelConfig& config, Precision precision) {
  const TextConfig& t = config.text;
  const VisionConfig& v = config.vision;
  auto bad = [](auto... what) { return absl::UnimplementedError(absl::StrCat("the generation engine's kernels need ", what...)); };
  if (t.head_dim % 8 != 0) return bad("a head_dim that is a multiple of 8, not ", t.head_dim);
  if (t.hidden % kernels::kLanes != 0) return bad("a hidden_size that is a multiple of 16, not ", t.hidden);
  const bool even = t.mlp % 2 == 0 && (!config.has_vision || (v.mlp % 2 == 0 && v.patch % 2 == 0));
  if (precision == Precision::kBfloat16 && !even) return bad("even intermediate and patch sizes for bfloat16");
  if (!config.has_vision) return absl::OkStatus();
  if (v.hidden % kernels::kLanes != 0 || v.hidden / v.heads % 8 != 0) {
    return bad("a vision hidden_size that is a multiple of 16 and heads of a multiple of 8");
  }
  if (v.kind == VisionConfig::Kind::kInternVit && config.processor.tile / v.patch != v.image / v.patch) {
    return bad("tiles of the size that the position embeddings are for, ", v.image, ", not ", config.processor.tile);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<const FusedModel>> FusedModel::Create(const ModelConfig& config, const MappedTensors& tensors,
                                                                     Precision precision, const kernels::Table& kernels) {
  SWERVE_RETURN_IF_ERROR(Check(config, precision));
  std::shared_ptr<FusedModel> m(new FusedModel(kernels, precision));
  m->config_ = config;
  m->config_.text.max_positions = std::min(config.text.max_positions, kMaxPositions);
  Loader loader(tensors, m.get());
  loader.Text();
  if (config.has_vision && config.vision.kind == VisionConfig::Kind::kInternVit) loader.InternVit();
  if (config.has_vision && config.vision.kind == VisionConfig::Kind::kQwen) loader.QwenVision();
  return m;
}

}  // namespace swerve
