#include "policy/codec.h"

#include <cmath>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "base/config.h"
#include "base/random.h"
#include "base/status_matchers.h"
#include "policy/fake_engine.h"
#include "policy/trajectory.h"
#include "tests/testing/codebook.h"

namespace swerve {
namespace {

const char kBody[] =
    "[1.0,0.0,0.00],[2.1,-0.1,-0.01],[3.0,0,0.02],[4.0,0.0,0.03],[5.0,0.0,0.04],[6.0,0.0,0.05],[7.0,0.0,0.06],"
    "[8.0,0.5,-0.07]";

TEST(PoseText, ExactAsWritten) {
  Parsed p = PoseTextCodec().Parse("<think>a car ahead</think><answer>" + std::string(kBody) + "</answer>");
  ASSERT_EQ(p.status, v1::EXACT);
  ASSERT_EQ(p.poses.size(), 8u);
  EXPECT_DOUBLE_EQ(p.poses[1].y(), -0.1);
  EXPECT_DOUBLE_EQ(p.poses[7].heading(), -0.07);
  EXPECT_EQ(PoseTextCodec().Parse("<answer>" + std::string(kBody) + "</answer><|im_end|>\n").status, v1::EXACT);
}

TEST(PoseText, RepairsWhatCanBeRead) {
  const std::string body = kBody;
  EXPECT_EQ(PoseTextCodec().Parse(body).status, v1::REPAIRED);
  EXPECT_EQ(PoseTextCodec().Parse("<answer>" + body).status, v1::REPAIRED);
  EXPECT_EQ(PoseTextCodec().Parse("<answer>" + body + "</answer> done").status, v1::REPAIRED);
  EXPECT_EQ(PoseTextCodec().Parse("<answer>" + body + ",[9.0,0.0,0.0]</answer>").status, v1::REPAIRED);
  EXPECT_EQ(PoseTextCodec().Parse("<answer>x</answer><answer>" + body + "</answer>").status, v1::REPAIRED);
  EXPECT_EQ(PoseTextCodec().Parse("<answer> " + body + "</answer>").status, v1::REPAIRED);
  std::string spaced = body;
  for (size_t i = 0; (i = spaced.find(',', i)) != std::string::npos; i += 2) spaced.insert(i + 1, " ");
  Parsed p = PoseTextCodec().Parse("<answer>" + spaced + "</answer>");
  EXPECT_EQ(p.status, v1::REPAIRED);
  EXPECT_DOUBLE_EQ(p.poses[7].y(), 0.5);
}

TEST(PoseText, FailsWithoutATrajectory) {
  EXPECT_EQ(PoseTextCodec().Parse("").status, v1::FAILED);
  EXPECT_EQ(PoseTextCodec().Parse("<answer></answer>").status, v1::FAILED);
  EXPECT_EQ(PoseTextCodec().Parse("<answer>[1,2,3],[1,2,3]</answer>").status, v1::FAILED);
  std::string words = kBody;
  words.replace(words.find("7.0"), 3, "nan");
  EXPECT_EQ(PoseTextCodec().Parse("<answer>" + words + "</answer>").status, v1::FAILED);
  std::string huge = kBody;
  huge.replace(huge.find("7.0"), 3, std::string(400, '9'));
  EXPECT_EQ(PoseTextCodec().Parse("<answer>" + huge + "</answer>").status, v1::FAILED);
  EXPECT_TRUE(PoseTextCodec().Parse("<answer>" + huge + "</answer>").poses.empty());
  // Numbers in the think section are not an answer.
  EXPECT_EQ(PoseTextCodec().Parse("<think>" + std::string(kBody) + "</think><answer>[1,2").status, v1::FAILED);
}

using ::testing::HasSubstr;

std::shared_ptr<const Codec> Make(const std::string& name) {
  return *CreateCodec(name, name == "codebook" ? testing_policy::WriteCodebook(testing::TempDir() + "/codebook.safetensors") : "");
}

// What a car drives: arcs of half a second, speed and curvature that change from one to the next.
std::vector<v1::Pose> Drive(Random& random) {
  std::vector<v1::Pose> poses;
  double speed = random.Uniform(0, 18), curvature = random.Uniform(-0.03, 0.03);
  v1::Pose at = MakePose(0, 0, 0);
  for (int i = 0; i < kPoses; ++i) {
    poses.push_back(at = Chain(at, ArcMotion(speed * 0.5, speed * 0.5 * curvature)));
    speed = std::clamp(speed + random.Uniform(-1.5, 1.5), 0.0, 20.0);
    curvature = std::clamp(curvature + random.Uniform(-0.01, 0.01), -0.05, 0.05);
  }
  return poses;
}

struct Errors {
  double metres = 0, radians = 0;
};
Errors Compare(const std::vector<v1::Pose>& a, const std::vector<v1::Pose>& b, size_t n) {
  Errors worst;
  for (size_t i = 0; i < n; ++i) {
    worst.metres = std::max(worst.metres, std::max(std::abs(a[i].x() - b[i].x()), std::abs(a[i].y() - b[i].y())));
    worst.radians = std::max(worst.radians, std::abs(WrapHeading(a[i].heading() - b[i].heading())));
  }
  return worst;
}

// The precisions that policy/codec.h states; headings of points without one as far as the way between them tells.
TEST(Codecs, WhatIsWrittenIsReadWithinTheStatedPrecision) {
  struct Case {
    const char* name;
    double metres, radians;
    size_t poses = kPoses;
  };
  for (const Case& c : {Case{"pose3_text", 0.0501, 0.00501}, {"xy_text", 0.00501, 0.06}, {"xy_parenthesised", 0.00501, 0.06, 6},
                        {"json_traj", 0.00501, 0.00501}, {"codebook", 0.5, 0.1}, {"speed_curvature", 0.02, 0.01}}) {
    SCOPED_TRACE(c.name);
    const auto codec = Make(c.name);
    EXPECT_EQ(codec->name(), c.name);
    Random random(7);
    for (int i = 0; i < 300; ++i) {
      const std::vector<v1::Pose> plan = Drive(random);
      const std::string answer = codec->Answer(plan);
      const Parsed parsed = codec->Parse("<think>[1, 2], (3, 4), <action_5>, no</think><answer>" + answer + "</answer><|im_end|>\n");
      ASSERT_EQ(parsed.status, v1::EXACT) << answer;
      ASSERT_EQ(parsed.poses.size(), 8u);
      const Errors errors = Compare(parsed.poses, plan, c.poses);
      ASSERT_LE(errors.metres, c.metres) << i << " " << answer;
      ASSERT_LE(errors.radians, c.radians) << i << " " << answer;
      // What was read is written the same again, and read the same.
      const Parsed again = codec->Parse("<answer>" + codec->Answer(parsed.poses) + "</answer>");
      ASSERT_EQ(again.status, v1::EXACT);
      ASSERT_LE(Compare(again.poses, parsed.poses, c.poses).metres, c.metres);
    }
  }
}

// Whatever is done to a good response, a codec gives eight finite poses or none, and never calls it exact with words in it.
TEST(Codecs, DamageIsRepairedOrRefused) {
  for (const std::string& name : CodecNames()) {
    SCOPED_TRACE(name);
    const auto codec = Make(name);
    Random random(11);
    int counts[4] = {};
    for (int i = 0; i < 800; ++i) {
      std::string text = "<think>lead none.</think><answer>" + codec->Answer(Drive(random)) + "</answer>";
      const size_t answer = text.find("<answer>") + 8;
      for (uint64_t k = random.Below(4); k > 0; --k) {
        const size_t at = answer + random.Below(text.size() - answer);
        const std::string junk[] = {"", " ", "steer", "\n", "[", ")", "99", std::string(400, '8'), "\xff"};
        text.replace(at, random.Below(3), junk[random.Below(9)]);
      }
      const Parsed parsed = codec->Parse(text);
      ++counts[parsed.status];
      ASSERT_EQ(parsed.poses.size(), parsed.status == v1::FAILED ? 0u : 8u);
      for (const v1::Pose& p : parsed.poses) ASSERT_TRUE(std::isfinite(p.x()) && std::isfinite(p.y()) && std::isfinite(p.heading())) << text;
      const bool words = absl::StrContains(text.substr(answer), "steer");
      ASSERT_FALSE(words && parsed.status == v1::EXACT) << text;
    }
    EXPECT_GT(counts[v1::EXACT], 100);
    EXPECT_GT(counts[v1::REPAIRED], 50);
    // xy_parenthesised makes do with one point.
    EXPECT_GT(counts[v1::FAILED] + counts[v1::REPAIRED], 400);
  }
}

TEST(XyText, PointsFaceAlongTheWay) {
  const auto codec = Make("xy_text");
  // A standing car keeps its heading, one that backs up faces forward.
  const Parsed standing = codec->Parse("[0.00, 0.00], [0.01, 0.00], [0.00, 0.01], [0.00, 0.00], [0.00, 0.00], [0.00, 0.00]");
  ASSERT_EQ(standing.status, v1::EXACT);  // Impromptu's own form: no tags
  for (const v1::Pose& p : standing.poses) EXPECT_EQ(p.heading(), 0);
  const Parsed back = codec->Parse("[-1, 0], [-2, 0], [-3, 0], [-4, 0], [-5, 0], [-6, 0], [-7, 0], [-8, 0]");
  ASSERT_EQ(back.status, v1::EXACT);
  for (const v1::Pose& p : back.poses) EXPECT_NEAR(p.heading(), 0, 1e-12);
  // A quarter circle of radius 10 to the left in eight steps.
  std::string text;
  for (int i = 1; i <= 8; ++i) {
    const double a = M_PI / 16 * i;
    text += (i > 1 ? ", [" : "[") + std::to_string(10 * std::sin(a)) + ", " + std::to_string(10 - 10 * std::cos(a)) + "]";
  }
  const Parsed turn = codec->Parse("<answer>" + text + "</answer>");
  ASSERT_EQ(turn.status, v1::EXACT);
  for (int i = 0; i < 8; ++i) EXPECT_NEAR(turn.poses[i].heading(), M_PI / 16 * (i + 1), 1e-5);
}

TEST(XyText, SixPointsGoOnAsTheyMovedAndTenAreCut) {
  const auto codec = Make("xy_text");
  const Parsed six = codec->Parse("[1, 0], [2, 0], [3, 0], [4, 0], [5, 0], [7, 0]");
  ASSERT_EQ(six.status, v1::EXACT);
  EXPECT_DOUBLE_EQ(six.poses[6].x(), 9);
  EXPECT_DOUBLE_EQ(six.poses[7].x(), 11);
  const Parsed ten = codec->Parse("[1, 0], [2, 0], [3, 0], [4, 0], [5, 0], [6, 0], [7, 0], [8, 0], [9, 0], [10, 0]");
  ASSERT_EQ(ten.status, v1::EXACT);
  EXPECT_DOUBLE_EQ(ten.poses[7].x(), 8);
  EXPECT_EQ(codec->Parse("[1, 0], [2, 0], [3, 0], [4, 0], [5, 0], [6, 0], [7, 0]").status, v1::REPAIRED);
  EXPECT_EQ(codec->Parse("[1, 0], [2, 0], [3, 0], [4, 0], [5, 0]").status, v1::FAILED);
}

TEST(XyParenthesised, IsOfItsOwnFrameAndPadsAsItsSourceDoes) {
  const auto codec = Make("xy_parenthesised");
  const Parsed p = codec->Parse("<traj_start>[(-0.5,2.0),(-1.0,4.0),(-1.5,6.0),(-2.0,8.0),(-2.5,10.0),(-3.0,12.0)]<traj_end>");
  ASSERT_EQ(p.status, v1::EXACT);
  EXPECT_DOUBLE_EQ(p.poses[0].x(), 2);
  EXPECT_DOUBLE_EQ(p.poses[0].y(), 0.5);  // left
  EXPECT_NEAR(p.poses[3].heading(), std::atan2(0.5, 2), 1e-9);
  EXPECT_NEAR(p.poses[7].y(), 4.0, 1e-9);
  const Parsed padded = codec->Parse("The plan: [(0.0,2.0),(0.0,4.0");
  ASSERT_EQ(padded.status, v1::REPAIRED);
  EXPECT_DOUBLE_EQ(padded.poses[7].x(), 2);
  EXPECT_EQ(codec->Parse("[]").status, v1::FAILED);
}

TEST(JsonTraj, ReadsBothFamiliesOfAnswers) {
  const auto codec = Make("json_traj");
  const Parsed curious = codec->Parse(R"({"critical_objects": {"car": "yes [1, 2, 3]"}, "explanation": "clear", "meta_behaviour": "keep",
    "future_trajectory": "[PT, (+1.00, +0.00, +0.00), (+2.00, +0.10, +0.01), (+3.00, -0.10, -0.01), (+4.00, +0.00, +0.00), (+5.00, +0.00, +0.00), (+6.00, +0.00, +0.00), (+7.00, +0.00, +0.00), (+8.00, +0.00, +0.00)]"})");
  ASSERT_EQ(curious.status, v1::EXACT);
  EXPECT_DOUBLE_EQ(curious.poses[2].y(), -0.1);
  std::string items;
  for (int i = 1; i <= 6; ++i) items += (i > 1 ? "," : "") + absl::StrFormat(R"({"label":"%.1fs","x_y_radian":[%d.5,0.1,0.02]})", 0.5 * i, i);
  const Parsed p3 = codec->Parse("<perception>[]</perception><prediction>[]</prediction><planning>[" + items + "]</planning>");
  ASSERT_EQ(p3.status, v1::EXACT);
  EXPECT_DOUBLE_EQ(p3.poses[1].x(), 2.5);
  // Cut off, or with times that are none of the horizon's: read, but not exact.
  EXPECT_EQ(codec->Parse("<planning>[" + items).status, v1::REPAIRED);
  EXPECT_EQ(codec->Parse("[" + absl::StrReplaceAll(items, {{"2.0s", "9.0s"}}) + "]").status, v1::REPAIRED);
  EXPECT_EQ(codec->Parse(R"({"plan": [[1,2,3]]})").status, v1::FAILED);
  EXPECT_EQ(codec->Parse(std::string(100000, '[')).status, v1::FAILED);
}

TEST(Codebook, ChainsMotionsAndFindsTheNearest) {
  const auto codec = Make("codebook");
  // Token i of the test's book: speed i / kCurvatures / 2 m/s, curvature by i % kCurvatures.
  const int straight = testing_policy::kCurvatures / 2;
  auto token = [&](int speed, int curvature) { return absl::StrCat("<action_", speed * testing_policy::kCurvatures + curvature, ">"); };
  std::string text;
  for (int i = 0; i < 8; ++i) text += token(20, straight);
  const Parsed p = codec->Parse("<answer>" + text + "</answer>");
  ASSERT_EQ(p.status, v1::EXACT);
  EXPECT_NEAR(p.poses[7].x(), 40, 1e-4);  // 10 m/s for 4 s
  EXPECT_EQ(codec->Answer(p.poses), text);
  EXPECT_EQ(codec->Parse("The action is: " + text).status, v1::REPAIRED);
  EXPECT_EQ(codec->Parse(text + "<action_2048>").status, v1::REPAIRED);  // the book ends at 2047
  EXPECT_EQ(codec->Parse(token(1, 1) + token(1, 1)).status, v1::FAILED);
}

TEST(Codebook, RefusesFilesByWhatIsWrong) {
  const std::string path = testing::TempDir() + "/bad.safetensors";
  auto refused = [&](const std::vector<int64_t>& shape, std::vector<float> values, const char* dtype, const char* why) {
    ASSERT_OK(WriteSafetensors(path, {{{"codebook", shape, values.data(), dtype}}}));
    EXPECT_THAT(CreateCodec("codebook", path).status(), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(why)));
  };
  refused({2, 3}, std::vector<float>(6), "F32", "has shape [2, 3]");
  refused({65537, 6, 3}, std::vector<float>(65537 * 18), "F32", "holds 65537 tokens, not 1 to 65536");
  refused({1, 6, 4, 2}, std::vector<float>(48), "F32", "token 0 has a box without a length");
  refused({1, 6, 3}, std::vector<float>(18, NAN), "F32", "the motion of token 0");
  refused({1, 6, 3}, std::vector<float>(18), "I32", "has dtype I32");
  EXPECT_THAT(CreateCodec("codebook", testing::TempDir() + "/absent").status(), StatusIs(absl::StatusCode::kNotFound, testing::_));
  EXPECT_THAT(CreateCodec("codebook").status(), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("needs a file")));
}

TEST(CreateCodec, KnowsTheNamesThatAConfigurationMayHave) {
  for (const std::string& name : CodecNames()) {
    std::vector<std::string> set = {"policy.codec=" + name};
    if (name == "codebook") set.push_back("policy.codebook=book.safetensors");
    EXPECT_OK(LoadRunConfig("", set).status()) << name;
  }
  EXPECT_THAT(CreateCodec("xyz").status(), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("pose3_text, xy_text, xy_parenthesised, json_traj, codebook, speed_curvature")));
  EXPECT_THAT(CreateCodec("xy_text", "book").status(), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("of the codec codebook alone")));
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
