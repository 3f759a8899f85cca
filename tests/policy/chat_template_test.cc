#include "policy/chat_template.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/files.h"
#include "base/status_matchers.h"
#include "policy/prompt_input.h"

namespace swerve {
namespace {

using Json = nlohmann::json;
using ::testing::HasSubstr;

const std::string kData = std::string(SWERVE_SOURCE_DIR) + "/tests/policy/data";

std::string EmptyDir() {
  const std::string dir = testing::TempDir() + "/chat_template";
  std::filesystem::remove_all(dir);
  std::filesystem::create_directories(dir);
  return dir;
}

// Prompts are what transformers' apply_chat_template gives (tools/make_chat_golden.py), but for the pictures' placeholders.
TEST(ChatTemplate, PromptsEqualTransformers) {
  SWERVE_ASSERT_OK_AND_ASSIGN(const auto tokenizer, Tokenizer::Load(kData + "/model"));
  const Json golden = Json::parse(*ReadFile(kData + "/chat_golden.json"));
  ASSERT_GT(golden.size(), 12u);
  for (const Json& c : golden) {
    SCOPED_TRACE(c["name"].get<std::string>());
    const std::string dir = EmptyDir();
    // Written in turn where transformers looks for it.
    ASSERT_OK(c["picture"] ? WriteFileAtomically(dir + "/tokenizer_config.json", Json{{"chat_template", c["template"]}}.dump())
                           : WriteFileAtomically(dir + "/chat_template.jinja", c["template"].get<std::string>()));
    ModelConfig config;
    config.model_type = c["model_type"];
    config.has_vision = config.model_type != "qwen2";
    config.image_token_id = tokenizer->Id("<IMG_CONTEXT>");
    SWERVE_ASSERT_OK_AND_ASSIGN(config.chat, LoadChatTemplate(dir, config.model_type));
    config.processor = {.tile = 28, .dynamic = false, .tokens_per_tile = 3};
    if (config.model_type == "qwen2_5_vl") config.processor.kind = ImageProcessorConfig::Kind::kPatches;
    const Image image{28, 28, std::vector<uint8_t>(28 * 28 * 3)};
    SWERVE_ASSERT_OK_AND_ASSIGN(std::vector<int32_t> ids, PromptIds(*tokenizer, config, c["text"].get<std::string>(), c["picture"] ? &image : nullptr));
    const auto placeholders = std::count(ids.begin(), ids.end(), config.image_token_id);
    EXPECT_EQ(placeholders > 0, c["picture"].get<bool>());
    std::erase(ids, config.image_token_id);
    EXPECT_EQ(tokenizer->Decode(ids), c["prompt"].get<std::string>());
  }
}

TEST(ChatTemplate, RefusesForeignOnesByName) {
  auto refused = [](const std::string& model_type, const std::string& text, const char* why) {
    const std::string dir = EmptyDir();
    ASSERT_OK(WriteFileAtomically(dir + "/chat_template.json", Json{{"chat_template", text}}.dump()));
    EXPECT_THAT(LoadChatTemplate(dir, model_type), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(why)));
  };
  refused("qwen2", "<|start_header_id|>{{ role }}<|end_header_id|>", "is Llama 3's; supported are InternVL's and Qwen2.5's");
  refused("qwen2", "[INST] {{ text }} [/INST]", "is Llama 2's or Mistral's");
  refused("qwen2", "{{ text }}", "is an unknown one");
  refused("qwen2_5_vl", "<|im_start|>user\n{{ text }}<|im_end|>", "has no place for pictures");
  refused("internvl", "<|im_start|>user\n{{ text }}<|im_end|>", "has no <IMG_CONTEXT>");
}

TEST(ChatTemplate, WithoutOneTheFamilysCounts) {
  const std::string dir = EmptyDir();
  EXPECT_EQ(LoadChatTemplate(dir, "qwen2_5_vl")->standing_system, "You are a helpful assistant.");
  EXPECT_EQ(LoadChatTemplate(dir, "internvl")->standing_system, "");
}

// The original repository names its template; only InternVL3's is known.
TEST(ChatTemplate, InternVlChatsOfOtherTemplatesAreRefused) {
  const std::string dir = EmptyDir();
  Json config = Json::parse(*ReadFile(kData + "/architectures/internvl_chat/config.json"));
  config["template"] = "Hermes-2";
  ASSERT_OK(WriteFileAtomically(dir + "/config.json", config.dump()));
  EXPECT_THAT(LoadModelConfig(dir), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("template = \"Hermes-2\" is not supported (only \"internvl2_5\")")));
}

}  // namespace
}  // namespace swerve
