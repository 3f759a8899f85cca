// The numbers of `swerve eval`: their arithmetic, and what they say about scripted policies.
#include "evaluation/eval.h"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/files.h"
#include "base/status_matchers.h"
#include "evaluation/eval_json.h"
#include "policy/fake_engine.h"
#include "scenes/prompt.h"
#include "tests/evaluation/test_scene.h"

namespace swerve {
namespace {

using ::testing::Contains;
using ::testing::DoubleNear;
using ::testing::HasSubstr;

SceneResult Result(const std::string& family, double pdms, bool failed) {
  SceneResult r;
  r.family = family;
  r.greedy.set_pdms(pdms);
  r.greedy.set_nc(pdms > 0);
  r.greedy.set_ep(pdms / 2);
  r.format_ok = pdms > 0.5;
  r.planning_ok = pdms > 0.7;
  r.total_failure = failed;
  return r;
}

TEST(Summarise, AveragesByFamily) {
  const std::vector<SceneResult> scenes = {Result("a", 1, false), Result("a", 0, true), Result("b", 0.6, false),
                                           Result("b", 0.8, false)};
  const EvalResult result = SummariseByFamily(scenes, 0);
  EXPECT_EQ(result.overall.scenes, 4);
  EXPECT_DOUBLE_EQ(result.overall.pdms, 0.6);
  EXPECT_DOUBLE_EQ(result.overall.total_failure_ratio, 0.25);
  EXPECT_DOUBLE_EQ(result.overall.nc, 0.75);
  EXPECT_DOUBLE_EQ(result.overall.ep, 0.3);
  EXPECT_DOUBLE_EQ(result.overall.format_ok, 0.75);
  EXPECT_DOUBLE_EQ(result.overall.planning_accuracy, 0.5);
  EXPECT_DOUBLE_EQ(result.families.at("a").total_failure_ratio, 0.5);
  EXPECT_DOUBLE_EQ(result.families.at("b").pdms, 0.7);
  EXPECT_EQ(Summarise({}, 0).scenes, 0);
}

TEST(Summarise, IntervalCoversTheMeanAndMatchesTheNormalOne) {
  std::vector<SceneResult> scenes;
  for (int i = 0; i < 400; ++i) scenes.push_back(Result("a", i % 2, false));
  const EvalSummary s = Summarise(scenes, 7);
  const double half = 1.96 * 0.5 / 20;  // sd / sqrt(n)
  EXPECT_THAT(s.pdms_ci95[0], DoubleNear(0.5 - half, 0.01));
  EXPECT_THAT(s.pdms_ci95[1], DoubleNear(0.5 + half, 0.01));
  EXPECT_EQ(Summarise(scenes, 7).pdms_ci95, s.pdms_ci95);
}

class EvaluateTest : public testing::Test {
 protected:
  void SetUp() override {
    const std::string dir = testing::TempDir() + "/eval_scenes";
    std::filesystem::remove_all(dir);
    SWERVE_ASSERT_OK_AND_ASSIGN(auto writer, SceneWriter::Create(dir));
    for (int i = 0; i < 6; ++i) {
      scenes_.push_back(MakeTestScene(absl::StrCat("s", i), i < 4 ? "free" : "lead", 8 + 0.1 * i, i < 4 ? 0 : 30));
      ASSERT_OK(writer->Add(scenes_.back()));
    }
    ASSERT_OK(writer->Finish());
    SWERVE_ASSERT_OK_AND_ASSIGN(store_, SceneStore::Open({dir}));
  }

  const v1::Scene& SceneOf(const Prompt& prompt) const {
    return *std::find_if(scenes_.begin(), scenes_.end(),
                         [&](const v1::Scene& s) { return BasePromptText(s) == prompt.text; });
  }
  // Straight on at the present speed, whatever stands there.
  std::string Blind(const v1::Scene& scene) const {
    std::vector<v1::Pose> plan(8);
    for (int i = 0; i < 8; ++i) plan[i].set_x(scene.ego().vx() * 0.5 * (i + 1));
    return ResponseText(ThinkText(scene, plan), plan);
  }

  std::vector<v1::Scene> scenes_;
  std::unique_ptr<SceneStore> store_;
};

TEST_F(EvaluateTest, GoodDriverAndBlindOne) {
  FakeEngine good([&](const Prompt& p, uint64_t) { return GtResponseText(SceneOf(p)); });
  SWERVE_ASSERT_OK_AND_ASSIGN(const EvalResult best, Evaluate(good, *store_, {}));
  EXPECT_GT(best.overall.pdms, 0.8);
  EXPECT_EQ(best.overall.total_failure_ratio, 0);
  EXPECT_EQ(best.overall.format_ok, 1);
  EXPECT_EQ(best.overall.planning_accuracy, 1);

  FakeEngine blind([&](const Prompt& p, uint64_t) { return Blind(SceneOf(p)); });
  SWERVE_ASSERT_OK_AND_ASSIGN(const EvalResult r, Evaluate(blind, *store_, {}));
  EXPECT_EQ(r.families.at("lead").total_failure_ratio, 1);
  EXPECT_EQ(r.families.at("lead").nc, 0);
  EXPECT_EQ(r.families.at("free").total_failure_ratio, 0);
  EXPECT_NEAR(r.overall.total_failure_ratio, 2.0 / 6, 1e-12);
  EXPECT_EQ(r.families.at("lead").planning_accuracy, 0);
}

TEST_F(EvaluateTest, OneGoodSampleIsNoTotalFailure) {
  // Seed 0 is the greedy one; of the others only one in some scenes is good.
  FakeEngine engine([&](const Prompt& p, uint64_t seed) {
    return seed != 0 && seed % 4 == 0 ? GtResponseText(SceneOf(p)) : std::string("no answer");
  });
  std::vector<EvalAnswer> answers;
  SWERVE_ASSERT_OK_AND_ASSIGN(const EvalResult r, Evaluate(engine, *store_, {}, [&](const EvalAnswer& a) {
    answers.push_back(a);
    return absl::OkStatus();
  }));
  ASSERT_EQ(answers.size(), 6u * 9);
  EXPECT_EQ(answers[0].sample, 0);
  EXPECT_EQ(answers[0].temperature, 0);
  EXPECT_EQ(answers[8].sample, 8);
  int failed = 0;
  for (int s = 0; s < 6; ++s) {
    bool any = false;
    for (int i = 1; i <= 8; ++i) any = any || answers[9 * s + i].reward.traj() > 0;
    failed += !any;
  }
  EXPECT_DOUBLE_EQ(r.overall.total_failure_ratio, failed / 6.0);
  EXPECT_LT(failed, 6);
  EXPECT_EQ(r.overall.pdms, 0);
  EXPECT_EQ(r.overall.format_ok, 0);
}

TEST_F(EvaluateTest, BatchSizeChangesNothing) {
  FakeEngine engine([&](const Prompt& p, uint64_t seed) {
    return seed % 3 == 0 ? GtResponseText(SceneOf(p)) : Blind(SceneOf(p));
  });
  EvalOptions one;
  one.batch_scenes = 1;
  SWERVE_ASSERT_OK_AND_ASSIGN(const EvalResult a, Evaluate(engine, *store_, {}));
  SWERVE_ASSERT_OK_AND_ASSIGN(const EvalResult b, Evaluate(engine, *store_, one));
  EXPECT_EQ(EvalToJson(a), EvalToJson(b));
}

TEST_F(EvaluateTest, MaxScenesIsAStableSubset) {
  const auto chosen = ChooseScenes(*store_, 3, 5);
  EXPECT_EQ(chosen.size(), 3u);
  EXPECT_EQ(chosen, ChooseScenes(*store_, 3, 5));
  for (const std::string& id : chosen) EXPECT_THAT(store_->ids(), Contains(id));
}

TEST_F(EvaluateTest, AnEngineFailureIsNoScore) {
  FakeEngine engine([&](const Prompt&, uint64_t) { return std::string(); });
  engine.FailNext(absl::UnavailableError("engine gone"));
  EXPECT_THAT(Evaluate(engine, *store_, {}), StatusIs(absl::StatusCode::kUnavailable, HasSubstr("engine gone")));
}

TEST_F(EvaluateTest, FilesReadBack) {
  FakeEngine engine([&](const Prompt& p, uint64_t seed) { return seed ? Blind(SceneOf(p)) : GtResponseText(SceneOf(p)); });
  std::string lines;
  std::vector<EvalAnswer> answers;
  SWERVE_ASSERT_OK_AND_ASSIGN(const EvalResult r, Evaluate(engine, *store_, {}, [&](const EvalAnswer& a) {
    lines += AnswerToJson(a) + "\n";
    answers.push_back(a);
    return absl::OkStatus();
  }));
  const auto json = nlohmann::json::parse(EvalToJson(r));
  for (const char* key : {"scenes", "pdms", "pdms_ci95", "total_failure_ratio", "nc", "dac", "ttc", "comfort", "ep",
                          "format_ok", "planning_accuracy"}) {
    EXPECT_TRUE(json["overall"].contains(key)) << key;
    EXPECT_TRUE(json["families"]["lead"].contains(key)) << key;
  }
  EXPECT_EQ(json["overall"].size(), 11u);
  SWERVE_ASSERT_OK_AND_ASSIGN(const EvalResult back, EvalFromJson(EvalToJson(r)));
  EXPECT_EQ(EvalToJson(back), EvalToJson(r));

  const std::string path = testing::TempDir() + "/answers.jsonl";
  ASSERT_OK(WriteFileAtomically(path, lines));
  SWERVE_ASSERT_OK_AND_ASSIGN(const auto read, ReadAnswers(path));
  ASSERT_EQ(read.size(), answers.size());
  EXPECT_EQ(read[1].response.text(), answers[1].response.text());
  EXPECT_EQ(read[1].response.poses_size(), 8);
  EXPECT_EQ(read[1].reward.scores().pdms(), answers[1].reward.scores().pdms());
  ASSERT_OK(WriteFileAtomically(path, lines + "{\"scene\":1}\n"));
  EXPECT_THAT(ReadAnswers(path), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("line 55")));
  EXPECT_THAT(EvalFromJson("{\"overall\":{\"scenes\":\"many\"}}"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("overall.scenes")));
}

}  // namespace
}  // namespace swerve
