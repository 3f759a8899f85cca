// Submissions against the official scores of the golden scenes.
#include "reward_service/submission.h"

#include <filesystem>

#include "base/status_matchers.h"
#include "reward_service/score_file.h"
#include "tests/pdm/golden_files.h"

namespace swerve {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

json PlanOf(const v1::Candidate& candidate) {
  json plan = json::array();
  for (const v1::Pose& p : candidate.poses()) plan.push_back({p.x(), p.y(), p.heading()});
  return plan;
}

class SubmissionTest : public ::testing::Test {
 protected:
  SubmissionTest() : scenes_(testing::PublicScenes().scenes.begin(), testing::PublicScenes().scenes.begin() + 3) {
    scores_ = json::parse(testing::ReadGolden("public/scores.json.gz"))["scenes"];
  }
  // Of scene i, its candidate k.
  void Predict(int i, int k) { plans_[scenes_[i].token()] = PlanOf(scenes_[i].candidates(k)); }
  json Wanted(int i, int k, const char* rules) const { return scores_[i]["candidates"][k][rules]; }
  std::unique_ptr<SceneStore> Store() const {
    const std::string dir = ::testing::TempDir() + "/submission_scenes";
    std::filesystem::remove_all(dir);
    auto writer = SceneWriter::Create(dir).value();
    for (const v1::Scene& scene : scenes_) EXPECT_OK(writer->Add(scene));
    EXPECT_OK(writer->Finish());
    return SceneStore::Open({dir}).value();
  }
  absl::StatusOr<ScoreFileResult> Score() {
    const Submission submission =
        ParseSubmission(json{{"schema", 1}, {"name", "us"}, {"submission", plans_}}.dump()).value();
    ScoreFileOptions options;
    options.submission = &submission;
    return ScoreSceneStore(*Store(), options);
  }

  std::vector<v1::Scene> scenes_;
  json scores_;
  json plans_ = json::object();
};

TEST_F(SubmissionTest, ItsPlansAreScoredAndNothingElse) {
  Predict(0, 1);
  Predict(2, 0);
  plans_["elsewhere"] = plans_[scenes_[0].token()];
  SWERVE_ASSERT_OK_AND_ASSIGN(const ScoreFileResult result, Score());
  EXPECT_EQ(result.scenes, 2);
  EXPECT_EQ(result.candidates, 2);
  EXPECT_EQ(result.unanswered, 1);
  EXPECT_THAT(result.broken, ElementsAre(HasSubstr("'elsewhere'")));
  const json out = json::parse(result.json)["scenes"];
  EXPECT_EQ(out[0]["candidates"][0]["name"], "us");
  EXPECT_NEAR(out[0]["candidates"][0]["v1"]["PDMS"], Wanted(0, 1, "v1")["PDMS"], 1e-6);
  EXPECT_NEAR(out[0]["candidates"][0]["v2"]["EPDMS_noEC"], Wanted(0, 1, "v2")["EPDMS_noEC"], 1e-6);
  EXPECT_NEAR(out[1]["candidates"][0]["v1"]["EP"], Wanted(2, 0, "v1")["EP"], 1e-6);
  EXPECT_THAT(result.pdms_csv, HasSubstr(scenes_[2].token() + ",True,"));
}

TEST_F(SubmissionTest, AMalformedPlanIsAnInvalidOne) {
  plans_[scenes_[0].token()] = {{1, 2, 3}, {1, 2}};
  plans_[scenes_[1].token()] = json::array();
  SWERVE_ASSERT_OK_AND_ASSIGN(const ScoreFileResult result, Score());
  EXPECT_EQ(result.invalid, 2);
  EXPECT_EQ(json::parse(result.json)["scenes"][0]["candidates"][0]["v1"]["reason"], "WRONG_SHAPE");
}

// A data set made of v2 caches alone: EPDMS without PDMS, the same as with it.
TEST_F(SubmissionTest, ScenesWithoutV1AreScoredByV2) {
  Predict(0, 1);
  Predict(1, 0);
  plans_[scenes_[2].token()] = json::array();
  for (v1::Scene& scene : scenes_) scene.clear_resolved_v1();
  SWERVE_ASSERT_OK_AND_ASSIGN(const ScoreFileResult result, Score());
  EXPECT_THAT(result.broken, IsEmpty());
  EXPECT_EQ(result.invalid, 1);
  const json out = json::parse(result.json);
  const json first = out["scenes"][0]["candidates"][0];
  EXPECT_FALSE(first.contains("v1"));
  EXPECT_NEAR(first["v2"]["EPDMS_noEC"], Wanted(0, 1, "v2")["EPDMS_noEC"], 1e-6);
  EXPECT_NEAR(out["scenes"][1]["candidates"][0]["v2"]["EPDMS_noEC"], Wanted(1, 0, "v2")["EPDMS_noEC"], 1e-6);
  EXPECT_EQ(out["scenes"][2]["candidates"][0]["v2"]["reason"], "WRONG_SHAPE");
  EXPECT_FALSE(out["summary"]["us"].contains("v1"));
  EXPECT_EQ(result.pdms_csv, "");
  EXPECT_THAT(result.epdms_csv, HasSubstr(scenes_[0].token()));
}

TEST(ParseSubmission, RefusesWhatIsNone) {
  for (const char* text : {"", "[]", "{}", R"({"schema":1})", R"({"schema":1,"submission":[]})",
                           R"({"schema":2,"submission":{}})"}) {
    EXPECT_THAT(ParseSubmission(text), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(""))) << text;
  }
  SWERVE_ASSERT_OK_AND_ASSIGN(const Submission nan, ParseSubmission(R"({"schema":1,"submission":{"a":[[null,1,2]]}})"));
  EXPECT_TRUE(std::isnan(nan.plans.at("a")[0].x()));
}

}  // namespace
}  // namespace swerve
