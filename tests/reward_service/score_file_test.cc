#include "reward_service/score_file.h"

#include "base/status_matchers.h"
#include "base/files.h"
#include "reward_service/gzip.h"
#include "tests/pdm/golden_files.h"

namespace swerve {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

std::string GoldenPath(const std::string& name) {
  return std::string(SWERVE_SOURCE_DIR) + "/tests/golden/pdms/" + name;
}

void ExpectNear(const json& got, const json& want, const std::string& where) {
  if (want.is_object()) {
    for (const auto& [key, value] : want.items()) {
      if (key == "fragile" || key == "diag") continue;
      ASSERT_TRUE(got.contains(key)) << where << "." << key;
      ExpectNear(got[key], value, where + "." + key);
    }
  } else if (want.is_number()) {
    EXPECT_NEAR(got.get<double>(), want.get<double>(), 1e-6) << where;
  } else if (want.is_boolean()) {
    EXPECT_EQ(got, want) << where;
  }
}

// v1 and v2, all that the official code writes.
TEST(ScoreFile, PublicGolden) {
  SWERVE_ASSERT_OK_AND_ASSIGN(std::string text, ReadMaybeGzip(GoldenPath("public/scenes.json.gz")));
  SWERVE_ASSERT_OK_AND_ASSIGN(ScoreFileResult result, ScoreSceneFile(text, {}));
  EXPECT_TRUE(result.broken.empty());
  EXPECT_EQ(result.scenes, 66);
  EXPECT_EQ(result.candidates, 830);
  EXPECT_EQ(result.invalid, 0);
  json got = json::parse(result.json), want = json::parse(testing::ReadGolden("public/scores.json.gz"));
  for (size_t s = 0; s < want["scenes"].size(); ++s) {
    const json& candidates = want["scenes"][s]["candidates"];
    for (size_t c = 0; c < candidates.size(); ++c) {
      const json& mine = got["scenes"][s]["candidates"][c];
      EXPECT_EQ(mine["name"], candidates[c]["name"]);
      std::string where = got["scenes"][s]["name"].get<std::string>() + "/" + mine["name"].get<std::string>();
      for (const char* rules : {"v1", "v2"}) {
        if (!candidates[c][rules]["fragile"]) ExpectNear(mine[rules], candidates[c][rules], where + "." + rules);
      }
    }
  }
}

TEST(ScoreFile, InvalidCandidatesLoseNothingElse) {
  SWERVE_ASSERT_OK_AND_ASSIGN(std::string text, ReadMaybeGzip(GoldenPath("invalid/scenes.json.gz")));
  SWERVE_ASSERT_OK_AND_ASSIGN(ScoreFileResult result, ScoreSceneFile(text, {}));
  json got = json::parse(result.json)["scenes"][0]["candidates"];
  json want = json::parse(testing::ReadGolden("invalid/scores.json.gz"))["scenes"][0]["candidates"];
  ASSERT_EQ(got.size(), want.size());
  for (size_t c = 0; c < want.size(); ++c) {
    for (const char* rules : {"v1", "v2"}) {
      std::string where = want[c]["name"].get<std::string>() + "." + rules;
      ASSERT_EQ(got[c][rules]["valid"], want[c][rules]["valid"]) << where;
      if (want[c][rules]["valid"]) ExpectNear(got[c][rules], want[c][rules], where);
      EXPECT_EQ(got[c][rules].contains("error"), !want[c][rules]["valid"].get<bool>()) << where;
    }
  }
}

TEST(ScoreFile, BrokenSceneKeepsItsPlace) {
  json file = json::parse(testing::ReadGolden("invalid/scenes.json.gz"));
  json good = file["scenes"][0], no_ego = good, no_reference = good;
  no_ego.erase("ego");
  no_ego["name"] = "no_ego";
  no_reference["resolved"]["v1"]["pdm_reference"] = json::array();
  no_reference["name"] = "no_reference";
  file["scenes"] = {no_ego, good, no_reference, "not a scene"};
  SWERVE_ASSERT_OK_AND_ASSIGN(ScoreFileResult result, ScoreSceneFile(file.dump(), {}));
  EXPECT_EQ(result.broken.size(), 3u);
  json out = json::parse(result.json)["scenes"];
  ASSERT_EQ(out.size(), 4u);
  EXPECT_THAT(out[0]["error"].get<std::string>(), HasSubstr("ego"));
  EXPECT_EQ(out[1]["candidates"].size(), good["candidates"].size());
  EXPECT_THAT(out[2]["error"].get<std::string>(), HasSubstr("pdm_reference"));
  EXPECT_TRUE(out[3].contains("error"));
}

TEST(ScoreFile, NotSuchAFile) {
  EXPECT_THAT(ScoreSceneFile("{", {}), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("JSON")));
  EXPECT_THAT(ScoreSceneFile("[1]", {}), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("scenes")));
  EXPECT_THAT(ScoreSceneFile(R"({"schema":9,"scenes":[]})", {}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("schema")));
}

TEST(SceneJson, RoundTrip) {
  const v1::Scene& scene = testing::PublicScenes().scenes[40];
  SWERVE_ASSERT_OK_AND_ASSIGN(SceneFile again, ParseSceneFile(WriteSceneFile({scene})));
  ASSERT_EQ(again.scenes.size(), 1u);
  EXPECT_EQ(again.scenes[0].SerializeAsString(), scene.SerializeAsString());
}

TEST(Gzip, RoundTripAndCorruption) {
  std::string path = ::testing::TempDir() + "/swerve_gzip_test.json.gz", content(300000, 'a');
  for (size_t i = 0; i < content.size(); i += 7) content[i] = static_cast<char>('a' + i % 23);
  ASSERT_OK(WriteMaybeGzip(path, content));
  SWERVE_ASSERT_OK_AND_ASSIGN(std::string again, ReadMaybeGzip(path));
  EXPECT_EQ(again, content);
  SWERVE_ASSERT_OK_AND_ASSIGN(std::string raw, ReadFile(path));
  ASSERT_OK(WriteFileAtomically(path, raw.substr(0, raw.size() / 2)));
  EXPECT_THAT(ReadMaybeGzip(path), StatusIs(absl::StatusCode::kDataLoss, HasSubstr("truncated")));
}

}  // namespace
}  // namespace swerve
