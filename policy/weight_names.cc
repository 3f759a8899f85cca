#include "policy/weight_names.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"

namespace swerve {
namespace {

// Original repository's names of the vision tower and projector.
const std::pair<const char*, const char*> kOriginal[] = {
    {"vision_model.embeddings.class_embedding", "vision_tower.embeddings.cls_token"},
    {"vision_model.embeddings.position_embedding", "vision_tower.embeddings.position_embeddings"},
    {"vision_model.embeddings.patch_embedding.", "vision_tower.embeddings.patch_embeddings.projection."},
    {"vision_model.encoder.layers.", "vision_tower.encoder.layer."},
    {"mlp1.0.", "multi_modal_projector.layer_norm."},
    {"mlp1.1.", "multi_modal_projector.linear_1."},
    {"mlp1.3.", "multi_modal_projector.linear_2."},
};

// Collects names and shapes.
struct List {
  std::vector<std::pair<std::string, std::vector<int64_t>>> out;
  void Add(std::string name, std::vector<int64_t> shape) { out.emplace_back(std::move(name), std::move(shape)); }
  void Linear(const std::string& name, int64_t n, int64_t k, bool bias) {
    Add(name + ".weight", {n, k});
    if (bias) Add(name + ".bias", {n});
  }
  void Norm(const std::string& name, int64_t n) {
    Add(name + ".weight", {n});
    Add(name + ".bias", {n});
  }
};

void AddText(const TextConfig& t, List* l) {
  const std::string text(kTextPrefix);
  l->Add(kEmbeddingName, {t.vocab, t.hidden});
  for (int i = 0; i < t.layers; ++i) {
    const std::string p = absl::StrCat(text, "layers.", i, ".");
    l->Add(p + "input_layernorm.weight", {t.hidden});
    l->Add(p + "post_attention_layernorm.weight", {t.hidden});
    l->Linear(p + "self_attn.q_proj", t.heads * t.head_dim, t.hidden, true);
    l->Linear(p + "self_attn.k_proj", t.kv_heads * t.head_dim, t.hidden, true);
    l->Linear(p + "self_attn.v_proj", t.kv_heads * t.head_dim, t.hidden, true);
    l->Linear(p + "self_attn.o_proj", t.hidden, t.heads * t.head_dim, false);
    l->Linear(p + "mlp.gate_proj", t.mlp, t.hidden, false);
    l->Linear(p + "mlp.up_proj", t.mlp, t.hidden, false);
    l->Linear(p + "mlp.down_proj", t.hidden, t.mlp, false);
  }
  l->Add(text + "norm.weight", {t.hidden});
  if (!t.tied) l->Add(kHeadName, {t.vocab, t.hidden});
}

void AddInternVit(const VisionConfig& v, int text_hidden, List* l) {
  const int64_t grid = v.image / v.patch, h = v.hidden, shuffled = h * v.merge * v.merge;
  l->Add("vision_tower.embeddings.cls_token", {1, 1, h});
  if (v.positions) l->Add("vision_tower.embeddings.position_embeddings", {1, grid * grid + 1, h});
  l->Add("vision_tower.embeddings.patch_embeddings.projection.weight", {h, 3, v.patch, v.patch});
  l->Add("vision_tower.embeddings.patch_embeddings.projection.bias", {h});
  for (int i = 0; i < v.layers; ++i) {
    const std::string p = absl::StrCat("vision_tower.encoder.layer.", i, ".");
    for (const char* x : {"q", "k", "v"}) l->Linear(absl::StrCat(p, "attention.", x, "_proj"), h, h, v.qkv_bias);
    l->Linear(p + "attention.projection_layer", h, h, true);
    for (const char* x : {"lambda_1", "lambda_2"}) l->Add(p + x, {h});
    for (const char* x : {"layernorm_before", "layernorm_after"}) l->Norm(p + x, h);
    l->Linear(p + "mlp.fc1", v.mlp, h, true);
    l->Linear(p + "mlp.fc2", h, v.mlp, true);
  }
  if (v.final_norm) l->Norm("vision_tower.layernorm", h);
  l->Norm("multi_modal_projector.layer_norm", shuffled);
  l->Linear("multi_modal_projector.linear_1", text_hidden, shuffled, true);
  l->Linear("multi_modal_projector.linear_2", text_hidden, text_hidden, true);
}

void AddQwenVision(const VisionConfig& v, int text_hidden, List* l) {
  const int64_t h = v.hidden, merged = h * v.merge * v.merge;
  l->Add("visual.patch_embed.proj.weight", {h, 3, v.temporal_patch, v.patch, v.patch});
  for (int i = 0; i < v.layers; ++i) {
    const std::string p = absl::StrCat("visual.blocks.", i, ".");
    for (const char* x : {"norm1", "norm2"}) l->Add(absl::StrCat(p, x, ".weight"), {h});
    l->Linear(p + "attn.qkv", 3 * h, h, true);
    l->Linear(p + "attn.proj", h, h, true);
    l->Linear(p + "mlp.gate_proj", v.mlp, h, true);
    l->Linear(p + "mlp.up_proj", v.mlp, h, true);
    l->Linear(p + "mlp.down_proj", h, v.mlp, true);
  }
  l->Add("visual.merger.ln_q.weight", {h});
  l->Linear("visual.merger.mlp.0", merged, merged, true);
  l->Linear("visual.merger.mlp.2", text_hidden, merged, true);
}

}  // namespace

std::vector<std::pair<std::string, std::vector<int64_t>>> ExpectedTensors(const ModelConfig& c) {
  List list;
  AddText(c.text, &list);
  if (c.has_vision && c.vision.kind == VisionConfig::Kind::kInternVit) AddInternVit(c.vision, c.text.hidden, &list);
  if (c.has_vision && c.vision.kind == VisionConfig::Kind::kQwen) AddQwenVision(c.vision, c.text.hidden, &list);
  return std::move(list.out);
}

std::string CanonicalName(absl::string_view name, const ModelConfig& config) {
  if (name == "lm_head.weight") return kHeadName;
  if (!config.has_vision) return absl::StrCat("language_model.", name);
  if (absl::ConsumePrefix(&name, "model.language_model.")) return absl::StrCat(kTextPrefix, name);
  if (config.vision.kind == VisionConfig::Kind::kQwen) {
    if (absl::StartsWith(name, "model.visual.")) return std::string(name.substr(6));
    if (absl::ConsumePrefix(&name, "model.")) return absl::StrCat(kTextPrefix, name);
    return std::string(name);
  }
  if (absl::StartsWith(name, "model.vision_tower.") || absl::StartsWith(name, "model.multi_modal_projector.")) name.remove_prefix(6);
  for (const auto& [from, to] : kOriginal) {
    absl::string_view rest = name;
    if (!absl::ConsumePrefix(&rest, from)) continue;
    return absl::StrReplaceAll(absl::StrCat(to, rest), {{".attn.proj.", ".attention.projection_layer."}, {".attn.qkv.", ".attention.qkv."},
                                                        {".norm1.", ".layernorm_before."}, {".norm2.", ".layernorm_after."},
                                                        {".ls1", ".lambda_1"}, {".ls2", ".lambda_2"}});
  }
  return std::string(name);
}

std::vector<std::string> FusedParts(absl::string_view canonical) {
  const size_t at = canonical.find(".attention.qkv.");
  if (at == absl::string_view::npos) return {};
  std::vector<std::string> parts;
  for (const char* x : {"q", "k", "v"}) parts.push_back(absl::StrCat(canonical.substr(0, at), ".attention.", x, "_proj.", canonical.substr(at + 15)));
  return parts;
}

std::string StoredName(absl::string_view canonical, const ModelConfig& config) {
  if (config.model_type == "qwen2") return std::string(absl::StripPrefix(canonical, "language_model."));
  if (config.model_type == "qwen2_5_vl") return std::string(absl::StripPrefix(canonical, "language_model."));
  return std::string(canonical);
}

std::string ModulePath(absl::string_view canonical, const ModelConfig& config) {
  if (!config.has_vision) return std::string(absl::StripPrefix(canonical, "language_model."));
  if (absl::ConsumePrefix(&canonical, kTextPrefix)) return absl::StrCat("model.language_model.", canonical);
  return absl::StrCat("model.", canonical);
}

}  // namespace swerve
