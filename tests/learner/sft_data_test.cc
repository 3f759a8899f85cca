// The examples that fine-tuning learns from: reproducible, of all kinds, and never teaching the wrong answer.
#include "learner/sft_data.h"

#include <filesystem>
#include <map>
#include <set>

#include "absl/strings/str_cat.h"
#include "base/status_matchers.h"
#include "pdm/score.h"
#include "policy/codec.h"
#include "scenes/prompt.h"
#include "tests/evaluation/test_scene.h"

namespace swerve {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class SftDataTest : public testing::Test {
 protected:
  void SetUp() override {
    const std::string dir = testing::TempDir() + "/sft_data_scenes";
    std::filesystem::remove_all(dir);
    SWERVE_ASSERT_OK_AND_ASSIGN(auto writer, SceneWriter::Create(dir));
    for (int i = 0; i < 12; ++i) {
      v1::Scene scene = MakeTestScene(absl::StrCat("s", i), i % 2 ? "lead" : "free", 6 + 0.5 * i, i % 2 ? 30 : 0);
      ASSERT_OK(writer->Add(scene));
    }
    v1::Scene bad = MakeTestScene("bad", "free", 8, 0);
    bad.set_label(v1::NEGATIVE);
    ASSERT_OK(writer->Add(bad));
    ASSERT_OK(writer->Finish());
    SWERVE_ASSERT_OK_AND_ASSIGN(store_, SceneStore::Open({dir}));
  }

  std::unique_ptr<SftData> Make(const SftOptions& options) {
    auto data = SftData::Create(store_, options);
    EXPECT_OK(data);
    return std::move(*data);
  }

  std::shared_ptr<const SceneStore> store_;
};

// The response inside a feedback prompt.
std::string PreviousAnswer(const std::string& prompt) {
  const std::string open = "previous answer: ";
  const size_t from = prompt.find(open) + open.size();
  return prompt.substr(from, prompt.find("\nfeedback: ") - from);
}

double Pdms(const v1::Scene& scene, const std::string& response) {
  std::vector<pdm::Pose2> poses;
  for (const v1::Pose& p : PoseTextCodec().Parse(response).poses) poses.push_back({p.x(), p.y(), p.heading()});
  return pdm::ScoreTrajectory(**pdm::Prepare(scene), poses).scores.pdms();
}

TEST_F(SftDataTest, SameSeedSameExamplesInAnyOrder) {
  SftOptions options;
  options.image_size = 56;
  const auto a = Make(options), b = Make(options);
  options.seed = 1;
  const auto c = Make(options);
  int differ = 0;
  for (int i = 40; i >= 0; --i) {
    SWERVE_ASSERT_OK_AND_ASSIGN(const SftExample x, a->Example(i));
    SWERVE_ASSERT_OK_AND_ASSIGN(const SftExample y, b->Example(40 - i));
    SWERVE_ASSERT_OK_AND_ASSIGN(const SftExample y2, b->Example(i));
    SWERVE_ASSERT_OK_AND_ASSIGN(const SftExample z, c->Example(i));
    EXPECT_EQ(x.prompt_text, y2.prompt_text);
    EXPECT_EQ(x.target_text, y2.target_text);
    ASSERT_NE(x.image, nullptr);
    EXPECT_EQ(x.image->rgb, y2.image->rgb);
    EXPECT_EQ(x.image->height, 56);
    differ += x.prompt_text != z.prompt_text;
  }
  EXPECT_GT(differ, 20);
}

TEST_F(SftDataTest, AnEpochSeesEverySceneOnceAndNoNegativeOne) {
  const auto data = Make({});
  ASSERT_EQ(data->size(), 12u);
  for (const uint64_t epoch : {0, 1, 5}) {
    std::set<std::string> seen;
    for (uint64_t i = 0; i < data->size(); ++i) {
      SWERVE_ASSERT_OK_AND_ASSIGN(const SftExample example, data->Example(epoch * data->size() + i));
      seen.insert(example.scene_id);
    }
    EXPECT_EQ(seen.size(), 12u);
    EXPECT_EQ(seen.count("bad"), 0u);
  }
}

TEST_F(SftDataTest, FeedbackExamplesNeverTeachTheWrongAnswer) {
  const auto data = Make({});
  std::map<std::string, int> kinds;
  for (uint64_t i = 0; i < 600; ++i) {
    SWERVE_ASSERT_OK_AND_ASSIGN(const SftExample e, data->Example(i));
    ++kinds[e.kind];
    SWERVE_ASSERT_OK_AND_ASSIGN(auto scene, store_->Get(e.scene_id));
    if (e.kind != "qa") {
      EXPECT_EQ(PoseTextCodec().Parse(e.target_text).status, v1::EXACT) << e.target_text;
      EXPECT_THAT(e.prompt_text, HasSubstr(BasePromptText(*scene)));
    }
    if (e.kind == "gt") {
      EXPECT_EQ(e.target_text, GtResponseText(*scene));
    }
    if (e.kind == "wrong_oracle" || e.kind == "wrong_rule") {
      const std::string wrong = PreviousAnswer(e.prompt_text);
      EXPECT_NE(wrong, e.target_text);
      EXPECT_EQ(e.target_text, GtResponseText(*scene));
      EXPECT_GT(Pdms(*scene, e.target_text), Pdms(*scene, wrong)) << e.prompt_text;
      EXPECT_THAT(e.prompt_text, HasSubstr("feedback: wrong."));
    }
    if (e.kind == "follow") {
      EXPECT_NE(PreviousAnswer(e.prompt_text), e.target_text);
    }
    if (e.kind == "correct") {
      EXPECT_EQ(PreviousAnswer(e.prompt_text), e.target_text);
      EXPECT_GE(Pdms(*scene, e.target_text), 0.8);
      EXPECT_THAT(e.prompt_text, Not(HasSubstr("feedback: wrong.")));
    }
  }
  for (const char* kind : {"qa", "gt", "correct", "wrong_oracle", "wrong_rule", "follow"}) EXPECT_GT(kinds[kind], 5) << kind;
  EXPECT_GT(kinds["wrong_oracle"], kinds["correct"]);
}

TEST_F(SftDataTest, StageOneAsksQuestionsOnly) {
  SftOptions options;
  options.mix = SftMix::StageOne();
  const auto data = Make(options);
  for (uint64_t i = 0; i < 30; ++i) {
    SWERVE_ASSERT_OK_AND_ASSIGN(const SftExample e, data->Example(i));
    EXPECT_EQ(e.kind, "qa");
    EXPECT_FALSE(e.target_text.empty());
  }
}

TEST_F(SftDataTest, RefusesAnEmptyMix) {
  SftOptions options;
  options.mix = {0, 0, 0, 0, 0, 0};
  EXPECT_THAT(SftData::Create(store_, options), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("mix")));
}

}  // namespace
}  // namespace swerve
