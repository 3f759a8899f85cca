#include "policy/model_config.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/files.h"
#include "policy/config_reader.h"

namespace swerve {
namespace {

using Json = nlohmann::json;

absl::StatusOr<Json> ReadJson(const std::string& path) {
  SWERVE_ASSIGN_OR_RETURN(std::string text, ReadFile(path));
  Json json = Json::parse(text, nullptr, false);
  if (json.is_discarded() || !json.is_object()) return absl::InvalidArgumentError(absl::StrCat(path, ": not a JSON object"));
  return json;
}

// Rotary positions: in rope_parameters (new) or rope_scaling with rope_theta beside it (old); the latter counts first.
absl::Status ReadRope(const Json& json, const std::string& where, bool mrope, TextConfig* c) {
  ConfigReader above(json, where);
  c->rope_theta = above.Number("rope_theta", mrope ? 1e6 : 1e4);
  SWERVE_RETURN_IF_ERROR(above.status);
  if (mrope) c->mrope = {16, 24, 24};
  const char* key = above.Has("rope_scaling") ? "rope_scaling" : "rope_parameters";
  if (above.Has(key)) {
    ConfigReader r(json[key], absl::StrCat(where, ": ", key));
    if (!json[key].is_object()) return above.Fail(key, "is not an object"), above.status;
    c->rope_theta = r.Number("rope_theta", c->rope_theta);
    const char* type_key = r.Has("rope_type") ? "rope_type" : "type";
    const Json type = r.Has(type_key) ? json[key][type_key] : Json("default");
    // Dynamic NTK changes nothing up to max_position_embeddings, and longer sequences are refused.
    if (type != "default" && type != "dynamic" && !(mrope && type == "mrope")) {
      r.Fail(type_key, absl::StrCat("= ", ConfigReader::Shown(type), " is not supported (default, dynamic", mrope ? ", mrope)" : ")"));
    }
    r.Only("partial_rotary_factor", 1.0);
    if (mrope) c->mrope = r.Ints("mrope_section", 0, 1 << 16, c->mrope);
    SWERVE_RETURN_IF_ERROR(r.status);
  }
  if (!(c->rope_theta > 1)) above.Fail("rope_theta", "is not above 1");
  if (mrope && std::accumulate(c->mrope.begin(), c->mrope.end(), int64_t{0}) != c->head_dim / 2) {
    above.Fail("mrope_section", absl::StrCat("does not add up to ", c->head_dim / 2, ", half of a head"));
  }
  return above.status;
}

// Windows over the keys are in effect where a layer has one.
void RefuseSlidingWindow(const Json& json, int layers, ConfigReader* r) {
  if (r->Has("layer_types")) {
    if (!json["layer_types"].is_array()) return r->Fail("layer_types", "is not a list");
    for (const Json& type : json["layer_types"]) {
      if (type != "full_attention") return r->Fail("layer_types", absl::StrCat("holds ", ConfigReader::Shown(type), ", which is not supported (only full_attention)"));
    }
    return;
  }
  if (!r->Bool("use_sliding_window", false) || !(r->Has("sliding_window") || !json.contains("sliding_window"))) return;
  if (r->Int("max_window_layers", 0, 1 << 20, 28) < layers) r->Fail("use_sliding_window", "= true is not supported");
}

absl::Status ReadText(const Json& json, const std::string& where, bool mrope, TextConfig* c) {
  if (!json.is_object()) return absl::InvalidArgumentError(absl::StrCat(where, " is not an object"));
  ConfigReader r(json, where);
  c->vocab = r.Int("vocab_size", 2, 1 << 20);
  c->hidden = r.Int("hidden_size", 2, 1 << 16);
  c->layers = r.Int("num_hidden_layers", 1, 1024);
  c->heads = r.Int("num_attention_heads", 1, 1024);
  c->kv_heads = r.Int("num_key_value_heads", 1, 1024, c->heads);
  c->head_dim = r.Int("head_dim", 2, 1024, c->hidden / c->heads);
  c->mlp = r.Int("intermediate_size", 1, 1 << 18);
  c->max_positions = r.Int("max_position_embeddings", 1, 1 << 24, 32768);
  c->eps = static_cast<float>(r.Number("rms_norm_eps", mrope ? 1e-5 : 1e-6));
  r.Only("hidden_act", "silu");
  r.Only("quantization_config", nullptr);
  SWERVE_RETURN_IF_ERROR(r.status);
  RefuseSlidingWindow(json, c->layers, &r);
  if (c->heads % c->kv_heads != 0) r.Fail("num_key_value_heads", "does not divide num_attention_heads");
  if (c->head_dim < 2 || c->head_dim % 2 != 0) r.Fail("head_dim", absl::StrCat("= ", c->head_dim, " is not a positive even number"));
  if (mrope && c->head_dim * c->heads != c->hidden) r.Fail("head_dim", "times num_attention_heads is not hidden_size");
  if (c->eps < 0) r.Fail("rms_norm_eps", "is negative");
  SWERVE_RETURN_IF_ERROR(r.status);
  return ReadRope(json, where, mrope, c);
}

absl::Status ReadInternVit(const Json& json, const std::string& where, VisionConfig* c) {
  ConfigReader r(json, where);
  c->kind = VisionConfig::Kind::kInternVit;
  c->hidden = r.Int("hidden_size", 2, 1 << 14, 1024);
  c->layers = r.Int("num_hidden_layers", 1, 512, 24);
  c->heads = r.Int("num_attention_heads", 1, 512, 16);
  c->mlp = r.Int("intermediate_size", 1, 1 << 17, 4096);
  c->image = r.Side("image_size", 1 << 13, 448);
  c->patch = r.Side("patch_size", 1 << 10, 14);
  c->eps = static_cast<float>(r.Number("layer_norm_eps", 1e-6));
  c->qkv_bias = r.Bool("attention_bias", r.Bool("qkv_bias", false));
  c->positions = r.Bool("use_absolute_position_embeddings", true);
  c->final_norm = !r.Bool("use_mean_pooling", true);
  for (const char* key : {"use_qk_norm", "qk_normalization"}) r.Only(key, false);
  r.Only("norm_type", "layer_norm");
  r.Only("hidden_act", "gelu");
  r.Only("num_channels", 3);
  SWERVE_RETURN_IF_ERROR(r.status);
  if (c->hidden % c->heads != 0) r.Fail("num_attention_heads", "does not divide hidden_size");
  if (c->image < c->patch) r.Fail("image_size", "is smaller than a patch");
  return r.status;
}

absl::Status ReadQwenVision(const Json& json, const std::string& where, int text_hidden, VisionConfig* c) {
  ConfigReader r(json, where);
  c->kind = VisionConfig::Kind::kQwen;
  c->hidden = r.Int("hidden_size", 4, 1 << 14, 3584);
  c->layers = r.Int("depth", 1, 512, 32);
  c->heads = r.Int("num_heads", 1, 512, 16);
  c->mlp = r.Int("intermediate_size", 1, 1 << 17, 3420);
  c->patch = r.Side("patch_size", 1 << 10, 14);
  c->merge = r.Int("spatial_merge_size", 1, 64, 2);
  c->temporal_patch = r.Side("temporal_patch_size", 64, 2);
  c->window = r.Int("window_size", 1, 1 << 16, 112);
  c->full_blocks = r.Ints("fullatt_block_indexes", 0, 1 << 16, {7, 15, 23, 31});
  r.Only("hidden_act", "silu");
  for (const char* key : {"in_channels", "in_chans"}) r.Only(key, 3);
  if (r.Int("out_hidden_size", 1, 1 << 16, 3584) != text_hidden) r.Fail("out_hidden_size", absl::StrCat("is not the text's hidden_size, ", text_hidden));
  if (r.Has("rope_parameters")) {
    ConfigReader rope(json["rope_parameters"], where + ": rope_parameters");
    c->rope_theta = rope.Number("rope_theta", c->rope_theta);
    rope.Only("rope_type", "axial");
    SWERVE_RETURN_IF_ERROR(rope.status);
  }
  SWERVE_RETURN_IF_ERROR(r.status);
  if (c->hidden % c->heads != 0) return r.Fail("num_heads", "does not divide hidden_size"), r.status;
  if (c->hidden / c->heads % 4 != 0) r.Fail("hidden_size", "over num_heads is not a multiple of 4, which rotary positions by row and column need");
  r.Only("head_dim", c->hidden / c->heads);
  if (c->window / c->merge / c->patch < 1) r.Fail("window_size", "is smaller than one merged cell");
  return r.status;
}

absl::Status ReadInternVl(const Json& json, const std::string& path, ModelConfig* c) {
  ConfigReader top(json, path);
  const bool original = c->model_type == "internvl_chat";
  const char* text_key = original ? "llm_config" : "text_config";
  if (!top.Has(text_key) || !top.Has("vision_config")) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": ", text_key, " or vision_config is missing"));
  }
  ConfigReader text(json[text_key], absl::StrCat(path, ": ", text_key));
  text.Only("model_type", "qwen2");
  SWERVE_RETURN_IF_ERROR(text.status);
  SWERVE_RETURN_IF_ERROR(ReadText(json[text_key], absl::StrCat(path, ": ", text_key), false, &c->text));
  SWERVE_RETURN_IF_ERROR(ReadInternVit(json["vision_config"], path + ": vision_config", &c->vision));
  c->text.tied = top.Bool("tie_word_embeddings", !original) || text.Bool("tie_word_embeddings", false);
  const double ratio = top.Number("downsample_ratio", 0.5);
  c->vision.merge = ratio > 0.01 ? static_cast<int>(std::lround(1 / ratio)) : 0;
  if (c->vision.merge < 1 || 1.0 / c->vision.merge != ratio) top.Fail("downsample_ratio", "is not one over a whole number");
  for (const char* key : {"vision_feature_layer", "select_layer"}) top.Only(key, -1);
  top.Only("vision_feature_select_strategy", "default");
  top.Only("projector_hidden_act", "gelu");
  top.Only("ps_version", "v2");
  c->image_token_id = top.Int(original ? "img_context_token_id" : "image_token_id", 0, c->text.vocab - 1, 151667);
  return top.status;
}

absl::Status ReadQwenVl(const Json& json, const std::string& path, ModelConfig* c) {
  ConfigReader top(json, path);
  const bool nested = top.Has("text_config");
  const Json& text = nested ? json["text_config"] : json;
  SWERVE_RETURN_IF_ERROR(ReadText(text, nested ? path + ": text_config" : path, true, &c->text));
  const Json vision = top.Has("vision_config") ? json["vision_config"] : Json::object();
  SWERVE_RETURN_IF_ERROR(ReadQwenVision(vision, path + ": vision_config", c->text.hidden, &c->vision));
  c->text.tied = top.Bool("tie_word_embeddings", false) || ConfigReader(text, path).Bool("tie_word_embeddings", false);
  c->image_token_id = top.Int("image_token_id", 0, c->text.vocab - 1, 151655);
  return top.status;
}

void ReadEos(const Json& json, std::vector<int>* eos) {
  if (!json.is_object() || !json.contains("eos_token_id")) return;
  const Json& e = json["eos_token_id"];
  for (const Json& v : e.is_array() ? e : Json::array({e})) {
    if (v.is_number_integer() && eos->size() < 64) eos->push_back(static_cast<int>(v.get<int64_t>()));
  }
}

// Pictures must come cut as the vision tower takes them.
absl::Status CheckProcessor(const ModelConfig& c, const std::string& dir) {
  const ImageProcessorConfig& p = c.processor;
  const VisionConfig& v = c.vision;
  auto bad = [&](absl::string_view what) {
    return absl::InvalidArgumentError(absl::StrCat(dir, ": the preprocessor's ", what, " does not fit config.json: vision_config"));
  };
  if (v.kind == VisionConfig::Kind::kQwen) {
    if (p.patch != v.patch) return bad("patch_size");
    if (p.temporal_patch != v.temporal_patch) return bad("temporal_patch_size");
    if (p.merge != v.merge) return bad("merge_size");
  } else if (p.tile < v.patch || p.tile / v.patch % v.merge != 0) {
    return bad(absl::StrCat("tile of ", p.tile, " pixels"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ModelConfig> LoadModelConfig(const std::string& dir) {
  const std::string path = dir + "/config.json";
  SWERVE_ASSIGN_OR_RETURN(Json json, ReadJson(path));
  ModelConfig c;
  c.model_type = json.contains("model_type") && json["model_type"].is_string() ? json["model_type"].get<std::string>() : "";
  ConfigReader top(json, path);
  top.Only("quantization_config", nullptr);
  SWERVE_RETURN_IF_ERROR(top.status);
  c.has_vision = c.model_type != "qwen2";
  if (c.model_type == "qwen2") {
    SWERVE_RETURN_IF_ERROR(ReadText(json, path, false, &c.text));
    c.text.tied = top.Bool("tie_word_embeddings", false);
  } else if (c.model_type == "internvl" || c.model_type == "internvl_chat") {
    top.Only("template", "internvl2_5");
    SWERVE_RETURN_IF_ERROR(ReadInternVl(json, path, &c));
  } else if (c.model_type == "qwen2_5_vl") {
    SWERVE_RETURN_IF_ERROR(ReadQwenVl(json, path, &c));
  } else {
    top.Fail("model_type", absl::StrCat("'", c.model_type, "' is not supported (internvl, internvl_chat, qwen2_5_vl, qwen2)"));
  }
  SWERVE_RETURN_IF_ERROR(top.status);
  if (c.has_vision) {
    SWERVE_ASSIGN_OR_RETURN(c.processor, LoadImageProcessorConfig(dir));
    SWERVE_RETURN_IF_ERROR(CheckProcessor(c, dir));
    const int side = c.processor.tile / c.vision.patch / c.vision.merge;
    if (c.vision.kind == VisionConfig::Kind::kInternVit) c.processor.tokens_per_tile = side * side;
  }
  SWERVE_ASSIGN_OR_RETURN(c.chat, LoadChatTemplate(dir, c.model_type));
  if (auto g = ReadJson(dir + "/generation_config.json"); g.ok()) ReadEos(*g, &c.eos);
  for (const char* key : {"text_config", "llm_config"}) {
    if (c.eos.empty() && json.contains(key)) ReadEos(json[key], &c.eos);
  }
  if (c.eos.empty()) ReadEos(json, &c.eos);
  return c;
}

int ImageSize(const ModelConfig& c) {
  if (!c.has_vision) return 0;
  if (c.processor.kind == ImageProcessorConfig::Kind::kTiles) return c.processor.tile;
  const int cell = c.processor.patch * c.processor.merge;
  const int side = static_cast<int>(std::sqrt(static_cast<double>(std::min<int64_t>(c.processor.max_pixels, 448 * 448))));
  return std::max(1, side / cell) * cell;
}

}  // namespace swerve
