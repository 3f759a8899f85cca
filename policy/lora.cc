#include "policy/lora.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "absl/strings/match.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "absl/types/span.h"
#include "base/files.h"
#include "policy/config_reader.h"
#include "policy/weight_names.h"

namespace swerve {
namespace {

using Json = nlohmann::json;
constexpr char kPrefix[] = "base_model.model.";
const std::pair<const char*, const char*> kTargets[] = {
    {"q_proj", "self_attn"}, {"k_proj", "self_attn"}, {"v_proj", "self_attn"}, {"o_proj", "self_attn"},
    {"gate_proj", "mlp"},    {"up_proj", "mlp"},      {"down_proj", "mlp"}};

absl::Status ReadOptions(const Json& json, const std::string& path, bool* rslora, LoraOptions* o) {
  ConfigReader r(json, path);
  r.Only("peft_type", "LORA");
  r.Only("bias", "none");
  for (const char* key : {"use_dora", "fan_in_fan_out", "lora_bias", "use_qalora", "alora_invocation_tokens", "trainable_token_indices",
                          "target_parameters", "modules_to_save", "layer_replication"}) {
    if (r.Has(key) && json[key] != false && !(json[key].is_structured() && json[key].empty())) r.Fail(key, "is set, which is not supported");
  }
  if (r.Has("alpha_pattern") && !json["alpha_pattern"].empty()) r.Fail("alpha_pattern", "is set, which is not supported");
  o->rank = r.Int("r", 1, 1 << 14);
  o->alpha = r.Number("lora_alpha", 8);
  *rslora = r.Bool("use_rslora", false);
  return r.status;
}

// Shapes of every module's weight.
std::map<std::string, std::vector<int64_t>> Modules(const ModelConfig& config) {
  std::map<std::string, std::vector<int64_t>> out;
  for (const auto& [name, shape] : ExpectedTensors(config)) {
    absl::string_view module = name;
    if (shape.size() == 2 && absl::ConsumeSuffix(&module, ".weight")) out[std::string(module)] = shape;
  }
  return out;
}

}  // namespace

absl::StatusOr<std::vector<std::string>> LoraModules(const LoraOptions& o, const ModelConfig& config) {
  if (o.rank < 1) return absl::InvalidArgumentError("lora_rank must be at least 1");
  if (o.targets.empty()) return absl::InvalidArgumentError("lora_target_modules is empty");
  std::vector<std::string> out;
  for (const std::string& target : o.targets) {
    const auto* known = std::find_if(std::begin(kTargets), std::end(kTargets), [&](const auto& t) { return target == t.first; });
    if (known == std::end(kTargets)) {
      return absl::InvalidArgumentError(absl::StrCat("lora_target_modules: '", target, "' is no linear layer of the decoder (q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj)"));
    }
    for (int i = 0; i < config.text.layers; ++i) out.push_back(absl::StrCat(kTextPrefix, "layers.", i, ".", known->second, ".", target));
  }
  std::sort(out.begin(), out.end());
  return out;
}

absl::StatusOr<LoraAdapter> ReadAdapter(const std::string& dir, const ModelConfig& config) {
  const std::string path = dir + "/adapter_config.json";
  SWERVE_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  const Json json = Json::parse(text, nullptr, false);
  if (!json.is_object()) return absl::InvalidArgumentError(path + ": not a JSON object");
  LoraAdapter out;
  bool rslora = false;
  SWERVE_RETURN_IF_ERROR(ReadOptions(json, path, &rslora, &out.options));
  SWERVE_ASSIGN_OR_RETURN(const auto file, SafetensorsFile::Open(dir + "/adapter_model.safetensors"));
  const auto known = Modules(config);
  out.options.targets.clear();
  for (const auto& [name, view] : file->tensors()) {
    auto bad = [&, name = name](absl::string_view what) { return absl::InvalidArgumentError(absl::StrCat(dir, "/adapter_model.safetensors: '", name, "' ", what)); };
    absl::string_view rest = name;
    const bool is_a = absl::EndsWith(name, ".lora_A.weight");
    if (!absl::ConsumePrefix(&rest, kPrefix) || !(absl::ConsumeSuffix(&rest, ".lora_A.weight") || absl::ConsumeSuffix(&rest, ".lora_B.weight"))) {
      return bad("is not supported (base_model.model.….lora_A.weight, ….lora_B.weight)");
    }
    const std::string module = CanonicalName(rest, config);
    const auto base = known.find(module);
    if (base == known.end()) return bad("is for a module that the base does not have or that takes no adapter");
    if (view.dtype == DType::kOther || view.shape.size() != 2 || view.shape[is_a ? 1 : 0] != base->second[is_a ? 1 : 0]) return bad("does not fit the base");
    LoraMatrices& m = out.modules[module];
    (is_a ? m.a_shape : m.b_shape) = view.shape;
    (is_a ? m.a : m.b) = view.ToFloat();
    const std::string target = module.substr(module.rfind('.') + 1);
    if (is_a && std::find(out.options.targets.begin(), out.options.targets.end(), target) == out.options.targets.end()) out.options.targets.push_back(target);
  }
  if (out.modules.empty()) return absl::InvalidArgumentError(dir + "/adapter_model.safetensors: no adapters");
  for (auto& [module, m] : out.modules) {
    if (m.a_shape.empty() || m.b_shape.empty() || m.a_shape[0] != m.b_shape[1] || m.a_shape[0] < 1) {
      return absl::InvalidArgumentError(absl::StrCat(dir, "/adapter_model.safetensors: lora_A and lora_B of '", module, "' do not fit each other"));
    }
    const double rank = static_cast<double>(m.a_shape[0]);
    m.scale = out.options.alpha / (rslora ? std::sqrt(rank) : rank);
  }
  return out;
}

absl::Status WriteAdapter(const std::string& dir, const std::string& base, const LoraOptions& o, const ModelConfig& config,
                          absl::Span<const NamedTensor> tensors) {
  SWERVE_RETURN_IF_ERROR(MakeDirectories(dir));
  // A bare list would name modules of the vision tower as well; the pattern names the decoder's.
  Json targets = o.targets;
  if (config.has_vision) targets = absl::StrCat(".*\\.layers\\.\\d+\\.(self_attn|mlp)\\.(", absl::StrJoin(o.targets, "|"), ")");
  const Json json = {{"peft_type", "LORA"}, {"task_type", "CAUSAL_LM"}, {"base_model_name_or_path", base}, {"r", o.rank},
                     {"lora_alpha", o.alpha}, {"lora_dropout", 0.0}, {"bias", "none"}, {"target_modules", targets},
                     {"fan_in_fan_out", false}, {"inference_mode", true}, {"init_lora_weights", true}, {"use_rslora", false},
                     {"use_dora", false}};
  std::vector<NamedTensor> named(tensors.begin(), tensors.end());
  for (NamedTensor& t : named) t.name = absl::StrCat(kPrefix, ModulePath(t.name, config), ".weight");
  SWERVE_RETURN_IF_ERROR(WriteSafetensors(dir + "/adapter_model.safetensors", named));
  return WriteFileAtomically(dir + "/adapter_config.json", json.dump(2) + "\n");
}

}  // namespace swerve
