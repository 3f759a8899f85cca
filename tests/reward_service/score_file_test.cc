#include "reward_service/score_file.h"

#include "absl/strings/str_split.h"
#include "base/status_matchers.h"
#include "base/files.h"
#include "base/gzip.h"
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

TEST(ScoreFile, TwoStageGolden) {
  SWERVE_ASSERT_OK_AND_ASSIGN(std::string text, ReadMaybeGzip(GoldenPath("two_stage/two_stage.json.gz")));
  SWERVE_ASSERT_OK_AND_ASSIGN(ScoreFileResult result, ScoreSceneFile(text, {}));
  EXPECT_EQ(result.rows, 36);
  json got = json::parse(result.json)["result"], want = json::parse(text)["result"];
  EXPECT_EQ(got["per_token"].size(), want["per_token"].size());
  ExpectNear(got, want, "result");
}

// A file of scenes with a mapping: the same as aggregating its own rows by hand.
TEST(ScoreFile, TwoStagesOfScenes) {
  json file = json::parse(testing::ReadGolden("public/scenes.json.gz"));
  const json base = file["scenes"][0];
  auto make = [&](const std::string& token, int64_t offset_us, const char* type, double ahead) {
    json s = base;
    s["name"] = s["token"] = token;
    s["scene_type"] = type;
    s["time_us"] = base["time_us"].get<int64_t>() + offset_us;
    s.erase("ego_past");
    s.erase("prev");
    s["candidates"] = json::array({base["candidates"][0]});
    s["ego"]["rear_axle"][0] = s["ego"]["rear_axle"][0].get<double>() + ahead;
    return s;
  };
  file["scenes"] = {make("now", 0, "original", 0), make("prev", -500000, "original", 0),
                    make("now2", 4000000, "synthetic", 1), make("prev2", 3500000, "synthetic", 1)};
  file["mapping"] = json::parse(R"([["now", "prev", [["now2", "prev2"]]]])");
  const std::string name = base["candidates"][0]["name"];
  SWERVE_ASSERT_OK_AND_ASSIGN(ScoreFileResult result, ScoreSceneFile(file.dump(), {}));
  EXPECT_TRUE(result.broken.empty());
  json out = json::parse(result.json);
  const json& stages = out["two_stage"][name];
  const json& first = out["scenes"][0]["candidates"][0]["v2"];
  EXPECT_EQ(stages["per_token"]["now2"]["weight"], 1.0);
  EXPECT_EQ(stages["per_token"]["now"]["EC"], stages["per_token"]["prev"]["EC"]);
  EXPECT_NEAR(stages["stage_one"]["EP"].get<double>(), first["filtered"]["EP"].get<double>(), 1e-12);
  EXPECT_LE(stages["combined"]["score"].get<double>(), stages["stage_one"]["score"].get<double>());

  // One refused plan: no score over stages, and it says whose.
  file["scenes"][2]["candidates"][0]["poses"][0][0] = nullptr;
  SWERVE_ASSERT_OK_AND_ASSIGN(result, ScoreSceneFile(file.dump(), {}));
  EXPECT_THAT(json::parse(result.json)["two_stage"][name]["error"].get<std::string>(), HasSubstr("now2"));
  EXPECT_EQ(result.broken.size(), 1u);
  file["mapping"] = json::parse(R"([["now"]])");
  EXPECT_THAT(ScoreSceneFile(file.dump(), {}), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("mapping[0]")));
}

TEST(ScoreFile, BrokenRowsAreNamed) {
  json file = json::parse(testing::ReadGolden("two_stage/two_stage.json.gz"));
  auto expect = [](const json& broken, const char* what) {
    EXPECT_THAT(ScoreSceneFile(broken.dump(), {}), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(what)));
  };
  json broken = file;
  broken["rows"][3]["states"].erase(5);
  expect(broken, "rows[3]: states");
  broken = file;
  broken["rows"][2]["states"][7][1] = "x";
  expect(broken, "rows[2]: states[7]");
  broken = file;
  broken["rows"][4].erase("HC");
  expect(broken, "rows[4]: HC");
  broken = file;
  broken["rows"].erase(0);
  expect(broken, "g0_prev");
  broken = file;
  broken["mapping"][1][2][0] = "x";
  expect(broken, "mapping[1]");
}

// The first two scenes of one recording 0.5 s apart: EC comes from the plans of both.
TEST(ScoreFile, PairsFramesOfARecording) {
  json file = json::parse(testing::ReadGolden("public/scenes.json.gz"));
  json now = file["scenes"][0], before = file["scenes"][0];
  now.erase("prev");
  before.erase("prev");
  before["name"] = "before";
  before["time_us"] = now["time_us"].get<int64_t>() - 500000;
  before.erase("ego_past");
  file["scenes"] = {now, before};
  SWERVE_ASSERT_OK_AND_ASSIGN(ScoreFileResult apart, ScoreSceneFile(file.dump(), {}));
  SWERVE_ASSERT_OK_AND_ASSIGN(ScoreFileResult paired, ScoreSceneFile(file.dump(), {.pair_frames = true}));
  json a = json::parse(apart.json)["scenes"], b = json::parse(paired.json)["scenes"];
  EXPECT_TRUE(a[0]["candidates"][0]["v2"]["EC"].is_null());
  const double ec = b[0]["candidates"][0]["v2"]["EC"];
  EXPECT_TRUE(b[1]["candidates"][0]["v2"]["EC"].is_null());  // EC belongs to the later frame
  EXPECT_EQ(a[0]["candidates"][0]["v2"]["EPDMS"], a[0]["candidates"][0]["v2"]["EPDMS_noEC"]);
  const double no_ec = b[0]["candidates"][0]["v2"]["EPDMS_noEC"];
  EXPECT_NEAR(b[0]["candidates"][0]["v2"]["EPDMS"].get<double>(), (14 * no_ec + 2 * ec) / 16, 1e-12);
}

// v1.0: driving direction multiplies. An oncoming plan keeps its PDMS in v1.1 and loses it in v1.0.
TEST(ScoreFile, VersionOneZero) {
  SWERVE_ASSERT_OK_AND_ASSIGN(std::string text, ReadMaybeGzip(GoldenPath("public/scenes.json.gz")));
  json file = json::parse(text);
  file["scenes"] = json::array({file["scenes"][59]});
  SWERVE_ASSERT_OK_AND_ASSIGN(ScoreFileResult one, ScoreSceneFile(file.dump(), {}));
  SWERVE_ASSERT_OK_AND_ASSIGN(ScoreFileResult zero, ScoreSceneFile(file.dump(), {.v1_0 = true}));
  json a = json::parse(one.json)["scenes"][0]["candidates"], b = json::parse(zero.json)["scenes"][0]["candidates"];
  int lower = 0;
  for (size_t c = 0; c < a.size(); ++c) {
    const double ddc = a[c]["v1"]["DDC"], nc = a[c]["v1"]["NC"], dac = a[c]["v1"]["DAC"];
    const json& v = b[c]["v1"];
    EXPECT_EQ(v["DDC"], ddc);
    EXPECT_NEAR(v["PDMS"].get<double>(),
                nc * dac * ddc * (5 * v["EP"].get<double>() + 5 * v["TTC"].get<double>() + 2 * v["C"].get<double>()) / 12,
                1e-12);
    lower += v["PDMS"].get<double>() < a[c]["v1"]["PDMS"].get<double>() - 0.1;
  }
  EXPECT_GT(lower, 0);
}

std::vector<std::string> Lines(const std::string& text) { return absl::StrSplit(text, '\n', absl::SkipEmpty()); }

TEST(ScoreFile, CsvHasTheColumnsOfNavsim) {
  SWERVE_ASSERT_OK_AND_ASSIGN(std::string text, ReadMaybeGzip(GoldenPath("invalid/scenes.json.gz")));
  json file = json::parse(text);
  file["scenes"][0]["token"] = "a,\"b";
  SWERVE_ASSERT_OK_AND_ASSIGN(ScoreFileResult result, ScoreSceneFile(file.dump(), {}));
  std::vector<std::string> v1 = Lines(result.pdms_csv), v2 = Lines(result.epdms_csv);
  ASSERT_EQ(v1.size(), file["scenes"][0]["candidates"].size() + 2);
  EXPECT_EQ(v1[0], ",token,valid,no_at_fault_collisions,drivable_area_compliance,ego_progress,"
                   "time_to_collision_within_bound,comfort,driving_direction_compliance,score,candidate");
  EXPECT_EQ(v2[0], ",token,valid,no_at_fault_collisions,drivable_area_compliance,driving_direction_compliance,"
                   "traffic_light_compliance,ego_progress,time_to_collision_within_bound,lane_keeping,history_comfort,"
                   "two_frame_extended_comfort,score,candidate");
  EXPECT_EQ(v1[2], "1,\"a,\"\"b\",False,,,,,,,,nan_x");
  EXPECT_THAT(v1[1], ::testing::StartsWith("0,\"a,\"\"b\",True,1.0,1.0,0.925030851"));
  // The mean leaves refused rows out, as the official evaluation does.
  json out = json::parse(result.json);
  double sum = 0;
  int n = 0;
  for (const json& c : out["scenes"][0]["candidates"]) {
    if (c["v1"]["valid"]) sum += c["v1"]["PDMS"].get<double>(), ++n;
  }
  std::vector<std::string> mean = absl::StrSplit(v1.back(), ',');
  EXPECT_EQ(mean[1], "average");
  EXPECT_EQ(mean[2], "False");
  EXPECT_NEAR(std::stod(mean[9]), sum / n, 1e-12);
  EXPECT_EQ(out["summary"]["nan_x"]["invalid"], 1);
  EXPECT_TRUE(out["summary"]["nan_x"]["v1"]["PDMS"].is_null());
}

// Both resolved scenes are rebuilt from the raw scene and give the official scores again.
TEST(ScoreFile, ResolveBuildsBoth) {
  json file = json::parse(testing::ReadGolden("public/scenes.json.gz"));
  json scene = file["scenes"][46];
  file["scenes"] = json::array({scene});
  SWERVE_ASSERT_OK_AND_ASSIGN(ScoreFileResult want, ScoreSceneFile(file.dump(), {}));
  file["scenes"][0].erase("resolved");
  SWERVE_ASSERT_OK_AND_ASSIGN(ScoreFileResult got, ScoreSceneFile(file.dump(), {.resolve = true}));
  ExpectNear(json::parse(got.json)["summary"], json::parse(want.json)["summary"], "summary");
  SWERVE_ASSERT_OK_AND_ASSIGN(got, ScoreSceneFile(file.dump(), {.resolve = true, .reactive = true}));
  EXPECT_TRUE(got.broken.empty());
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
