// The small random models of tests/policy/data/architectures and what transformers computes with them
// (tools/make_policy_golden.py).
#ifndef SWERVE_TESTS_POLICY_ARCHITECTURES_H_
#define SWERVE_TESTS_POLICY_ARCHITECTURES_H_

#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "absl/strings/escaping.h"
#include "base/files.h"
#include "policy/image_file.h"
#include "policy/prompt_input.h"

namespace swerve::testing_policy {

inline std::string ArchitecturesDir() { return std::string(SWERVE_SOURCE_DIR) + "/tests/policy/data/architectures"; }
inline const std::vector<std::string>& ArchitectureNames() {
  static const auto* const names = new std::vector<std::string>{"qwen2", "qwen2_sharded", "internvl", "internvl_plain", "internvl_chat", "qwen2_5_vl", "qwen2_5_vl_flat"};
  return *names;
}

struct GoldenCase {
  std::vector<int32_t> ids, greedy;
  std::vector<std::shared_ptr<const ProcessedImage>> images;
  std::vector<double> logprobs;
  std::vector<float> last_logits;
};

inline nlohmann::json ArchitectureGolden(const std::string& name) {
  return nlohmann::json::parse(*ReadFile(ArchitecturesDir() + "/golden.json"))[name];
}

inline std::vector<GoldenCase> CasesOf(const std::string& name, const ModelConfig& config) {
  std::vector<GoldenCase> out;
  const nlohmann::json golden = ArchitectureGolden(name);
  for (const auto& c : golden.at("cases")) {
    GoldenCase& g = out.emplace_back();
    g.ids = c["ids"].get<std::vector<int32_t>>(), g.greedy = c["greedy"].get<std::vector<int32_t>>();
    g.logprobs = c["logprobs"].get<std::vector<double>>();
    for (const auto& file : c["images"]) {
      g.images.push_back(std::make_shared<const ProcessedImage>(*VisionInput(config, *ReadImage(ArchitecturesDir() + "/" + file.get<std::string>()))));
    }
    std::string bytes;
    absl::Base64Unescape(c["last_logits"].get<std::string>(), &bytes);
    g.last_logits.resize(bytes.size() / 4);
    std::memcpy(g.last_logits.data(), bytes.data(), bytes.size());
  }
  return out;
}

}  // namespace swerve::testing_policy

#endif  // SWERVE_TESTS_POLICY_ARCHITECTURES_H_
