// Model directories without LibTorch: configurations, key layouts, shards, and the engine's kernels on every architecture.
#include "policy/checkpoint.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>

#include "base/status_matchers.h"
#include "policy/fused_model.h"
#include "tests/policy/architectures.h"

namespace swerve {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;
using testing::HasSubstr;
using testing_policy::ArchitecturesDir;
using testing_policy::CasesOf;

class Architecture : public testing::TestWithParam<std::string> {
 protected:
  std::string dir() const { return ArchitecturesDir() + "/" + GetParam(); }
};

TEST_P(Architecture, TheKernelsComputeWhatTransformersComputes) {
  SWERVE_ASSERT_OK_AND_ASSIGN(const ModelConfig config, LoadModelConfig(dir()));
  SWERVE_ASSERT_OK_AND_ASSIGN(const MappedTensors tensors, MapTensors(dir(), config));
  SWERVE_ASSERT_OK_AND_ASSIGN(auto model, FusedModel::Create(config, tensors));
  FusedModel::Scratch scratch;
  std::vector<float> logits(model->logit_stride());
  for (const auto& c : CasesOf(GetParam(), config)) {
    FusedModel::Cache cache;
    ASSERT_OK(model->Prefill(c.ids, c.images, &cache, logits.data(), &scratch));
    for (size_t i = 0; i < c.last_logits.size(); ++i) ASSERT_NEAR(logits[i], c.last_logits[i], 1e-4) << i;
    FusedModel::Row row{.prompt = &cache};
    row.own.Reset(*model, 64);
    FusedModel::Row* rows[] = {&row};
    for (int32_t want : c.greedy) {
      const int32_t got = static_cast<int32_t>(std::max_element(logits.begin(), logits.begin() + config.text.vocab) - logits.begin());
      ASSERT_EQ(got, want);
      model->Step(rows, {&got, 1}, logits.data(), &scratch);
    }
    if (c.images.empty()) continue;
    std::vector<int32_t> more = c.ids;
    more.push_back(config.image_token_id);
    EXPECT_THAT(model->Prefill(more, c.images, &cache, logits.data(), &scratch), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("placeholders")));
  }
}

TEST_P(Architecture, WhatIsSavedHasTheLayoutThatWasLoaded) {
  SWERVE_ASSERT_OK_AND_ASSIGN(const ModelConfig config, LoadModelConfig(dir()));
  SWERVE_ASSERT_OK_AND_ASSIGN(TensorMap tensors, LoadTensors(dir(), config));
  std::vector<NamedTensor> named;
  for (auto& [name, t] : tensors) {
    for (float& v : t.data) v += 1;
    named.push_back({name, t.shape, t.data.data()});
  }
  const std::string out = testing::TempDir() + "/saved-" + GetParam();
  for (uint64_t shard : {uint64_t{40'000}, uint64_t{1} << 40}) {
    ASSERT_OK(SaveCheckpoint(out, dir(), config, named, shard));
    EXPECT_EQ(fs::exists(out + "/model.safetensors.index.json"), shard == 40'000);
    EXPECT_EQ(fs::exists(out + "/model.safetensors"), shard != 40'000);
    SWERVE_ASSERT_OK_AND_ASSIGN(const Weights before, OpenWeights(dir()));
    SWERVE_ASSERT_OK_AND_ASSIGN(const Weights after, OpenWeights(out));
    ASSERT_EQ(after.tensors.size(), before.tensors.size());
    for (const auto& [name, view] : before.tensors) {
      ASSERT_TRUE(after.tensors.count(name)) << name;
      EXPECT_EQ(after.tensors.at(name).shape, view.shape) << name;
      std::vector<float> want = view.ToFloat();
      for (float& v : want) v += 1;
      EXPECT_EQ(after.tensors.at(name).ToFloat(), want) << name;
    }
    SWERVE_ASSERT_OK_AND_ASSIGN(const TensorMap again, LoadTensors(out, config));
    EXPECT_EQ(again.size(), tensors.size());
    SWERVE_ASSERT_OK_AND_ASSIGN(const std::string sum, WeightsChecksum(out));
    EXPECT_EQ(sum.size(), 64u);
  }
}

INSTANTIATE_TEST_SUITE_P(All, Architecture, testing::ValuesIn(testing_policy::ArchitectureNames()), [](const auto& info) { return info.param; });

// A copy of a model directory whose files may be damaged.
class Damaged : public testing::Test {
 protected:
  std::string Copy(const std::string& name) {
    const std::string out = testing::TempDir() + "/damaged-" + testing::UnitTest::GetInstance()->current_test_info()->name();
    fs::remove_all(out);
    fs::copy(ArchitecturesDir() + "/" + name, out);
    return out;
  }
  // LoadModelConfig after config.json was patched at a JSON pointer; a null removes.
  static absl::Status Patched(const std::string& dir, const std::string& source, const std::string& at, const Json& value) {
    Json json = Json::parse(*ReadFile(ArchitecturesDir() + "/" + source + "/config.json"));
    json[Json::json_pointer(at)] = value;
    EXPECT_OK(WriteFileAtomically(dir + "/config.json", json.dump()));
    return LoadModelConfig(dir).status();
  }
};

TEST_F(Damaged, ConfigurationsThatAreNotSupportedAreRefusedByField) {
  const std::tuple<const char*, const char*, Json> refused[] = {
      {"qwen2", "/hidden_act", "gelu"},
      {"qwen2", "/rope_parameters", {{"rope_type", "yarn"}, {"factor", 4.0}}},
      {"qwen2", "/rope_scaling", {{"type", "linear"}, {"factor", 2.0}}},
      {"qwen2", "/layer_types", {"full_attention", "sliding_attention"}},
      {"qwen2", "/num_key_value_heads", 3},
      {"qwen2", "/head_dim", 7},
      {"qwen2", "/vocab_size", 1e30},
      {"qwen2", "/num_hidden_layers", 100000},
      {"qwen2", "/quantization_config", {{"quant_method", "gptq"}}},
      {"qwen2", "/model_type", "llama"},
      {"internvl", "/vision_config/use_qk_norm", true},
      {"internvl", "/vision_config/norm_type", "rms_norm"},
      {"internvl", "/vision_config/hidden_act", "relu"},
      {"internvl", "/vision_config/image_size", {56, 84}},
      {"internvl", "/vision_feature_layer", -2},
      {"internvl", "/downsample_ratio", 0.3},
      {"internvl", "/text_config/model_type", "llama"},
      {"internvl", "/image_token_id", 300},
      {"internvl_chat", "/vision_config/qk_normalization", true},
      {"internvl_chat", "/ps_version", "v1"},
      {"internvl_chat", "/select_layer", -4},
      {"internvl_chat", "/llm_config/rope_scaling", {{"type", "yarn"}, {"factor", 2.0}}},
      {"qwen2_5_vl", "/text_config/rope_parameters/mrope_section", {1, 1, 1}},
      {"qwen2_5_vl", "/text_config/head_dim", 16},
      {"qwen2_5_vl", "/vision_config/out_hidden_size", 64},
      {"qwen2_5_vl", "/vision_config/in_channels", 1},
      {"qwen2_5_vl", "/vision_config/patch_size", 16},
      {"qwen2_5_vl", "/vision_config/window_size", 14},
      {"qwen2_5_vl_flat", "/rope_scaling/type", "yarn"},
  };
  for (const auto& [source, at, value] : refused) {
    const std::string field = std::string(at).substr(std::string(at).rfind('/') + 1);
    const absl::Status status = Patched(Copy(source), source, at, value);
    EXPECT_THAT(status, StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(field == "rope_parameters" || field == "rope_scaling" ? "type" : field))) << source << at;
  }
}

TEST_F(Damaged, ASlidingWindowWithoutEffectIsTaken) {
  Json json = Json::parse(*ReadFile(ArchitecturesDir() + "/qwen2/config.json"));
  const std::string dir = Copy("qwen2");
  json.erase("layer_types");
  json["use_sliding_window"] = true, json["sliding_window"] = 8, json["max_window_layers"] = 2;
  ASSERT_OK(WriteFileAtomically(dir + "/config.json", json.dump()));
  EXPECT_OK(LoadModelConfig(dir).status());
  json["max_window_layers"] = 1;
  ASSERT_OK(WriteFileAtomically(dir + "/config.json", json.dump()));
  EXPECT_THAT(LoadModelConfig(dir).status(), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("use_sliding_window")));
}

// Writes `dir`'s weights anew with one of them changed or left out.
absl::Status Rewrite(const std::string& dir, const std::string& without, const std::vector<NamedTensor>& added) {
  SWERVE_ASSIGN_OR_RETURN(const Weights weights, OpenWeights(dir));
  std::vector<NamedTensor> named = added;
  for (const auto& [name, view] : weights.tensors) {
    if (name != without) named.push_back({name, view.shape, view.data, view.dtype_name});
  }
  return WriteWeights(dir, named);
}

TEST_F(Damaged, MissingAndMisshapenTensorsAreNamed) {
  const std::string dir = Copy("qwen2"), name = "model.layers.1.mlp.up_proj.weight";
  SWERVE_ASSERT_OK_AND_ASSIGN(const ModelConfig config, LoadModelConfig(dir));
  const std::vector<int64_t> bytes(56 * 32, 1);
  ASSERT_OK(Rewrite(dir, name, {}));
  EXPECT_THAT(MapTensors(dir, config).status(), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("mlp.up_proj.weight' is missing")));
  ASSERT_OK(Rewrite(dir, name, {{name, {32, 56}, bytes.data()}}));
  EXPECT_THAT(MapTensors(dir, config).status(), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("shape [32, 56] where config.json asks for [56, 32]")));
  ASSERT_OK(Rewrite(dir, name, {{name, {56, 32}, bytes.data(), "I64"}}));
  EXPECT_THAT(MapTensors(dir, config).status(), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("dtype I64")));
}

TEST_F(Damaged, AHeadOfItsOwnCountsThoughTheConfigurationTiesIt) {
  const std::string dir = Copy("qwen2");
  SWERVE_ASSERT_OK_AND_ASSIGN(const ModelConfig config, LoadModelConfig(dir));
  EXPECT_TRUE(config.text.tied);
  SWERVE_ASSERT_OK_AND_ASSIGN(TensorMap before, LoadTensors(dir, config));
  EXPECT_FALSE(before.count(kHeadName));
  HostTensor head = before[kEmbeddingName];
  ASSERT_OK(Rewrite(dir, "", {{"lm_head.weight", head.shape, head.data.data()}}));
  SWERVE_ASSERT_OK_AND_ASSIGN(const TensorMap other, LoadTensors(dir, config));
  EXPECT_TRUE(other.count(kHeadName));  // another type: not the same bytes
  SWERVE_ASSERT_OK_AND_ASSIGN(const Weights weights, OpenWeights(dir));
  const TensorView embedding = weights.tensors.at("model.embed_tokens.weight");
  ASSERT_OK(Rewrite(dir, "lm_head.weight", {{"lm_head.weight", embedding.shape, embedding.data, embedding.dtype_name}}));
  SWERVE_ASSERT_OK_AND_ASSIGN(const TensorMap same, LoadTensors(dir, config));
  EXPECT_FALSE(same.count(kHeadName));
}

TEST_F(Damaged, IndexesThatLieAreRefused) {
  const std::string dir = Copy("qwen2_sharded"), index = dir + "/model.safetensors.index.json";
  const Json good = Json::parse(*ReadFile(index));
  auto with = [&](const std::string& name, const Json& file) {
    Json bad = good;
    bad["weight_map"][name] = file;
    EXPECT_OK(WriteFileAtomically(index, bad.dump()));
    return OpenWeights(dir).status();
  };
  EXPECT_THAT(with("model.norm.weight", "../other/model.safetensors"), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("not a file of this directory")));
  EXPECT_THAT(with("model.norm.weight", 7), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("model.norm.weight")));
  EXPECT_THAT(with("model.norm.weight", "absent.safetensors"), StatusIs(absl::StatusCode::kNotFound, HasSubstr("absent.safetensors")));
  EXPECT_THAT(with("no.such", "model-00001-of-00003.safetensors"), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("'no.such' is not in")));
}

TEST_F(Damaged, HolesAndOverlapsAreRefused) {
  auto opened = [](const std::string& entries, size_t bytes) {
    const std::string header = "{" + entries + "}", path = testing::TempDir() + "/holes.safetensors";
    std::string file(8, '\0');
    for (int i = 0; i < 8; ++i) file[i] = static_cast<char>(header.size() >> (8 * i));
    EXPECT_OK(WriteFileAtomically(path, file + header + std::string(bytes, 'x')));
    return SafetensorsFile::Open(path).status();
  };
  const std::string a = R"("a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]})";
  EXPECT_OK(opened(a, 8));
  EXPECT_THAT(opened(a, 12), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("belong to no tensor")));
  EXPECT_THAT(opened(a + R"(,"b":{"dtype":"F16","shape":[2],"data_offsets":[6,10]})", 10), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("hole or overlaps")));
  EXPECT_THAT(opened(a + R"(,"b":{"dtype":"F16","shape":[2],"data_offsets":[10,14]})", 14), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("hole or overlaps")));
  EXPECT_THAT(opened(R"("a":{"dtype":"F32","shape":[4611686018427387904,4,0],"data_offsets":[0,0]})", 8), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("larger")));
}

}  // namespace
}  // namespace swerve
