#include "policy/tokenizer.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/files.h"
#include "base/status_matchers.h"

namespace swerve {
namespace {

using Json = nlohmann::json;
using Ids = std::vector<int32_t>;

const Json& Golden() {  // tools/tokenizer_diff.py --golden
  static const Json json = Json::parse(*ReadFile(std::string(SWERVE_SOURCE_DIR) + "/tests/policy/data/tokenizer_golden.json"));
  return json;
}

TEST(TokenizerGolden, EqualsThePackageInManyScripts) {
  SWERVE_ASSERT_OK_AND_ASSIGN(auto tokenizer, Tokenizer::FromJson(Golden()["tokenizer"].dump()));
  for (const Json& c : Golden()["cases"]) {
    EXPECT_EQ(tokenizer->Encode(c["text"].get<std::string>()), c["ids"].get<Ids>()) << c["text"];
    EXPECT_EQ(tokenizer->Decode(c["ids"].get<Ids>()), c["decoded"].get<std::string>()) << c["text"];
  }
}

TEST(TokenizerGolden, BytesThatAreNotUtf8BecomeReplacementCharacters) {
  SWERVE_ASSERT_OK_AND_ASSIGN(auto tokenizer, Tokenizer::FromJson(Golden()["tokenizer"].dump()));
  EXPECT_EQ(tokenizer->Encode("a\xff" "b"), tokenizer->Encode("a\uFFFD" "b"));
  EXPECT_EQ(tokenizer->Encode("\xe4\xb8"), tokenizer->Encode("\uFFFD"));                    // one per cut-off sequence
  EXPECT_EQ(tokenizer->Encode("\xed\xa0\x80"), tokenizer->Encode("\uFFFD\uFFFD\uFFFD"));  // surrogates: one per byte
}

TEST(TokenizerGolden, LongRunsStayWholeAndCheap) {
  SWERVE_ASSERT_OK_AND_ASSIGN(auto tokenizer, Tokenizer::FromJson(Golden()["tokenizer"].dump()));
  // A megabyte that the pre-tokeniser cannot cut: what is quadratic would take minutes.
  for (const char* unit : {"a", "!", " ", "\u4e2d", "ab", "\n"}) {
    std::string text;
    while (text.size() < 1 << 20) text += unit;
    const Ids ids = tokenizer->Encode(text);
    EXPECT_EQ(tokenizer->Decode(ids), text) << unit;
  }
}

}  // namespace
}  // namespace swerve
