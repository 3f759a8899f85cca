#include "policy/model_config.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "base/files.h"

namespace swerve {
namespace {

using Json = nlohmann::json;

// Reads fields and remembers the first thing wrong with them.
class Reader {
 public:
  Reader(const Json& json, std::string where) : json_(json), where_(std::move(where)) {}
  bool Has(const char* key) const { return json_.is_object() && json_.contains(key) && !json_[key].is_null(); }
  int Int(const char* key, int64_t lo, int64_t hi, std::optional<int> fallback = std::nullopt) {
    if (!Has(key)) {
      if (!fallback) Fail(key, "is missing");
      return fallback.value_or(static_cast<int>(lo));
    }
    if (!json_[key].is_number_integer()) return Fail(key, "is not a whole number"), static_cast<int>(lo);
    int64_t v = json_[key].get<int64_t>();
    if (v < lo || v > hi) return Fail(key, absl::StrCat("= ", v, " is outside ", lo, "…", hi)), static_cast<int>(lo);
    return static_cast<int>(v);
  }
  double Number(const char* key, double fallback) {
    if (!Has(key)) return fallback;
    if (!json_[key].is_number()) return Fail(key, "is not a number"), fallback;
    return json_[key].get<double>();
  }
  bool Bool(const char* key, bool fallback) {
    if (!Has(key)) return fallback;
    if (!json_[key].is_boolean()) return Fail(key, "is not true or false"), fallback;
    return json_[key].get<bool>();
  }
  // A field whose only supported value is `want`.
  void Only(const char* key, const Json& want) {
    if (Has(key) && json_[key] != want) Fail(key, absl::StrCat("= ", json_[key].dump(), " is not supported (only ", want.dump(), ")"));
  }
  void Fail(absl::string_view key, absl::string_view what) {
    if (status.ok()) status = absl::InvalidArgumentError(absl::StrCat(where_, ": ", key, " ", what));
  }
  // Square sizes come as a number or a pair.
  int Side(const char* key, int hi) {
    if (Has(key) && json_[key].is_array()) {
      const Json& a = json_[key];
      if (a.size() != 2 || a[0] != a[1] || !a[0].is_number_integer()) return Fail(key, "is not square"), 1;
      int64_t v = a[0].get<int64_t>();
      if (v < 1 || v > hi) return Fail(key, "is out of range"), 1;
      return static_cast<int>(v);
    }
    return Int(key, 1, hi);
  }
  absl::Status status;

 private:
  const Json& json_;
  const std::string where_;
};

absl::StatusOr<Json> ReadJson(const std::string& path) {
  SWERVE_ASSIGN_OR_RETURN(std::string text, ReadFile(path));
  Json json = Json::parse(text, nullptr, false);
  if (json.is_discarded() || !json.is_object()) return absl::InvalidArgumentError(absl::StrCat(path, ": not a JSON object"));
  return json;
}

absl::Status ReadText(const Json& json, const std::string& where, bool tied_above, TextConfig* c) {
  Reader r(json, where);
  c->vocab = r.Int("vocab_size", 2, 1 << 20);
  c->hidden = r.Int("hidden_size", 8, 1 << 16);
  c->layers = r.Int("num_hidden_layers", 1, 1024);
  c->heads = r.Int("num_attention_heads", 1, 1024);
  c->kv_heads = r.Int("num_key_value_heads", 1, 1024, c->heads);
  c->head_dim = r.Int("head_dim", 2, 1024, c->hidden / std::max(1, c->heads));
  c->mlp = r.Int("intermediate_size", 1, 1 << 18);
  c->max_positions = r.Int("max_position_embeddings", 1, 1 << 24, 32768);
  c->eps = static_cast<float>(r.Number("rms_norm_eps", 1e-6));
  c->tied = r.Bool("tie_word_embeddings", tied_above);
  c->rope_theta = r.Number("rope_theta", 1e6);
  if (r.Has("rope_parameters")) {
    Reader rope(json["rope_parameters"], where + ".rope_parameters");
    c->rope_theta = rope.Number("rope_theta", c->rope_theta);
    rope.Only("rope_type", "default");
    SWERVE_RETURN_IF_ERROR(rope.status);
  }
  r.Only("hidden_act", "silu");
  r.Only("use_sliding_window", false);
  if (c->heads % std::max(1, c->kv_heads) != 0) r.Fail("num_key_value_heads", "does not divide num_attention_heads");
  if (c->head_dim % 2 != 0) r.Fail("head_dim", "is odd");
  if (!(c->rope_theta > 1)) r.Fail("rope_theta", "is not above 1");
  return r.status;
}

absl::Status ReadVision(const Json& json, const std::string& where, VisionConfig* c) {
  Reader r(json, where);
  c->hidden = r.Int("hidden_size", 8, 1 << 14);
  c->layers = r.Int("num_hidden_layers", 1, 512);
  c->heads = r.Int("num_attention_heads", 1, 512);
  c->mlp = r.Int("intermediate_size", 1, 1 << 17);
  c->image = r.Side("image_size", 1 << 13);
  c->patch = r.Side("patch_size", 1 << 10);
  c->eps = static_cast<float>(r.Number("layer_norm_eps", 1e-6));
  c->qkv_bias = r.Bool("attention_bias", r.Bool("qkv_bias", false));
  r.Only("use_qk_norm", false);
  r.Only("qk_normalization", false);
  r.Only("norm_type", "layer_norm");
  r.Only("hidden_act", "gelu");
  r.Only("num_channels", 3);
  r.Only("use_absolute_position_embeddings", true);
  if (!r.status.ok()) return r.status;
  if (c->hidden % c->heads != 0) r.Fail("num_attention_heads", "does not divide hidden_size");
  if (c->image % (2 * c->patch) != 0) r.Fail("image_size", "is not an even number of patches");
  return r.status;
}

void ReadEos(const Json& json, std::vector<int>* eos) {
  if (!json.contains("eos_token_id")) return;
  const Json& e = json["eos_token_id"];
  for (const Json& v : e.is_array() ? e : Json::array({e})) {
    if (v.is_number_integer()) eos->push_back(v.get<int>());
  }
}

}  // namespace

absl::StatusOr<ModelConfig> LoadModelConfig(const std::string& dir) {
  const std::string path = dir + "/config.json";
  SWERVE_ASSIGN_OR_RETURN(Json json, ReadJson(path));
  ModelConfig c;
  c.model_type = json.value("model_type", Json()).is_string() ? json["model_type"].get<std::string>() : "";
  Reader top(json, path);
  const bool original = c.model_type == "internvl_chat";
  if (c.model_type == "qwen2") {
    SWERVE_RETURN_IF_ERROR(ReadText(json, path, false, &c.text));
  } else if (c.model_type == "internvl" || original) {
    const char* text_key = original ? "llm_config" : "text_config";
    if (!top.Has(text_key) || !top.Has("vision_config")) {
      return absl::InvalidArgumentError(absl::StrCat(path, ": ", text_key, " or vision_config is missing"));
    }
    const bool tied = top.Bool("tie_word_embeddings", !original);
    SWERVE_RETURN_IF_ERROR(ReadText(json[text_key], absl::StrCat(path, ": ", text_key), tied, &c.text));
    SWERVE_RETURN_IF_ERROR(ReadVision(json["vision_config"], path + ": vision_config", &c.vision));
    c.has_vision = true;
    if (top.Number("downsample_ratio", 0.5) != 0.5) top.Fail("downsample_ratio", "is not 0.5");
    top.Only("vision_feature_layer", -1);
    top.Only("select_layer", -1);
    top.Only("vision_feature_select_strategy", "default");
    top.Only("projector_hidden_act", "gelu");
    top.Only("ps_version", "v2");
    if (original) {
      c.vision.image = top.Int("force_image_size", 1, 1 << 13, c.vision.image);
      c.image_token_id = top.Int("img_context_token_id", 0, c.text.vocab - 1, 151667);
    } else {
      c.image_token_id = top.Int("image_token_id", 0, c.text.vocab - 1);
    }
    const int side = c.vision.image / c.vision.patch / 2;
    c.image_tokens = side * side;
    if (top.Int("image_seq_length", 1, 1 << 20, c.image_tokens) != c.image_tokens) {
      top.Fail("image_seq_length", absl::StrCat("is not ", c.image_tokens, ", which image_size and patch_size give"));
    }
    SWERVE_RETURN_IF_ERROR(top.status);
  } else {
    return absl::InvalidArgumentError(absl::StrCat(path, ": model_type '", c.model_type, "' is not supported (internvl, internvl_chat, qwen2)"));
  }
  if (auto g = ReadJson(dir + "/generation_config.json"); g.ok()) ReadEos(*g, &c.eos);
  if (c.eos.empty()) ReadEos(json.contains("text_config") ? json["text_config"] : json.contains("llm_config") ? json["llm_config"] : json, &c.eos);
  if (auto p = ReadJson(dir + "/preprocessor_config.json"); p.ok()) {
    for (auto [key, out] : {std::pair{"image_mean", c.image_mean}, {"image_std", c.image_std}}) {
      if (!p->contains(key)) continue;
      const Json& a = (*p)[key];
      for (int i = 0; i < 3; ++i) {
        if (!a.is_array() || a.size() != 3 || !a[i].is_number()) {
          return absl::InvalidArgumentError(absl::StrCat(dir, "/preprocessor_config.json: ", key, " is not three numbers"));
        }
        out[i] = a[i].get<float>();
      }
    }
    for (float s : c.image_std) {
      if (!(s > 0)) return absl::InvalidArgumentError(dir + "/preprocessor_config.json: image_std is not positive");
    }
  }
  return c;
}

}  // namespace swerve
