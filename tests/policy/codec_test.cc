#include "policy/codec.h"

#include <gtest/gtest.h>

#include <string>

#include "policy/fake_engine.h"

namespace swerve {
namespace {

const char kBody[] =
    "[1.0,0.0,0.00],[2.1,-0.1,-0.01],[3.0,0,0.02],[4.0,0.0,0.03],[5.0,0.0,0.04],[6.0,0.0,0.05],[7.0,0.0,0.06],"
    "[8.0,0.5,-0.07]";

TEST(ParsePose3, ExactAsWritten) {
  Parsed p = ParsePose3("<think>a car ahead</think><answer>" + std::string(kBody) + "</answer>");
  ASSERT_EQ(p.status, v1::EXACT);
  ASSERT_EQ(p.poses.size(), 8u);
  EXPECT_DOUBLE_EQ(p.poses[1].y(), -0.1);
  EXPECT_DOUBLE_EQ(p.poses[7].heading(), -0.07);
  EXPECT_EQ(ParsePose3("<answer>" + std::string(kBody) + "</answer><|im_end|>\n").status, v1::EXACT);
}

TEST(ParsePose3, RepairsWhatCanBeRead) {
  const std::string body = kBody;
  EXPECT_EQ(ParsePose3(body).status, v1::REPAIRED);
  EXPECT_EQ(ParsePose3("<answer>" + body).status, v1::REPAIRED);
  EXPECT_EQ(ParsePose3("<answer>" + body + "</answer> done").status, v1::REPAIRED);
  EXPECT_EQ(ParsePose3("<answer>" + body + ",[9.0,0.0,0.0]</answer>").status, v1::REPAIRED);
  EXPECT_EQ(ParsePose3("<answer>x</answer><answer>" + body + "</answer>").status, v1::REPAIRED);
  EXPECT_EQ(ParsePose3("<answer> " + body + "</answer>").status, v1::REPAIRED);
  std::string spaced = body;
  for (size_t i = 0; (i = spaced.find(',', i)) != std::string::npos; i += 2) spaced.insert(i + 1, " ");
  Parsed p = ParsePose3("<answer>" + spaced + "</answer>");
  EXPECT_EQ(p.status, v1::REPAIRED);
  EXPECT_DOUBLE_EQ(p.poses[7].y(), 0.5);
}

TEST(ParsePose3, FailsWithoutATrajectory) {
  EXPECT_EQ(ParsePose3("").status, v1::FAILED);
  EXPECT_EQ(ParsePose3("<answer></answer>").status, v1::FAILED);
  EXPECT_EQ(ParsePose3("<answer>[1,2,3],[1,2,3]</answer>").status, v1::FAILED);
  std::string words = kBody;
  words.replace(words.find("7.0"), 3, "nan");
  EXPECT_EQ(ParsePose3("<answer>" + words + "</answer>").status, v1::FAILED);
  std::string huge = kBody;
  huge.replace(huge.find("7.0"), 3, std::string(400, '9'));
  EXPECT_EQ(ParsePose3("<answer>" + huge + "</answer>").status, v1::FAILED);
  EXPECT_TRUE(ParsePose3("<answer>" + huge + "</answer>").poses.empty());
  // Numbers in the think section are not an answer.
  EXPECT_EQ(ParsePose3("<think>" + std::string(kBody) + "</think><answer>[1,2").status, v1::FAILED);
}

TEST(FakeEngine, FollowsItsScript) {
  FakeEngine engine([](const Prompt& p, uint64_t seed) { return p.text + std::to_string(seed); });
  GenerateRequest request{.prompt = {.text = "q"}, .seeds = {4, 5}};
  auto results = engine.Generate({&request, 1});
  ASSERT_TRUE(results.ok());
  EXPECT_EQ((*results)[0].responses[1].text(), "q5");
  EXPECT_EQ((*results)[0].responses[1].token_ids_size(), 3);
  engine.FailNext(absl::UnavailableError("gone"));
  EXPECT_FALSE(engine.Generate({&request, 1}).ok());
  EXPECT_TRUE(engine.Generate({&request, 1}).ok());
}

}  // namespace
}  // namespace swerve
