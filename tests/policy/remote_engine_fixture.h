// A RemoteEngine over servers that are played in memory, with a clock that waiting moves.
#ifndef SWERVE_TESTS_POLICY_REMOTE_ENGINE_FIXTURE_H_
#define SWERVE_TESTS_POLICY_REMOTE_ENGINE_FIXTURE_H_

#include <gmock/gmock.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/status_matchers.h"
#include "policy/checkpoint.h"
#include "policy/image_file.h"
#include "policy/remote_engine.h"
#include "tests/testing/fake_http.h"
#include "tests/testing/fake_inference_server.h"

namespace swerve {

class RemoteEngineTest : public testing::TestWithParam<FakeInferenceServer::Kind> {
 protected:
  using Kind = FakeInferenceServer::Kind;
  using Asked = FakeInferenceServer::Asked;
  using Said = FakeInferenceServer::Said;
  using Json = nlohmann::json;
  static constexpr int32_t kEos = 1015;  // of the test model

  static std::string Model() { return std::string(SWERVE_SOURCE_DIR) + "/tests/policy/data/model"; }
  static std::shared_ptr<const Image> Picture() {
    const int size = Text().image_size();
    auto image = std::make_shared<Image>(Image{size, size, {}});
    for (int i = 0; i < 3 * size * size; ++i) image->rgb.push_back(static_cast<uint8_t>(i * 7));
    return image;
  }
  static const EngineText& Text() {
    static const EngineText& text = *EngineText::Load(Model(), "pose3_text", "")->release();
    return text;
  }
  static Said Says(const std::string& text, bool ends = true) {
    Said said;
    said.ids = Text().tokenizer().Encode(text);
    if (ends) said.ids.push_back(kEos);
    for (size_t i = 0; i < said.ids.size(); ++i) said.logprobs.push_back(-0.125f * static_cast<float>(i + 1));
    return said;
  }
  static Said SaysSeed(const Asked& asked) { return Says(absl::StrCat("seed ", asked.seed)); }

  FakeInferenceServer& Server(const std::string& name, FakeInferenceServer::Generator generator = SaysSeed) {
    servers_.push_back(std::make_unique<FakeInferenceServer>(kind(), std::move(generator)));
    network_->Add(name, servers_.back().get());
    options_.urls.push_back("http://" + name);
    return *servers_.back();
  }
  virtual Kind kind() const { return GetParam(); }
  bool sglang() const { return kind() == Kind::kSglang; }
  std::string Generates() const { return sglang() ? "POST /generate" : "POST /v1/completions"; }

  std::unique_ptr<RemoteEngine> Engine(bool real_time = false) {
    RemoteEngine::Parts parts;
    parts.servers = options_;
    parts.model_dir = Model();
    parts.text = *EngineText::Load(Model(), "pose3_text", "");
    parts.dialect = sglang() ? SglangDialect() : VllmDialect("");
    parts.http = network_;
    if (!real_time) parts.clock = time_.clock();
    auto engine = RemoteEngine::Make(std::move(parts));
    EXPECT_OK(engine.status());
    return *std::move(engine);
  }
  static GenerateRequest Request(std::vector<uint64_t> seeds = {1, 2, 3}) {
    return {.prompt = {.text = "speed 4.5. drive."}, .seeds = std::move(seeds), .temperature = 1.2, .max_new_tokens = 64};
  }
  static absl::StatusOr<GenerateResult> Ask(RemoteEngine& engine, const GenerateRequest& request) {
    auto results = engine.Generate({&request, 1});
    if (!results.ok()) return results.status();
    EXPECT_EQ(results->size(), 1u);
    return std::move((*results)[0]);
  }

  // Weights of their own bytes; `version` is their last byte.
  static v1::PolicyManifest Weights(int version) {
    const std::string dir = absl::StrCat(testing::TempDir(), "/remote_engine_", getpid(), "_v", version);
    std::filesystem::remove_all(dir);
    std::filesystem::copy(Model(), dir);
    std::fstream file(dir + "/model.safetensors", std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(-1, std::ios::end);
    file.put(static_cast<char>(version));
    file.close();
    v1::PolicyManifest policy;
    policy.set_version(version);
    policy.set_directory(dir);
    policy.set_checksum(*WeightsChecksum(dir));
    return policy;
  }
  std::string LabelOf(const v1::PolicyManifest& policy) const { return absl::StrCat("swerve:", options_.run, ":", policy.version(), ":", *WeightsChecksum(policy.directory())); }
  static size_t Count(const std::vector<std::string>& calls, const std::string& call) { return std::count(calls.begin(), calls.end(), call); }

  FakeTime time_;
  ServerOptions options_{.run = "run-7"};
  std::shared_ptr<FakeNetwork> network_ = std::make_shared<FakeNetwork>();
  std::vector<std::unique_ptr<FakeInferenceServer>> servers_;
};

}  // namespace swerve

#endif  // SWERVE_TESTS_POLICY_REMOTE_ENGINE_FIXTURE_H_
