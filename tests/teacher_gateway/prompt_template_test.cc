#include "teacher_gateway/prompt_template.h"

#include <gmock/gmock.h>

#include "base/files.h"
#include "base/status_matchers.h"

namespace swerve {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

TemplateValues Values() {
  return {"turn left", "base", "answer {facts}", "gt", "summary", "scores", "hit", "0.8"};
}

TEST(PromptTemplateTest, TheShippedOnesAreTheFilesAndNameEverythingTheTeacherNeeds) {
  const std::string dir = std::string(SWERVE_SOURCE_DIR) + "/deploy/teachers/";
  SWERVE_ASSERT_OK_AND_ASSIGN(const PromptTemplate failed, PromptTemplate::Read(dir + "failed.txt"));
  SWERVE_ASSERT_OK_AND_ASSIGN(const PromptTemplate correct, PromptTemplate::Read(dir + "correct.txt"));
  EXPECT_EQ(failed.hash(), PromptTemplate::ShippedFailed().hash());
  EXPECT_EQ(correct.hash(), PromptTemplate::ShippedCorrect().hash());
  EXPECT_NE(failed.hash(), correct.hash());
  EXPECT_EQ(failed.hash().size(), 16u);
  const std::string user = failed.User({"<1>", "<2>", "<3>", "<4>", "<5>", "<6>", "<7>", "<8>"});
  for (const char* value : {"<1>", "<2>", "<3>", "<4>", "<5>", "<6>", "<7>", "<8>"}) EXPECT_THAT(user, HasSubstr(value));
  EXPECT_THAT(failed.System(Values()), AllOf(HasSubstr("\"correction\": {\"lateral\""), Not(HasSubstr("{{"))));
}

TEST(PromptTemplateTest, BracesInsideAValueStay) {
  SWERVE_ASSERT_OK_AND_ASSIGN(const PromptTemplate t,
                              PromptTemplate::Parse("version: 7\n## system\ns\n## user\n{response} {{x}}\n", "t"));
  EXPECT_EQ(t.User(Values()), "answer {facts} {x}");
  EXPECT_EQ(t.version(), "7");
}

TEST(PromptTemplateTest, EveryWordCountsInTheHash) {
  SWERVE_ASSERT_OK_AND_ASSIGN(const auto a, PromptTemplate::Parse("version: 1\n## system\ns\n## user\nu", "t"));
  SWERVE_ASSERT_OK_AND_ASSIGN(const auto b, PromptTemplate::Parse("version: 1\n## system\ns\n## user\nv", "t"));
  EXPECT_NE(a.hash(), b.hash());
}

TEST(PromptTemplateTest, WhatIsWrongIsNamedWithItsLine) {
  const auto refused = [](const std::string& text, const std::string& part) {
    EXPECT_THAT(PromptTemplate::Parse(text, "t.txt").status(), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(part)))
        << text;
  };
  refused("## system\ns\n## user\nu", "t.txt:1: has no version");
  refused("version: 1\nhello\n## system\ns\n## user\nu", "t.txt:2: expected");
  refused("version: 1\n## system\ns\n", "needs a section");
  refused("version: 1\n## system\ns\n## user\n\n", "t.txt:5: the section is empty");
  refused("version: 1\n## user\nu\n## user\nv\n## system\ns", "t.txt:4: the section \"## user\" is there twice");
  refused("version: 1\n## system\ns\n## user\na\nsay {respons}\n", "t.txt:6: unknown field {respons}; known are command");
  refused("version: 1\n## system\ns}\n## user\nu\n", "t.txt:3: a lone }");
  refused("version: 1\n## system\ns {\n## user\nu\n", "t.txt:3: unknown field {}");
  refused("", "has no version");
  EXPECT_THAT(PromptTemplate::Read("/no/such.txt").status(), StatusIs(absl::StatusCode::kNotFound, HasSubstr("/no/such.txt")));
}

}  // namespace
}  // namespace swerve
