// Exact agreement with the official code on every public candidate (tests/golden/pdms).
#include <gtest/gtest.h>

#include "pdm/score.h"
#include "tests/pdm/golden_files.h"

namespace swerve::pdm {
namespace {

using nlohmann::json;

TEST(GoldenV1, EverySubScoreOfEveryCandidate) {
  const SceneFile& file = testing::PublicScenes();
  for (const auto& b : file.broken) FAIL() << b.name << ": " << b.status;
  json scores = json::parse(testing::ReadGolden("public/scores.json.gz"))["scenes"];
  ASSERT_EQ(file.scenes.size(), scores.size());
  int checked = 0;
  for (size_t i = 0; i < file.scenes.size(); ++i) {
    const v1::Scene& scene = file.scenes[i];
    auto prepared = Prepare(scene);
    ASSERT_TRUE(prepared.ok()) << scene.id() << ": " << prepared.status();
    for (int c = 0; c < scene.candidates_size(); ++c) {
      const json& want = scores[i]["candidates"][c]["v1"];
      if (want["fragile"]) continue;
      SCOPED_TRACE(scene.id() + "/" + scene.candidates(c).name());
      Score got = ScoreTrajectory(**prepared, testing::PosesOf(scene.candidates(c).poses()));
      EXPECT_EQ(got.invalid, v1::INVALID_REASON_UNSPECIFIED);
      EXPECT_NEAR(got.scores.nc(), want["NC"].get<double>(), 1e-6);
      EXPECT_NEAR(got.scores.dac(), want["DAC"].get<double>(), 1e-6);
      EXPECT_NEAR(got.scores.ddc(), want["DDC"].get<double>(), 1e-6);
      EXPECT_NEAR(got.scores.ep(), want["EP"].get<double>(), 1e-6);
      EXPECT_NEAR(got.scores.ttc(), want["TTC"].get<double>(), 1e-6);
      EXPECT_NEAR(got.scores.comfort(), want["C"].get<double>(), 1e-6);
      EXPECT_NEAR(got.scores.pdms(), want["PDMS"].get<double>(), 1e-6);
      Score plain = ScoreTrajectory(**prepared, testing::PosesOf(scene.candidates(c).poses()), /*want_facts=*/false);
      EXPECT_EQ(plain.scores.SerializeAsString(), got.scores.SerializeAsString());
      ++checked;
    }
  }
  EXPECT_GT(checked, 800);
}

// The diagnostics pin why a score is what it is: areas, times of the first events, comfort limits.
TEST(GoldenV1, Diagnostics) {
  const SceneFile& file = testing::PublicScenes();
  json scores = json::parse(testing::ReadGolden("public/scores.json.gz"))["scenes"];
  for (size_t i = 0; i < file.scenes.size(); ++i) {
    const v1::Scene& scene = file.scenes[i];
    auto prepared = Prepare(scene);
    ASSERT_TRUE(prepared.ok());
    for (int c = 0; c < scene.candidates_size(); ++c) {
      const json& want = scores[i]["candidates"][c]["v1"];
      if (want["fragile"]) continue;
      const json& diag = want["diag"];
      SCOPED_TRACE(scene.id() + "/" + scene.candidates(c).name());
      States states;
      ASSERT_EQ(SimulateCandidate(**prepared, testing::PosesOf(scene.candidates(c).poses()), &states),
                v1::INVALID_REASON_UNSPECIFIED);
      Trace trace;
      Metrics m = Evaluate((*prepared)->map(), (*prepared)->observation(), states, (*prepared)->options(), &trace);
      std::string areas;
      for (uint8_t f : trace.areas.flags) areas += static_cast<char>('0' + f);
      EXPECT_EQ(areas, diag["areas"].get<std::string>());
      auto index = [](const json& v) { return v.is_null() ? -1 : v.get<int>(); };
      EXPECT_EQ(trace.first_at_fault, index(diag["collision_time_idx"][1]));
      EXPECT_EQ(trace.ttc_sample, index(diag["ttc_time_idx"][1]));
      EXPECT_NEAR(m.progress, diag["progress_raw"][1].get<double>(), 1e-6);
      EXPECT_NEAR((*prepared)->reference().progress, diag["progress_raw"][0].get<double>(), 1e-6);
      for (int l = 0; l < kComfortLimits; ++l) EXPECT_EQ(trace.comfort.holds[l], diag["comfort"][1][l].get<bool>());
    }
  }
}

TEST(GoldenV1, SimulatedStates) {
  json states = json::parse(testing::ReadGolden("public/states_sample.json.gz"))["states"];
  std::map<std::string, const v1::Scene*> by_name;
  for (const v1::Scene& s : testing::PublicScenes().scenes) by_name[s.id()] = &s;
  for (const json& want : states) {
    const v1::Scene& scene = *by_name.at(want["scene"]);
    for (const v1::Candidate& candidate : scene.candidates()) {
      if (candidate.name() != want["name"]) continue;
      SCOPED_TRACE(scene.id() + "/" + candidate.name());
      auto got = SimulateTrajectory(LocalEgo(scene.ego()), scene.ego().time_us(), testing::PosesOf(candidate.poses()));
      ASSERT_TRUE(got.has_value());
      for (int t = 0; t < kSamples; ++t) {
        const EgoRow& r = (*got)[t];
        double row[] = {r.x + scene.ego().rear_axle().x(), r.y + scene.ego().rear_axle().y(), r.heading, r.vx, r.vy,
                        r.ax, r.ay, r.steering, r.steering_rate, r.yaw_rate, r.yaw_acceleration};
        for (int j = 0; j < 11; ++j) ASSERT_NEAR(row[j], want["v1"][t][j].get<double>(), 1e-6) << t << " column " << j;
      }
    }
  }
}

// What the official code refuses, and what it accepts though it looks odd (§22).
TEST(GoldenV1, InvalidInputs) {
  auto file = ParseSceneFile(testing::ReadGolden("invalid/scenes.json.gz"));
  ASSERT_TRUE(file.ok());
  ASSERT_EQ(file->scenes.size(), 1u);
  json scores = json::parse(testing::ReadGolden("invalid/scores.json.gz"))["scenes"][0]["candidates"];
  const v1::Scene& scene = file->scenes[0];
  auto prepared = Prepare(scene);
  ASSERT_TRUE(prepared.ok()) << prepared.status();
  ASSERT_EQ(scene.candidates_size(), static_cast<int>(scores.size()));
  for (int c = 0; c < scene.candidates_size(); ++c) {
    SCOPED_TRACE(scene.candidates(c).name());
    const json& want = scores[c]["v1"];
    Score got = ScoreTrajectory(**prepared, testing::PosesOf(scene.candidates(c).poses()));
    ASSERT_EQ(got.invalid == v1::INVALID_REASON_UNSPECIFIED, want["valid"].get<bool>());
    if (!want["valid"]) {
      EXPECT_EQ(got.scores.pdms(), 0);
      continue;
    }
    EXPECT_NEAR(got.scores.pdms(), want["PDMS"].get<double>(), 1e-6);
    EXPECT_NEAR(got.scores.ep(), want["EP"].get<double>(), 1e-6);
    EXPECT_NEAR(got.scores.comfort(), want["C"].get<double>(), 1e-6);
  }
}

}  // namespace
}  // namespace swerve::pdm
