#include "policy/checkpoint.h"

#include <unistd.h>

#include <filesystem>

#include "absl/strings/match.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "base/files.h"

namespace swerve {
namespace {

namespace fs = std::filesystem;

constexpr absl::string_view kText = "language_model.model.";

// Original repository's names of the vision tower, longest first.
const std::pair<const char*, const char*> kOriginal[] = {
    {"vision_model.embeddings.class_embedding", "vision_tower.embeddings.cls_token"},
    {"vision_model.embeddings.position_embedding", "vision_tower.embeddings.position_embeddings"},
    {"vision_model.embeddings.patch_embedding.", "vision_tower.embeddings.patch_embeddings.projection."},
    {"vision_model.encoder.layers.", "vision_tower.encoder.layer."},
    {"mlp1.0.", "multi_modal_projector.layer_norm."},
    {"mlp1.1.", "multi_modal_projector.linear_1."},
    {"mlp1.3.", "multi_modal_projector.linear_2."},
};

std::string Canonical(absl::string_view name, bool text_only) {
  if (text_only) return name == "lm_head.weight" ? "language_model.lm_head.weight" : absl::StrCat("language_model.", name);
  if (name == "lm_head.weight") return "language_model.lm_head.weight";
  if (absl::ConsumePrefix(&name, "model.language_model.")) return absl::StrCat(kText, name);
  if (absl::StartsWith(name, "model.vision_tower.") || absl::StartsWith(name, "model.multi_modal_projector.")) name.remove_prefix(6);
  for (const auto& [from, to] : kOriginal) {
    absl::string_view rest = name;
    if (!absl::ConsumePrefix(&rest, from)) continue;
    std::string out = absl::StrCat(to, rest);
    return absl::StrReplaceAll(out, {{".attn.proj.", ".attention.projection_layer."}, {".attn.qkv.", ".attention.qkv."},
                                     {".norm1.", ".layernorm_before."}, {".norm2.", ".layernorm_after."},
                                     {".ls1", ".lambda_1"}, {".ls2", ".lambda_2"}});
  }
  return std::string(name);
}

// A fused qkv of the original layout becomes three tensors.
void SplitFused(TensorMap* tensors) {
  for (auto it = tensors->begin(); it != tensors->end();) {
    const size_t at = it->first.find(".attention.qkv.");
    if (at == std::string::npos || it->second.shape.empty() || it->second.shape[0] % 3 != 0) {
      ++it;
      continue;
    }
    const size_t part = it->second.data.size() / 3;
    std::vector<int64_t> shape = it->second.shape;
    shape[0] /= 3;
    for (int i = 0; i < 3; ++i) {
      std::string name = it->first;
      name.replace(at, 15, absl::StrCat(".attention.", std::string(1, "qkv"[i]), "_proj."));
      auto begin = it->second.data.begin() + i * part;
      (*tensors)[name] = {shape, std::vector<float>(begin, begin + part)};
    }
    it = tensors->erase(it);
  }
}

}  // namespace

std::vector<std::pair<std::string, std::vector<int64_t>>> ExpectedTensors(const ModelConfig& c) {
  std::vector<std::pair<std::string, std::vector<int64_t>>> out;
  auto add = [&](std::string name, std::vector<int64_t> shape) { out.emplace_back(std::move(name), std::move(shape)); };
  auto linear = [&](const std::string& name, int64_t n, int64_t k, bool bias) {
    add(name + ".weight", {n, k});
    if (bias) add(name + ".bias", {n});
  };
  const TextConfig& t = c.text;
  const std::string text(kText);
  add(text + "embed_tokens.weight", {t.vocab, t.hidden});
  for (int i = 0; i < t.layers; ++i) {
    const std::string p = absl::StrCat(text, "layers.", i, ".");
    add(p + "input_layernorm.weight", {t.hidden});
    add(p + "post_attention_layernorm.weight", {t.hidden});
    linear(p + "self_attn.q_proj", t.heads * t.head_dim, t.hidden, true);
    linear(p + "self_attn.k_proj", t.kv_heads * t.head_dim, t.hidden, true);
    linear(p + "self_attn.v_proj", t.kv_heads * t.head_dim, t.hidden, true);
    linear(p + "self_attn.o_proj", t.hidden, t.heads * t.head_dim, false);
    linear(p + "mlp.gate_proj", t.mlp, t.hidden, false);
    linear(p + "mlp.up_proj", t.mlp, t.hidden, false);
    linear(p + "mlp.down_proj", t.hidden, t.mlp, false);
  }
  add(text + "norm.weight", {t.hidden});
  if (!t.tied) add("language_model.lm_head.weight", {t.vocab, t.hidden});
  if (!c.has_vision) return out;
  const VisionConfig& v = c.vision;
  const int64_t grid = v.image / v.patch, h = v.hidden;
  add("vision_tower.embeddings.cls_token", {1, 1, h});
  add("vision_tower.embeddings.position_embeddings", {1, grid * grid + 1, h});
  add("vision_tower.embeddings.patch_embeddings.projection.weight", {h, 3, v.patch, v.patch});
  add("vision_tower.embeddings.patch_embeddings.projection.bias", {h});
  for (int i = 0; i < v.layers; ++i) {
    const std::string p = absl::StrCat("vision_tower.encoder.layer.", i, ".");
    for (const char* x : {"q", "k", "v"}) linear(absl::StrCat(p, "attention.", x, "_proj"), h, h, v.qkv_bias);
    linear(p + "attention.projection_layer", h, h, true);
    for (const char* x : {"lambda_1", "lambda_2"}) add(p + x, {h});
    for (const char* x : {"layernorm_before", "layernorm_after"}) {
      add(p + x + ".weight", {h});
      add(p + x + ".bias", {h});
    }
    linear(p + "mlp.fc1", v.mlp, h, true);
    linear(p + "mlp.fc2", h, v.mlp, true);
  }
  add("multi_modal_projector.layer_norm.weight", {4 * h});
  add("multi_modal_projector.layer_norm.bias", {4 * h});
  linear("multi_modal_projector.linear_1", t.hidden, 4 * h, true);
  linear("multi_modal_projector.linear_2", t.hidden, t.hidden, true);
  return out;
}

absl::StatusOr<TensorMap> LoadTensors(const std::string& dir, const ModelConfig& config) {
  SWERVE_ASSIGN_OR_RETURN(Weights weights, OpenWeights(dir));
  TensorMap all;
  for (const auto& [name, view] : weights.tensors) {
    all[Canonical(name, !config.has_vision)] = {view.shape, view.ToFloat()};
  }
  SplitFused(&all);
  TensorMap out;
  for (const auto& [name, shape] : ExpectedTensors(config)) {
    auto it = all.find(name);
    if (it == all.end()) return absl::InvalidArgumentError(absl::StrCat(dir, ": tensor '", name, "' is missing"));
    int64_t want = 1, have = static_cast<int64_t>(it->second.data.size());
    for (int64_t d : shape) want *= d;
    // The class token is stored with or without its leading ones; anything else must match.
    if (want != have || (it->second.shape != shape && shape.size() < 3)) {
      return absl::InvalidArgumentError(absl::StrCat(dir, ": tensor '", name, "' has ", have, " elements where config.json asks for ", want));
    }
    out[name] = {shape, std::move(it->second.data)};
  }
  return out;
}

absl::Status SaveCheckpoint(const std::string& dir, const std::string& template_dir, const ModelConfig& config,
                            absl::Span<const NamedFloats> tensors) {
  const std::string temporary = absl::StrCat(dir, ".tmp.", getpid());
  std::error_code e;
  fs::remove_all(temporary, e);
  SWERVE_RETURN_IF_ERROR(MakeDirectories(temporary));
  for (const char* name : {"config.json", "generation_config.json", "preprocessor_config.json", "processor_config.json",
                           "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
                           "chat_template.jinja", "chat_template.json", "vocab.json", "merges.txt"}) {
    auto text = ReadFile(template_dir + "/" + name);
    if (absl::IsNotFound(text.status())) continue;
    SWERVE_RETURN_IF_ERROR(text.status());
    SWERVE_RETURN_IF_ERROR(WriteFileAtomically(temporary + "/" + name, *text));
  }
  std::vector<NamedFloats> named(tensors.begin(), tensors.end());
  for (NamedFloats& t : named) {
    if (config.model_type == "qwen2") t.name = t.name.substr(std::string("language_model.").size());
  }
  SWERVE_RETURN_IF_ERROR(WriteSafetensors(temporary + "/model.safetensors", named));
  fs::remove_all(dir, e);
  fs::create_directories(fs::path(dir).parent_path(), e);
  fs::rename(temporary, dir, e);
  if (e) return absl::InternalError(absl::StrCat("rename ", temporary, " to ", dir, ": ", e.message()));
  return absl::OkStatus();
}

}  // namespace swerve
