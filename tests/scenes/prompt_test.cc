#include "scenes/prompt.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "absl/strings/str_split.h"
#include "tests/scenes/test_scenes.h"

namespace swerve {
namespace {

TestSceneBuilder Busy() {
  TestSceneBuilder b;
  // Rear bumper of the lead: 24 - 2.25 = 21.75; minus 4.049 of the ego's nose = 17.7 m.
  b.AddObject("lead", v1::VEHICLE, 4.5, 1.9, 24, 0.2, 6, 0, 2.0);
  b.AddObject("ped", v1::PEDESTRIAN, 0.6, 0.6, 30, 4, 0, -1.5);
  b.AddObject("far", v1::VEHICLE, 4.5, 1.9, 45, 0, 6, 0);
  return b;
}

TEST(Prompt, BaseTextIsExact) {
  EXPECT_EQ(BasePromptText(Busy().scene),
            "command move forward. speed 8.0 accel 0.0. past [-12.0,0.0,0.00],[-8.0,0.0,0.00],[-4.0,0.0,0.00]. drive.");
}

TEST(Prompt, ResponseTextIsExact) {
  EXPECT_EQ(GtResponseText(Busy().scene),
            "<think>lead vehicle 18 m ahead speed 6.0 braking. merge none. crossing pedestrian 26 m left moving right. "
            "plan maintain, keep.</think><answer>[4.0,0.0,0.00],[8.0,0.0,0.00],[12.0,0.0,0.00],[16.0,0.0,0.00],"
            "[20.0,0.0,0.00],[24.0,0.0,0.00],[28.0,0.0,0.00],[32.0,0.0,0.00]</answer>");
}

TEST(Prompt, EmptyRoadSaysNone) {
  TestSceneBuilder b;
  EXPECT_EQ(ThinkText(b.scene, {}), "lead none. merge none. interaction none. plan stop, keep.");
}

TEST(Prompt, FeedbackTextKeepsTheResponseVerbatim) {
  TestSceneBuilder b;
  EXPECT_EQ(FeedbackPromptText(b.scene, "<think>x</think>", "too fast."),
            BasePromptText(b.scene) + "\nprevious answer: <think>x</think>\nfeedback: too fast.\nanswer again.");
}

TEST(Prompt, NegativeZeroIsWrittenAsZero) {
  v1::Pose p;
  SetPose(&p, -0.04, -0.0, -0.004);
  EXPECT_EQ(AnswerText({&p, 1}), "[0.0,0.0,0.00]");
}

TEST(Prompt, ThinkIsShortLowerCaseAscii) {
  std::string think = ThinkText(Busy().scene, {});
  EXPECT_LE(std::vector<std::string>(absl::StrSplit(think, ' ')).size(), 45u);
  for (char c : think) EXPECT_TRUE(c >= ' ' && c < 127 && !(c >= 'A' && c <= 'Z')) << c;
}

TEST(Prompt, ReadThinkIsTheInverse) {
  ThinkClaims c = ReadThink(GtResponseText(Busy().scene));
  ASSERT_TRUE(c.lead && c.merge && c.interaction && c.plan);
  EXPECT_EQ(c.lead->type, "vehicle");
  EXPECT_EQ(c.lead->distance, 18);
  EXPECT_EQ(c.lead->speed, 6.0);
  EXPECT_EQ(c.merge->type, "");
  EXPECT_EQ(c.interaction->type, "pedestrian");
  EXPECT_EQ(c.interaction->distance, 26);
  EXPECT_EQ(*c.plan, (MetaAction{"maintain", "keep"}));
  EXPECT_EQ(ReadThink("<think>garbage plan fly, high.").plan, std::nullopt);
}

std::vector<v1::Pose> Plan(double speed, double end_speed, double lateral, double turn) {
  std::vector<v1::Pose> out;
  double x = 0;
  for (int i = 1; i <= 8; ++i) {
    x += 0.5 * (speed + (end_speed - speed) * i / 8.0);
    SetPose(&out.emplace_back(), x, lateral * i / 8.0, turn * i / 8.0);
  }
  return out;
}

TEST(MetaAction, LongitudinalAndLateral) {
  v1::Scene s = TestSceneBuilder().scene;
  EXPECT_EQ(MetaActionOf(s, Plan(8, 8, 0, 0)), (MetaAction{"maintain", "keep"}));
  EXPECT_EQ(MetaActionOf(s, Plan(8, 11, 0, 0)), (MetaAction{"accelerate", "keep"}));
  EXPECT_EQ(MetaActionOf(s, Plan(8, 4, 0, 0)), (MetaAction{"decelerate", "keep"}));
  EXPECT_EQ(MetaActionOf(s, Plan(8, 0, 0, 0)), (MetaAction{"stop", "keep"}));
  EXPECT_EQ(MetaActionOf(s, Plan(8, 8, 3.5, 0)), (MetaAction{"maintain", "change left"}));
  EXPECT_EQ(MetaActionOf(s, Plan(8, 8, -3.5, 0)), (MetaAction{"maintain", "change right"}));
  EXPECT_EQ(MetaActionOf(s, Plan(8, 8, 0, 0.5)).lateral, "turn left");
  EXPECT_EQ(MetaActionOf(s, Plan(8, 8, 0, -0.5)).lateral, "turn right");
}

TEST(MetaAction, FollowingACurvedCentreLineKeeps) {
  TestSceneBuilder b;
  b.scene.mutable_resolved_v1()->clear_centerline();
  std::vector<v1::Pose> plan;
  for (int i = -2; i <= 60; ++i)  // radius 200 m
    *b.scene.mutable_resolved_v1()->add_centerline() =
        b.Global(200 * std::sin(i * 0.01), 200 * (1 - std::cos(i * 0.01)), i * 0.01);
  for (int i = 1; i <= 8; ++i) SetPose(&plan.emplace_back(), 200 * std::sin(i * 0.02), 200 * (1 - std::cos(i * 0.02)), i * 0.02);
  EXPECT_GT(plan.back().y(), 2.0);
  EXPECT_EQ(MetaActionOf(b.scene, plan).lateral, "keep");
}

TEST(CriticalObjects, MergingOncomingAndStatic) {
  TestSceneBuilder b;
  b.AddObject("merger", v1::VEHICLE, 4.5, 1.9, 10, 3.5, 8, -0.9);
  b.AddObject("beside", v1::VEHICLE, 4.5, 1.9, 20, 3.5, 8, 0);
  b.AddObject("opposite", v1::VEHICLE, 4.5, 1.9, 40, 3.5, -8, 0);
  b.AddObject("cone", v1::TRAFFIC_CONE, 0.4, 0.4, 15, 0.5, 0, 0);
  b.AddObject("behind", v1::VEHICLE, 4.5, 1.9, -12, 0, 8, 0);
  std::vector<std::string> got;
  for (const SceneObject& o : CriticalObjects(b.scene)) got.push_back(o.role + " " + o.token);
  EXPECT_EQ(got, (std::vector<std::string>{"merging merger", "oncoming opposite", "static cone"}));
}

TEST(SceneQuestions, AnswersAreExact) {
  std::vector<QuestionAnswer> qa = SceneQuestions(Busy().scene);
  ASSERT_EQ(qa.size(), 6u);
  EXPECT_EQ(qa[0].answer, "road 5 m left 2 m right 50 m ahead.");
  EXPECT_EQ(qa[1].answer, "lead vehicle 18 m ahead speed 6.0 braking.");
  EXPECT_EQ(qa[4].question, "command move forward. speed 8.0 accel 0.0. what is the plan?");
  EXPECT_EQ(qa[4].answer, "plan maintain, keep.");
  EXPECT_EQ(qa[5].question, "who is around?");
}

TEST(SceneQuestions, WhoIsAroundIsListedNearestFirstAndOnlyWithinThePicture) {
  TestSceneBuilder b;
  b.AddObject("far", v1::VEHICLE, 4.5, 1.9, 80, 0, 0, 0);
  b.AddObject("second", v1::PEDESTRIAN, 0.6, 0.6, 20.4, -5.6, 0, 1);
  b.AddObject("first", v1::VEHICLE, 4.5, 1.9, -6, 3.4, 8, 0);
  EXPECT_EQ(SceneQuestions(b.scene)[5].answer, "around vehicle at -6 m, 3 m left. pedestrian at 20 m, 6 m right.");
  for (int i = 0; i < 9; ++i) b.AddObject("more" + std::to_string(i), v1::TRAFFIC_CONE, 0.4, 0.4, 3 + i, 1, 0, 0);
  const std::string many = SceneQuestions(b.scene)[5].answer;
  EXPECT_EQ(std::count(many.begin(), many.end(), '.'), 6);
  EXPECT_EQ(SceneQuestions(TestSceneBuilder().scene)[5].answer, "around none.");
}

}  // namespace
}  // namespace swerve
