#include "orchestrator/curate.h"

#include <unistd.h>

#include <algorithm>

#include "base/files.h"
#include "base/status_matchers.h"
#include "orchestrator/service.h"
#include "policy/fake_engine.h"
#include "scenes/generator/generator.h"
#include "scenes/prompt.h"

namespace swerve {
namespace {

TEST(JudgeSceneTest, OnlySureSuccessIsEasy) {
  const CurationThresholds t{0.8, 0.02};
  EXPECT_EQ(JudgeScene(0.95, 0.001, t), CurationVerdict::kEasy);
  EXPECT_EQ(JudgeScene(0.80, 0.02, t), CurationVerdict::kEasy);
  EXPECT_EQ(JudgeScene(0.95, 0.021, t), CurationVerdict::kAmbiguous);
  EXPECT_EQ(JudgeScene(0.10, 0.300, t), CurationVerdict::kAmbiguous);
  EXPECT_EQ(JudgeScene(0.00, 0.000, t), CurationVerdict::kDifficult);
  EXPECT_EQ(JudgeScene(0.79, 0.000, t), CurationVerdict::kDifficult);
}

// The first scene is always solved, the second never, the third every other time.
TEST(CurateTest, DropsTheEasyAndSaysWhy) {
  const std::string dir = absl::StrCat(testing::TempDir(), "/curate", getpid());
  std::vector<std::string> prompts, right;
  {
    SWERVE_ASSERT_OK_AND_ASSIGN(auto writer, SceneWriter::Create(dir));
    for (uint64_t i = 0; prompts.size() < 3; ++i) {
      SWERVE_ASSERT_OK_AND_ASSIGN(const auto made, generator::GenerateScene(
                                                       generator::FamilyAt(generator::Mix::kCommon, 5, i), 5, i));
      const v1::Scene& scene = made.scene;
      if (made.gt_pdms < 0.9 || made.gt_robust < 0.9) continue;
      const std::string prompt = BasePromptText(scene);
      if (std::count(prompts.begin(), prompts.end(), prompt) > 0) continue;
      prompts.push_back(prompt);
      right.push_back(GtResponseText(scene));
      ASSERT_OK(writer->Add(scene));
    }
    ASSERT_OK(writer->Finish());
  }
  SWERVE_ASSERT_OK_AND_ASSIGN(const auto store, SceneStore::Open({dir}));
  std::map<std::string, int> asked;
  FakeEngine engine([&](const Prompt& prompt, uint64_t) -> std::string {
    const int n = asked[prompt.text]++;
    if (prompt.text == prompts[0] || (prompt.text == prompts[2] && n % 2 == 0)) {
      return right[prompt.text == prompts[0] ? 0 : 2];
    }
    return "<think></think><answer>nothing</answer>";
  });
  CurateOptions options;
  options.batch_scenes = 2;
  options.max_new_tokens = 4096;  // the fake engine counts bytes
  SWERVE_ASSERT_OK_AND_ASSIGN(const auto scenes, Curate(engine, *store, options));
  ASSERT_EQ(scenes.size(), 3u);
  EXPECT_EQ(scenes[0].verdict, CurationVerdict::kEasy) << scenes[0].mean;
  EXPECT_EQ(scenes[1].verdict, CurationVerdict::kDifficult);
  EXPECT_EQ(scenes[1].mean, 0);
  EXPECT_EQ(scenes[2].verdict, CurationVerdict::kAmbiguous);
  EXPECT_NEAR(scenes[2].mean, 0.5, 0.1);
  const std::string file = dir + "/kept.tsv";
  ASSERT_OK(WriteCurated(scenes, options, file));
  SWERVE_ASSERT_OK_AND_ASSIGN(const auto kept, ReadCurated(file));
  EXPECT_THAT(kept, testing::ElementsAre(scenes[1].id, scenes[2].id));
  EXPECT_THAT(CurationTable(scenes), testing::HasSubstr("all"));
  EXPECT_THAT(WriteCurated(absl::MakeConstSpan(scenes).subspan(0, 1), options, file),
              StatusIs(absl::StatusCode::kFailedPrecondition, testing::HasSubstr("--high-mean")));
}

}  // namespace
}  // namespace swerve
