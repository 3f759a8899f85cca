#include "policy/engine.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "absl/strings/match.h"
#include "base/files.h"
#include "base/random.h"
#include "base/sha256.h"
#include "base/status_matchers.h"
#include "policy/checkpoint.h"
#include "policy/fused_model.h"
#include "policy/prompt_input.h"
#include "policy/tokenizer.h"
#include "tests/learner/tiny_model.h"
#include "tests/policy/architectures.h"

namespace swerve {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

const std::string kData = std::string(SWERVE_SOURCE_DIR) + "/tests/policy/data";
const std::string kModel = kData + "/model";

const Json& Golden() {
  static const Json json = Json::parse(*ReadFile(kData + "/golden.json"));
  return json;
}

std::shared_ptr<const Image> Picture(int size = 56) {
  auto image = std::make_shared<Image>(Image{size, size, {}});
  for (int i = 0; i < size * size * 3; ++i) image->rgb.push_back(static_cast<uint8_t>((7 * i + i / 256) % 256));
  return image;
}

std::unique_ptr<Engine> MakeEngine(int threads = 1, int max_batch = 64) {
  auto engine = CreateLocalEngine({.model_dir = kModel, .threads = threads, .max_batch = max_batch});
  EXPECT_TRUE(engine.ok()) << engine.status();
  return *std::move(engine);
}

std::vector<GenerateRequest> Requests() {
  std::vector<GenerateRequest> requests;
  for (int i = 0; i < 5; ++i) {
    GenerateRequest r{.prompt = {.text = "command move forward. speed " + std::to_string(i) + ".5. drive."}, .temperature = 1.2, .max_new_tokens = 20 + 9 * i};
    if (i != 3) r.prompt.image = Picture();
    for (int s = 0; s < 1 + i; ++s) r.seeds.push_back(StreamSeed(7, i, s));
    requests.push_back(r);
  }
  return requests;
}

std::vector<std::string> Bytes(const std::vector<GenerateResult>& results) {
  std::vector<std::string> out;
  for (const auto& result : results) {
    for (const auto& response : result.responses) out.push_back(response.SerializeAsString());
  }
  return out;
}

TEST(Tokenizer, EqualsThePythonPackage) {
  SWERVE_ASSERT_OK_AND_ASSIGN(auto tokenizer, Tokenizer::Load(kModel));
  for (const Json& c : Golden()["tokenizer"]) {
    const std::string text = c["text"];
    EXPECT_EQ(tokenizer->Encode(text), c["ids"].get<std::vector<int32_t>>()) << text;
  }
  Json json = Json::parse(*ReadFile(kModel + "/tokenizer.json"));
  json["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = Golden()["qwen_regex"];
  SWERVE_ASSERT_OK_AND_ASSIGN(auto qwen, Tokenizer::FromJson(json.dump()));
  json["pre_tokenizer"] = {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", true}};
  SWERVE_ASSERT_OK_AND_ASSIGN(auto gpt2, Tokenizer::FromJson(json.dump()));
  for (const Json& c : Golden()["tokenizer_qwen"]) EXPECT_EQ(qwen->Encode(c["text"].get<std::string>()), c["ids"].get<std::vector<int32_t>>()) << c["text"];
  for (const Json& c : Golden()["tokenizer_gpt2"]) EXPECT_EQ(gpt2->Encode(c["text"].get<std::string>()), c["ids"].get<std::vector<int32_t>>()) << c["text"];
}

TEST(Tokenizer, RoundTripsAndSpendsOneTokenOnANumbersPart) {
  SWERVE_ASSERT_OK_AND_ASSIGN(auto tokenizer, Tokenizer::Load(kModel));
  const std::string text = "<think>plan keep.</think><answer>[12.3,-0.4,0.05],[70.1,-30.9,-1.57]</answer>";
  EXPECT_EQ(tokenizer->Decode(tokenizer->Encode(text)), text);
  for (int i = 0; i <= 100; ++i) {
    EXPECT_EQ(tokenizer->Encode(std::to_string(i) + ".").size(), 1u) << i;
    EXPECT_EQ(tokenizer->Encode(std::to_string(i)).size(), 1u) << i;
  }
  EXPECT_EQ(tokenizer->Encode("-0.").size(), 1u);
  // Any bytes give valid UTF-8 back.
  Random random(3);
  for (int i = 0; i < 200; ++i) {
    std::string bytes;
    for (int j = 0; j < 40; ++j) bytes.push_back(static_cast<char>(random()));
    std::vector<int32_t> ids = tokenizer->Encode(bytes);
    EXPECT_EQ(tokenizer->Encode(tokenizer->Decode(ids)), ids);
    std::vector<int32_t> noise{-5, 1 << 30};
    for (int j = 0; j < 20; ++j) noise.push_back(static_cast<int32_t>(random.Below(1024)));
    v1::Response response;
    response.set_text(tokenizer->Decode(noise));
    EXPECT_FALSE(response.SerializeAsString().empty());
  }
}

TEST(Tokenizer, DamagedFilesAreNamedNotFatal) {
  const std::string good = *ReadFile(kModel + "/tokenizer.json");
  EXPECT_THAT(Tokenizer::FromJson("[]"), StatusIs(absl::StatusCode::kInvalidArgument, testing::HasSubstr("tokenizer.json")));
  Random random(1);
  for (int i = 0; i < 60; ++i) {
    std::string bad = good.substr(0, 4000) + good.substr(good.size() - 3000);
    bad = i % 2 ? good.substr(0, random.Below(good.size())) : bad;
    EXPECT_FALSE(Tokenizer::FromJson(bad).ok());
  }
}

TEST(FusedModel, ComputesWhatTransformersComputes) {
  SWERVE_ASSERT_OK_AND_ASSIGN(ModelConfig config, LoadModelConfig(kModel));
  SWERVE_ASSERT_OK_AND_ASSIGN(MappedTensors tensors, MapTensors(kModel, config));
  SWERVE_ASSERT_OK_AND_ASSIGN(ProcessedImage picture, VisionInput(config, *Picture()));
  const FusedModel::Images one{std::make_shared<const ProcessedImage>(std::move(picture))}, none;
  for (const auto* table : kernels::Supported()) {
    SWERVE_ASSERT_OK_AND_ASSIGN(auto model, FusedModel::Create(config, tensors, FusedModel::Precision::kFloat32, *table));
    FusedModel::Scratch scratch;
    std::vector<float> logits(model->logit_stride());
    for (const Json& c : Golden()["cases"]) {
      const auto ids = c["ids"].get<std::vector<int32_t>>();
      FusedModel::Cache cache;
      // Greedy: a prompt run at once, then tokens one by one.
      ASSERT_OK(model->Prefill(ids, c["image"].get<bool>() ? one : none, &cache, logits.data(), &scratch));
      FusedModel::Row row{.prompt = &cache};
      row.own.Reset(*model, 24);
      FusedModel::Row* rows[] = {&row};
      for (int32_t want : c["greedy"].get<std::vector<int32_t>>()) {
        int32_t got = static_cast<int32_t>(std::max_element(logits.begin(), logits.begin() + config.text.vocab) - logits.begin());
        ASSERT_EQ(got, want) << table->name;
        model->Step(rows, {&got, 1}, logits.data(), &scratch);
      }
      // Every prefix's prediction of the next token.
      const size_t from = c["image"].get<bool>() ? 6 : 1;
      for (size_t n = from; n < ids.size(); n += 7) {
        ASSERT_OK(model->Prefill({ids.begin(), ids.begin() + n}, c["image"].get<bool>() ? one : none, &cache, logits.data(), &scratch));
        std::vector<float> p = logits;
        float max;
        const double sum = table->exp_sum(p.data(), config.text.vocab, &max);
        EXPECT_NEAR(logits[ids[n]] - max - std::log(sum), c["logprobs"][n - 1].get<double>(), 2e-5) << table->name << " " << n;
      }
    }
  }
}

TEST(LocalEngine, SameSeedsSameBytesWhateverTheBatch) {
  const auto requests = Requests();
  SWERVE_ASSERT_OK_AND_ASSIGN(auto whole, MakeEngine()->Generate(requests));
  const auto want = Bytes(whole);
  for (auto [threads, batch] : {std::pair{1, 1}, {1, 3}, {3, 64}, {2, 4}}) {
    auto engine = MakeEngine(threads, batch);
    SWERVE_ASSERT_OK_AND_ASSIGN(auto other, engine->Generate(requests));
    EXPECT_EQ(Bytes(other), want) << threads << " threads, batch " << batch;
  }
  auto engine = MakeEngine();
  std::vector<std::string> one_by_one;
  for (const auto& r : requests) {
    SWERVE_ASSERT_OK_AND_ASSIGN(auto result, engine->Generate({&r, 1}));
    for (auto& b : Bytes(result)) one_by_one.push_back(b);
  }
  EXPECT_EQ(one_by_one, want);
  const auto& [a, b] = std::pair(whole[4].responses[0], whole[4].responses[1]);
  EXPECT_NE(a.text(), b.text());
}

TEST(LocalEngine, FillsTheResponse) {
  SWERVE_ASSERT_OK_AND_ASSIGN(auto results, MakeEngine()->Generate(Requests()));
  SWERVE_ASSERT_OK_AND_ASSIGN(auto tokenizer, Tokenizer::Load(kModel));
  for (const auto& result : results) {
    for (const auto& r : result.responses) {
      EXPECT_EQ(r.logprobs_size(), r.token_ids_size());
      EXPECT_EQ(r.finish() == v1::STOP, r.token_ids(r.token_ids_size() - 1) == tokenizer->Id("<|im_end|>"));
      EXPECT_EQ(r.weight_versions_size(), 1);
      EXPECT_NE(r.parse(), v1::PARSE_STATUS_UNSPECIFIED);
    }
  }
  const std::string prompt = tokenizer->Decode(results[0].prompt_ids);
  EXPECT_TRUE(absl::StartsWith(prompt, "<|im_start|>user\n<img><IMG_CONTEXT><IMG_CONTEXT><IMG_CONTEXT><IMG_CONTEXT></img>\ncommand"));
  EXPECT_TRUE(absl::EndsWith(prompt, "drive.<|im_end|>\n<|im_start|>assistant\n"));
}

TEST(LocalEngine, TakesNewWeightsWholeOrNotAtAll) {
  auto engine = MakeEngine();
  const auto requests = Requests();
  SWERVE_ASSERT_OK_AND_ASSIGN(auto before, engine->Generate(requests));
  // Other weights in another directory.
  SWERVE_ASSERT_OK_AND_ASSIGN(ModelConfig config, LoadModelConfig(kModel));
  SWERVE_ASSERT_OK_AND_ASSIGN(TensorMap tensors, LoadTensors(kModel, config));
  std::vector<NamedTensor> named;
  for (auto& [name, t] : tensors) {
    for (float& v : t.data) v *= 1.5f;
    named.push_back({name, t.shape, t.data.data()});
  }
  const std::string dir = testing::TempDir() + "/engine_test_weights";
  ASSERT_OK(SaveCheckpoint(dir, kModel, config, named));
  v1::PolicyManifest manifest;
  manifest.set_version(3);
  manifest.set_directory(dir + "/absent");
  EXPECT_THAT(engine->LoadWeights(manifest), StatusIs(absl::StatusCode::kNotFound, testing::_));
  fs::remove_all(dir + "_cut");
  fs::copy(dir, dir + "_cut");
  fs::resize_file(dir + "_cut/model.safetensors", 20000);
  manifest.set_directory(dir + "_cut");
  EXPECT_THAT(engine->LoadWeights(manifest), StatusIs(absl::StatusCode::kInvalidArgument, testing::HasSubstr("model.safetensors")));
  EXPECT_EQ(engine->policy().version(), 0);
  SWERVE_ASSERT_OK_AND_ASSIGN(auto same, engine->Generate(requests));
  EXPECT_EQ(Bytes(same), Bytes(before));
  manifest.set_directory(dir);
  manifest.set_checksum(Sha256("other bytes"));
  EXPECT_THAT(engine->LoadWeights(manifest), StatusIs(absl::StatusCode::kDataLoss, testing::HasSubstr("SHA-256")));
  EXPECT_EQ(engine->policy().version(), 0);
  SWERVE_ASSERT_OK_AND_ASSIGN(auto still, engine->Generate(requests));
  EXPECT_EQ(Bytes(still), Bytes(before));
  SWERVE_ASSERT_OK_AND_ASSIGN(*manifest.mutable_checksum(), Sha256OfFile(dir + "/model.safetensors"));
  ASSERT_OK(engine->LoadWeights(manifest));
  SWERVE_ASSERT_OK_AND_ASSIGN(auto after, engine->Generate(requests));
  EXPECT_EQ(after[0].responses[0].weight_versions(0), 3);
  EXPECT_NE(after[4].responses[0].text(), before[4].responses[0].text());
}

TEST(LocalEngine, RefusesByName) {
  auto engine = MakeEngine();
  GenerateRequest r{.prompt = {.text = "x"}};
  EXPECT_THAT(engine->Generate({&r, 1}).status(), StatusIs(absl::StatusCode::kInvalidArgument, testing::HasSubstr("seeds")));
  r.seeds = {1};
  r.max_new_tokens = 5000;
  EXPECT_THAT(engine->Generate({&r, 1}).status(), StatusIs(absl::StatusCode::kInvalidArgument, testing::HasSubstr("positions")));
  EXPECT_THAT(engine->Check(r), StatusIs(absl::StatusCode::kInvalidArgument, testing::HasSubstr("positions")));
  r.max_new_tokens = 5;
  r.prompt.text = "<IMG_CONTEXT>";
  EXPECT_THAT(engine->Generate({&r, 1}).status(), StatusIs(absl::StatusCode::kInvalidArgument, testing::HasSubstr("placeholder")));
  r.prompt = {.text = "x", .image = std::make_shared<Image>(Image{4, 4, {1, 2, 3}})};
  EXPECT_THAT(engine->Generate({&r, 1}).status(), StatusIs(absl::StatusCode::kInvalidArgument, testing::HasSubstr("image")));
  r.prompt.image = Picture(100);
  EXPECT_OK(engine->Generate({&r, 1}).status());
  EXPECT_FALSE(CreateLocalEngine({.model_dir = kModel, .device = "cuda:0"}).ok());
  EXPECT_THAT(CreateLocalEngine({.model_dir = kModel + "/absent"}).status(), StatusIs(absl::StatusCode::kNotFound, testing::_));
}

// Tiles and patches take their pictures' own number of placeholders; the engine's text is what its kernels say for the
// prompt it tells of.
TEST(LocalEngine, ServesEveryArchitecture) {
  for (const std::string& name : testing_policy::ArchitectureNames()) {
    SCOPED_TRACE(name);
    const std::string dir = testing::TempDir() + "/engine-" + name;
    fs::remove_all(dir);
    fs::copy(testing_policy::ArchitecturesDir() + "/" + name, dir);
    ASSERT_OK(WriteFileAtomically(dir + "/tokenizer.json", testing_learner::TinyTokenizer().dump()));
    SWERVE_ASSERT_OK_AND_ASSIGN(auto engine, CreateLocalEngine({.model_dir = dir}));
    SWERVE_ASSERT_OK_AND_ASSIGN(const ModelConfig config, LoadModelConfig(dir));
    EXPECT_EQ(engine->image_size(), ImageSize(config));
    GenerateRequest request{.prompt = {.text = "go", .image = config.has_vision ? Picture(90) : nullptr}, .seeds = {1, 2}, .temperature = 0, .max_new_tokens = 12};
    SWERVE_ASSERT_OK_AND_ASSIGN(const auto results, engine->Generate({&request, 1}));
    const std::vector<int32_t>& ids = results[0].prompt_ids;
    FusedModel::Images images;
    if (config.has_vision) {
      SWERVE_ASSERT_OK_AND_ASSIGN(ProcessedImage image, VisionInput(config, *request.prompt.image));
      EXPECT_EQ(std::count(ids.begin(), ids.end(), config.image_token_id), image.tokens);
      images.push_back(std::make_shared<const ProcessedImage>(std::move(image)));
    }
    SWERVE_ASSERT_OK_AND_ASSIGN(const MappedTensors tensors, MapTensors(dir, config));
    SWERVE_ASSERT_OK_AND_ASSIGN(auto model, FusedModel::Create(config, tensors));
    FusedModel::Scratch scratch;
    FusedModel::Cache cache;
    std::vector<float> logits(model->logit_stride());
    ASSERT_OK(model->Prefill(ids, images, &cache, logits.data(), &scratch));
    FusedModel::Row row{.prompt = &cache};
    row.own.Reset(*model, 12);
    FusedModel::Row* rows[] = {&row};
    for (int32_t token : results[0].responses[1].token_ids()) {
      ASSERT_EQ(token, std::max_element(logits.begin(), logits.begin() + config.text.vocab) - logits.begin());
      model->Step(rows, {&token, 1}, logits.data(), &scratch);
    }
  }
}

TEST(LocalEngine, ASystemTurnOfOnesOwnReplacesQwensStandingOne) {
  const std::string dir = testing::TempDir() + "/engine-system";
  fs::remove_all(dir);
  fs::copy(testing_policy::ArchitecturesDir() + "/qwen2_5_vl", dir);
  ASSERT_OK(WriteFileAtomically(dir + "/tokenizer.json", testing_learner::TinyTokenizer().dump()));
  SWERVE_ASSERT_OK_AND_ASSIGN(auto tokenizer, Tokenizer::Load(dir));
  SWERVE_ASSERT_OK_AND_ASSIGN(auto engine, CreateLocalEngine({.model_dir = dir}));
  auto prompt = [&](std::vector<Turn> before) {
    GenerateRequest request{.prompt = {.text = "go", .before = std::move(before)}, .seeds = {1}, .max_new_tokens = 1};
    return tokenizer->Decode((*engine->Generate({&request, 1}))[0].prompt_ids);
  };
  const std::string turn = "<|im_start|>user\ngo<|im_end|>\n<|im_start|>assistant\n", standing = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n";
  EXPECT_EQ(prompt({}), standing + turn);
  EXPECT_EQ(prompt({{"system", "Drive."}}), "<|im_start|>system\nDrive.<|im_end|>\n" + turn);
  EXPECT_EQ(prompt({{"user", "hi"}, {"assistant", "ho"}}), standing + "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\nho<|im_end|>\n" + turn);
}

TEST(Safetensors, DamagedHeadersAreRefused) {
  const std::string good = *ReadFile(kModel + "/model.safetensors");
  const std::string path = testing::TempDir() + "/damaged.safetensors";
  Random random(9);
  for (int i = 0; i < 300; ++i) {
    std::string bad = good.substr(0, 20000);
    for (int k = 0; k < 3; ++k) bad[random.Below(i % 3 == 0 ? 16 : 12000)] = static_cast<char>(random());
    std::ofstream(path, std::ios::binary) << bad;
    (void)SafetensorsFile::Open(path);  // any answer but a crash
  }
}

}  // namespace
}  // namespace swerve
