// Two scripted teachers, a scripted policy, a scripted scorer: what the comparison must say is known beforehand.
#include "evaluation/teacher_comparison.h"

#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/status_matchers.h"
#include "policy/fake_engine.h"
#include "tests/evaluation/test_scene.h"
#include "tests/testing/fake_services.h"

namespace swerve {
namespace {

using ::testing::HasSubstr;

double Number(const std::string& text) { return text.empty() ? 0 : std::stod(text); }

// Reports `words` on every failure; every `silent_every`-th stays without.
class Says final : public TeacherClient {
 public:
  explicit Says(std::string words, int silent_every = 0) : words_(std::move(words)), silent_every_(silent_every) {}
  absl::StatusOr<v1::DiagnoseReply> Diagnose(const v1::DiagnoseRequest& request) override {
    v1::DiagnoseReply reply;
    for (const v1::DiagnoseItem& item : request.items()) {
      seen.push_back(absl::StrCat(request.scene_id(), " ", item.response().text()));
      v1::DiagnoseResult* result = reply.add_results();
      result->set_outcome(v1::OK);
      v1::AskCost cost;
      cost.set_seconds(2);
      cost.set_tokens(100);
      cost.set_money(0.5);
      const bool failed = item.reward().traj() < request.success_threshold();
      if (failed && silent_every_ > 0 && ++asked_ % silent_every_ == 0) {
        result->set_outcome(v1::TIMEOUT);
        v1::FailedTeacher* vain = result->add_failed();
        vain->set_teacher("arm");
        vain->set_outcome(v1::TIMEOUT);
        *vain->mutable_cost() = cost;
        continue;
      }
      v1::Feedback* feedback = result->mutable_feedback();
      feedback->set_teacher("arm");
      feedback->set_positive(!failed);
      feedback->set_prompt_text(words_);
      if (failed) *feedback->mutable_cost() = cost;
    }
    return reply;
  }
  std::vector<std::string> seen;

 private:
  const std::string words_;
  const int silent_every_;
  int asked_ = 0;
};

class ComparisonTest : public testing::Test {
 protected:
  void SetUp() override {
    const std::string dir = testing::TempDir() + "/comparison_scenes";
    std::filesystem::remove_all(dir);
    SWERVE_ASSERT_OK_AND_ASSIGN(auto writer, SceneWriter::Create(dir));
    for (int i = 0; i < 6; ++i) ASSERT_OK(writer->Add(MakeTestScene(absl::StrCat("scene-", i), "f", 9, 0)));
    ASSERT_OK(writer->Finish());
    SWERVE_ASSERT_OK_AND_ASSIGN(store_, SceneStore::Open({dir}));
    options_.samples = 4;
    options_.batch_scenes = 4;
  }

  // Originals: half succeed, half score 0.2, by seed. Under "good" words 0.9, under others 0.1.
  absl::StatusOr<Comparison> Compare(TeacherClient* a, TeacherClient* b) {
    FakeEngine engine([this](const Prompt& prompt, uint64_t seed) -> std::string {
      if (!absl::StrContains(prompt.text, "feedback:")) return seed % 2 ? "0.9" : "0.2";
      refine_seeds_.push_back(seed);
      return absl::StrContains(prompt.text, "good advice") ? "0.9" : "0.1";
    });
    FakeReward reward(Number);
    return CompareTeachers(engine, *store_, reward, {ComparedTeacher{"a", a}, ComparedTeacher{"b", b}}, options_);
  }

  std::shared_ptr<const SceneStore> store_;
  ComparisonOptions options_;
  std::vector<uint64_t> refine_seeds_;
};

const ComparedFigure& At(const Comparison& c, const std::string& name) {
  for (const ComparedFigure& f : c.figures) {
    if (f.name == name) return f;
  }
  ADD_FAILURE() << name;
  return c.figures[0];
}

TEST_F(ComparisonTest, CreditsTheTeacherThatHelps) {
  Says good("good advice"), bad("bad advice");
  SWERVE_ASSERT_OK_AND_ASSIGN(const Comparison c, Compare(&bad, &good));
  EXPECT_EQ(c.scenes, 6);
  EXPECT_EQ(c.responses, 24);
  ASSERT_GT(c.failures, 0);
  EXPECT_EQ(At(c, "refinement_success").of[0].value, 0);
  EXPECT_EQ(At(c, "refinement_success").of[1].value, 1);
  EXPECT_NEAR(At(c, "pdms_gain").of[0].value, -0.1, 1e-9);
  EXPECT_NEAR(At(c, "pdms_gain").difference.value, 0.8, 1e-9);
  EXPECT_GT(At(c, "pdms_gain").difference.low, 0.79);  // the same in every group
  EXPECT_EQ(At(c, "seconds").of[0].value, 2);
  EXPECT_DOUBLE_EQ(At(c, "money_per_success").of[1].value, 0.5);
  EXPECT_TRUE(std::isinf(At(c, "money_per_success").of[0].value));
}

TEST_F(ComparisonTest, BothArmsGetTheSameFailuresAndSeeds) {
  Says a("good advice"), b("good advice");
  SWERVE_ASSERT_OK_AND_ASSIGN(const Comparison c, Compare(&a, &b));
  EXPECT_EQ(a.seen, b.seen);
  EXPECT_EQ(At(c, "pdms_gain").difference.value, 0);
  std::map<uint64_t, int> uses;
  for (const uint64_t seed : refine_seeds_) ++uses[seed];
  for (const auto& [seed, count] : uses) EXPECT_EQ(count, 2) << seed;
  EXPECT_EQ(static_cast<int>(uses.size()), c.failures);  // successes are not refined
}

TEST_F(ComparisonTest, AMissingReportGainsNothing) {
  Says all("good advice"), half("good advice", 2);
  SWERVE_ASSERT_OK_AND_ASSIGN(const Comparison c, Compare(&all, &half));
  const double told = c.failures - c.failures / 2;
  EXPECT_NEAR(At(c, "refinement_success").of[1].value, told / c.failures, 1e-9);
  EXPECT_NEAR(At(c, "pdms_gain").of[1].value, 0.7 * told / c.failures, 1e-9);
  EXPECT_EQ(c.totals[1].failures.at("TIMEOUT"), c.failures / 2);
  EXPECT_DOUBLE_EQ(At(c, "tokens").of[1].value, 100);  // asking in vain costs as well
  EXPECT_THAT(ComparisonTable(c), HasSubstr("no report from b: TIMEOUT"));
}

TEST_F(ComparisonTest, LimitAndSeedChooseTheScenes) {
  options_.limit = 3;
  Says a("good advice"), b("good advice"), c("good advice"), d("good advice");
  SWERVE_ASSERT_OK_AND_ASSIGN(const Comparison first, Compare(&a, &b));
  EXPECT_EQ(first.scenes, 3);
  SWERVE_ASSERT_OK_AND_ASSIGN(const Comparison again, Compare(&c, &d));
  EXPECT_EQ(a.seen, c.seen);
  EXPECT_EQ(ComparisonJson(first), ComparisonJson(again));
  options_.samples = 1;
  EXPECT_THAT(Compare(&a, &b), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("samples")));
}

TEST_F(ComparisonTest, AFailingScorerIsNoTeachersFault) {
  Says a("good advice"), b("good advice");
  FakeEngine engine([](const Prompt&, uint64_t) { return "0.2"; });
  FakeReward reward(Number);
  reward.Fail({absl::OkStatus(), absl::OkStatus(), absl::OkStatus(), absl::OkStatus(), absl::InternalError("broken")});
  EXPECT_THAT(CompareTeachers(engine, *store_, reward, {ComparedTeacher{"a", &a}, ComparedTeacher{"b", &b}}, options_),
              StatusIs(absl::StatusCode::kInternal, HasSubstr("broken")));
}

TEST_F(ComparisonTest, NoFailureNothingToCompare) {
  Says a("good advice"), b("good advice");
  FakeEngine engine([](const Prompt&, uint64_t) { return "0.9"; });
  FakeReward reward(Number);
  EXPECT_THAT(CompareTeachers(engine, *store_, reward, {ComparedTeacher{"a", &a}, ComparedTeacher{"b", &b}}, options_),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("none of 24 responses failed")));
}

// Groups of different sizes, correlated inside: resampling single responses would give far too narrow an interval.
TEST(FiguresTest, IntervalsAreOverWholeGroups) {
  std::vector<std::array<ComparedGroup, 2>> groups(40);
  for (size_t g = 0; g < groups.size(); ++g) {
    for (size_t arm = 0; arm < 2; ++arm) {
      groups[g][arm].failures = groups[g][arm].tally.asked = 8;
      groups[g][arm].tally.successes = g % 2 == 0 ? 8 : 0;
      groups[g][arm].tally.gain = arm == 0 ? 0 : (g % 2 == 0 ? 4 : 0);
    }
  }
  const auto figures = FiguresOf(groups, 1);
  const Estimate success = figures[0].of[0];
  const double half = 1.96 * 0.5 / std::sqrt(40.0);
  EXPECT_DOUBLE_EQ(success.value, 0.5);
  EXPECT_NEAR(success.low, 0.5 - half, 0.03);
  EXPECT_NEAR(success.high, 0.5 + half, 0.03);
  EXPECT_EQ(figures[0].difference.low, 0);  // paired: the arms are the same in every group
  EXPECT_NEAR(figures[1].difference.value, 0.25, 1e-9);
  const auto json = nlohmann::json::parse(ComparisonJson({{"a", "b"}, {}, 40, 40, 320, 320, 1, figures}));
  EXPECT_TRUE(json.at("figures").at("holds_ground_truth").at("a").at("value").is_null());
  EXPECT_EQ(json.at("figures").at("refinement_success").at("b").at("value"), 0.5);
}

}  // namespace
}  // namespace swerve
