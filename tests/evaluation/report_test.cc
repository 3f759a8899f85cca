// The page a run ends with: it must hold the curves and the scenes that were fixed, and nothing that a response or a
// file name could smuggle in.
#include "evaluation/report.h"

#include <filesystem>

#include "absl/strings/str_cat.h"
#include "base/files.h"
#include "base/status_matchers.h"
#include "evaluation/chart.h"
#include "evaluation/eval_json.h"
#include "scenes/prompt.h"
#include "tests/evaluation/test_scene.h"

namespace swerve {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

EvalAnswer Answer(const v1::Scene& scene, int sample, double pdms, const std::string& think) {
  EvalAnswer a;
  a.scene_id = scene.id();
  a.family = scene.family();
  a.sample = sample;
  std::vector<v1::Pose> plan(scene.gt().begin(), scene.gt().end());
  if (pdms == 0) {
    for (int i = 0; i < 8; ++i) plan[i].set_x(scene.ego().vx() * 0.5 * (i + 1));
  }
  a.response.set_text(ResponseText(think, plan));
  *a.response.mutable_poses() = {plan.begin(), plan.end()};
  a.reward.set_traj(pdms);
  a.reward.mutable_scores()->set_pdms(pdms);
  return a;
}

class ReportTest : public testing::Test {
 protected:
  void SetUp() override {
    const std::string dir = testing::TempDir() + "/report_scenes";
    std::filesystem::remove_all(dir);
    SWERVE_ASSERT_OK_AND_ASSIGN(auto writer, SceneWriter::Create(dir));
    for (int i = 0; i < 3; ++i) {
      scenes_.push_back(MakeTestScene(absl::StrCat("scene-", i), i ? "lead" : "cut <in>", 9, 30));
      ASSERT_OK(writer->Add(scenes_.back()));
    }
    ASSERT_OK(writer->Finish());
    SWERVE_ASSERT_OK_AND_ASSIGN(input_.held_out, SceneStore::Open({dir}));
    input_.training = input_.held_out;
    input_.title = "Run <script>alert(1)</script>";
    for (int step = 1; step <= 30; ++step) {
      input_.metrics.push_back({step, 1000.0 + step, {{"reward/mean", 0.02 * step}, {"train/loss", 1.0 / step}, {"odd&tag", 1}}});
    }
    std::vector<SceneResult> before(3), after(3);
    for (int i = 0; i < 3; ++i) {
      before[i].family = after[i].family = scenes_[i].family();
      before[i].total_failure = true;
      after[i].total_failure = i == 2;
      after[i].greedy.set_pdms(i < 2);
    }
    input_.before = SummariseByFamily(before, 0);
    input_.after = SummariseByFamily(after, 0);
    for (int i = 0; i < 3; ++i) {
      for (int sample = 0; sample <= 8; ++sample) {
        input_.answers_before.push_back(Answer(scenes_[i], sample, 0, absl::StrCat("old thought ", i, " <b>")));
        input_.answers_after.push_back(Answer(scenes_[i], sample, i < 2 && sample != 3 ? 0.9 : 0, absl::StrCat("new thought ", i)));
      }
    }
  }

  std::vector<v1::Scene> scenes_;
  ReportInput input_;
};

TEST_F(ReportTest, HoldsCurvesTableAndFixedScenes) {
  const std::string html = ReportHtml(input_);
  EXPECT_THAT(html, HasSubstr("Mean reward"));
  EXPECT_THAT(html, HasSubstr("<title>step 30: 0.600</title>"));
  EXPECT_THAT(html, HasSubstr("odd&amp;tag"));
  EXPECT_THAT(html, HasSubstr("Before and after"));
  EXPECT_THAT(html, HasSubstr("scene-0"));
  EXPECT_THAT(html, HasSubstr("scene-1"));
  EXPECT_THAT(html, Not(HasSubstr("<b>scene-2</b>")));  // still fails
  EXPECT_THAT(html, HasSubstr("new thought 0"));
  EXPECT_THAT(html, HasSubstr("trajectory failing"));
  EXPECT_THAT(html, HasSubstr("trajectory refined"));
  EXPECT_THAT(html, HasSubstr("trajectory gt"));
  EXPECT_THAT(html, HasSubstr("collision with parked"));
  EXPECT_THAT(html, HasSubstr("step teacher"));
}

TEST_F(ReportTest, ShowsTheIdleShare) {
  EXPECT_THAT(ReportHtml(input_), Not(HasSubstr("Neither generating nor training")));
  input_.busy = BusyShares{100, 0.9, 0.5, 0.034};
  EXPECT_THAT(ReportHtml(input_), HasSubstr("3.4 <small>% of wall time"));
}

TEST_F(ReportTest, EscapesAndLoadsNothing) {
  const std::string html = ReportHtml(input_);
  EXPECT_THAT(html, Not(HasSubstr("<script")));
  EXPECT_THAT(html, HasSubstr("old thought 0 &lt;b&gt;"));
  EXPECT_THAT(html, HasSubstr("cut &lt;in&gt;"));
  for (const char* external : {"http://", "https://", "src=", "<link", "@import", "url("}) {
    EXPECT_THAT(html, Not(HasSubstr(external))) << external;
  }
  EXPECT_THAT(html, Not(HasSubstr("nan")));
}

TEST_F(ReportTest, ShowsWhatFeedbackDidInTraining) {
  GroupRecord g;
  g.scene_id = "scene-1";
  g.group = 4;
  g.originals = 8;
  g.total_failure = g.rescued = true;
  g.failing = {"<think>drove on</think>", {}, 0};
  g.refined = {"<think>brakes now</think>", {scenes_[1].gt().begin(), scenes_[1].gt().end()}, 0.95};
  g.feedback = "wrong. action: should be stop, keep. safety: front hits vehicle at 2.1 s. fix: stop by 3.0 s.";
  GroupRecord later;
  later.scene_id = "scene-1";
  later.group = 9;
  input_.groups = {g, later};
  const std::string html = ReportHtml(input_);
  EXPECT_THAT(html, HasSubstr("Feedback at work"));
  EXPECT_THAT(html, HasSubstr("<dt>safety</dt><dd>front hits vehicle at 2.1 s.</dd>"));
  EXPECT_THAT(html, HasSubstr("brakes now"));
  EXPECT_THAT(html, HasSubstr("solved without feedback later"));
}

TEST_F(ReportTest, ShowsEachTeachersLiftAndMarksTheSwap) {
  EXPECT_THAT(ReportHtml(input_), Not(HasSubstr("<h2>Teachers</h2>")));
  for (int i = 0; i < 2; ++i) {
    GroupRecord& g = input_.groups.emplace_back();
    g.group = i;
    TeacherTally& vlm = g.teachers["vlm"];
    vlm.asked = 4;
    vlm.reports = vlm.refinements = 3;
    vlm.failures["SCHEMA_INVALID"] = 1;
    vlm.successes = 2;
    vlm.gain = 1.5;
    vlm.money = 0.02;
    g.teachers["rule"].asked = 1;
  }
  for (MetricsRow& row : input_.metrics) row.values["teacher/vlm/pdms_gain"] = 0.5;
  input_.metrics[11].events = {"teachers: set 2 (add <vlm>): vlm 100 %"};
  const std::string html = ReportHtml(input_);
  EXPECT_THAT(html, HasSubstr("<tr><td>vlm</td><td>8</td><td>25.0 % <small>schema invalid 2</small></td><td>6</td>"
                              "<td>66.7 %</td><td><span class=\"up\">+0.500</span></td>"));
  EXPECT_THAT(html, HasSubstr("<td>0.010</td>"));  // money per success
  EXPECT_THAT(html, HasSubstr("<tr><td>rule</td><td>2</td>"));
  EXPECT_THAT(html, HasSubstr("vlm: ΔPDMS of its refinements"));
  EXPECT_THAT(html, HasSubstr("<li>step 12: teachers: set 2 (add &lt;vlm&gt;): vlm 100 %</li>"));
  size_t marks = 0;
  for (size_t at = 0; (at = html.find("<title>step 12: teachers: set 2", at)) != std::string::npos; ++at) ++marks;
  EXPECT_EQ(marks, 5u);  // four metrics, of which one is also the teacher's curve
}

TEST_F(ReportTest, AnEmptyRunSaysSo) {
  EXPECT_THAT(ReportHtml(ReportInput{}), HasSubstr("neither metrics nor evaluations"));
  EXPECT_THAT(ReadRun(testing::TempDir() + "/no_such_run"), StatusIs(absl::StatusCode::kNotFound, HasSubstr("no_such_run")));
}

TEST_F(ReportTest, ReadsARunDirectory) {
  const std::string dir = testing::TempDir() + "/report_run";
  std::filesystem::remove_all(dir);
  SWERVE_ASSERT_OK_AND_ASSIGN(auto log, RunLog::Open(dir, false));
  ASSERT_OK(log->Write(1, {{"reward/mean", 1}}));
  ASSERT_OK(WriteFileAtomically(dir + "/before.json", EvalToJson(*input_.before)));
  ASSERT_OK(WriteFileAtomically(dir + "/after.json", EvalToJson(*input_.after)));
  std::string lines;
  for (const EvalAnswer& a : input_.answers_before) lines += AnswerToJson(a) + "\n";
  ASSERT_OK(WriteFileAtomically(dir + "/responses_before.jsonl", lines));
  SWERVE_ASSERT_OK_AND_ASSIGN(const ReportInput in, ReadRun(dir));
  EXPECT_EQ(in.title, "Run report_run");
  EXPECT_EQ(in.metrics.size(), 1u);
  ASSERT_TRUE(in.before && in.after);
  EXPECT_EQ(in.answers_before.size(), 27u);
  ASSERT_OK(WriteFileAtomically(dir + "/before.json", "{"));
  EXPECT_THAT(ReadRun(dir), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("before.json")));
}

TEST(FindFixed, TakesFamiliesInTurnAndPrefersTheGreedyAnswer) {
  std::vector<EvalAnswer> before, after;
  for (int i = 0; i < 4; ++i) {
    const v1::Scene scene = MakeTestScene(absl::StrCat("s", i), i < 3 ? "many" : "one", 8, 30);
    for (int sample = 0; sample <= 2; ++sample) {
      before.push_back(Answer(scene, sample, 0, ""));
      after.push_back(Answer(scene, sample, sample == 2 ? 0.5 + 0.1 * i : i == 1 ? 0.95 : 0, ""));
    }
  }
  int failed = 0, still = 0;
  const auto fixed = FindFixed(before, after, &failed, &still);
  EXPECT_EQ(failed, 4);
  EXPECT_EQ(still, 0);
  ASSERT_EQ(fixed.size(), 4u);
  EXPECT_EQ(fixed[0].scene_id, "s1");
  EXPECT_EQ(fixed[0].refined.sample, 0);
  EXPECT_EQ(fixed[1].scene_id, "s3");
  EXPECT_EQ(fixed[1].refined.sample, 2);
}

TEST(LineChart, StaysInItsBoxAndTakesConstants) {
  EXPECT_EQ(LineChart("x", "step", {}), "");
  const std::string svg = LineChart("x", "step", {{1, 5}, {2, 5}, {3, 5}});
  EXPECT_THAT(svg, Not(HasSubstr("nan")));
  EXPECT_THAT(svg, Not(HasSubstr("inf")));
  EXPECT_THAT(LineChart("one", "step", {{7, 0}}), HasSubstr("step 7: 0"));
}

}  // namespace
}  // namespace swerve
