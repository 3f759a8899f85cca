// A random InternVL of a few thousand parameters, made in a directory: enough for a trainer to learn something.
#ifndef SWERVE_TESTS_LEARNER_TINY_MODEL_H_
#define SWERVE_TESTS_LEARNER_TINY_MODEL_H_

#include <filesystem>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "absl/strings/match.h"
#include "base/files.h"
#include "base/random.h"
#include "base/status.h"
#include "policy/checkpoint.h"

namespace swerve::testing_learner {

inline constexpr int kTinyImage = 16;

// Byte-level tokenizer without merges: ids 0…255 are bytes, 256… the special tokens.
inline nlohmann::json TinyTokenizer() {
  nlohmann::json vocab = nlohmann::json::object();
  auto spell = [](int code) {
    std::string s;
    if (code < 0x80) return std::string(1, static_cast<char>(code));
    s.push_back(static_cast<char>(0xC0 | (code >> 6)));
    s.push_back(static_cast<char>(0x80 | (code & 0x3F)));
    return s;
  };
  int extra = 0;
  for (int b = 0; b < 256; ++b) {
    const bool printable = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || (b >= 174 && b <= 255);
    vocab[spell(printable ? b : 256 + extra++)] = b;
  }
  nlohmann::json added = nlohmann::json::array();
  const char* const names[] = {"<|endoftext|>", "<|im_start|>", "<|im_end|>", "<img>", "</img>", "<IMG_CONTEXT>"};
  for (int i = 0; i < 6; ++i) {
    added.push_back({{"id", 256 + i}, {"content", names[i]}, {"special", true}, {"normalized", false}});
  }
  return {{"added_tokens", added},
          {"normalizer", nullptr},
          {"pre_tokenizer", {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}}},
          {"model", {{"type", "BPE"}, {"vocab", vocab}, {"merges", nlohmann::json::array()}}}};
}

inline absl::Status MakeTinyModel(const std::string& dir, uint64_t seed) {
  const nlohmann::json config = {
      {"model_type", "internvl"},
      {"tie_word_embeddings", true},
      {"image_token_id", 261},
      {"image_seq_length", 4},
      {"text_config",
       {{"vocab_size", 262}, {"hidden_size", 16}, {"num_hidden_layers", 2}, {"num_attention_heads", 2},
        {"num_key_value_heads", 1}, {"intermediate_size", 32}, {"max_position_embeddings", 512}, {"eos_token_id", 258}}},
      {"vision_config",
       {{"hidden_size", 8}, {"num_hidden_layers", 1}, {"num_attention_heads", 1}, {"intermediate_size", 16},
        {"image_size", {kTinyImage, kTinyImage}}, {"patch_size", {4, 4}}, {"attention_bias", true}}}};
  const std::string base = dir + ".template";
  SWERVE_RETURN_IF_ERROR(MakeDirectories(base));
  SWERVE_RETURN_IF_ERROR(WriteFileAtomically(base + "/config.json", config.dump()));
  SWERVE_RETURN_IF_ERROR(WriteFileAtomically(base + "/tokenizer.json", TinyTokenizer().dump()));
  SWERVE_ASSIGN_OR_RETURN(const ModelConfig parsed, LoadModelConfig(base));
  std::vector<std::vector<float>> held;
  std::vector<NamedTensor> named;
  Random random(StreamSeed(seed, HashName("tiny model")));
  for (const auto& [name, shape] : ExpectedTensors(parsed)) {
    int64_t size = 1;
    for (int64_t s : shape) size *= s;
    const bool scale = absl::StrContains(name, "norm") || absl::StrContains(name, "lambda");
    std::vector<float> data(size);
    for (float& v : data) {
      v = static_cast<float>(scale && !absl::EndsWith(name, "bias") ? 1.0 : shape.size() > 1 ? 0.1 * random.Normal() : 0);
    }
    held.push_back(std::move(data));
    named.push_back({name, shape, held.back().data()});
  }
  return SaveCheckpoint(dir, base, parsed, named);
}

}  // namespace swerve::testing_learner

#endif  // SWERVE_TESTS_LEARNER_TINY_MODEL_H_
