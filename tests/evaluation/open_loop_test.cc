// Open-loop metrics against values worked out by hand from the protocols' definitions.
#include "evaluation/open_loop.h"

#include <cmath>
#include <filesystem>
#include <limits>
#include <nlohmann/json.hpp>
#include <numbers>

#include "absl/strings/str_cat.h"
#include "base/status_matchers.h"
#include "evaluation/bev_occupancy.h"
#include "evaluation/eval_json.h"
#include "evaluation/open_loop_json.h"
#include "policy/fake_engine.h"
#include "scenes/prompt.h"
#include "tests/evaluation/test_scene.h"

namespace swerve {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

// Straight on.
std::vector<v1::Pose> AtSpeed(double speed) {
  std::vector<v1::Pose> plan(8);
  for (int i = 0; i < 8; ++i) plan[i].set_x(speed * 0.5 * (i + 1));
  return plan;
}

std::vector<v1::Pose> Through(std::vector<Vec2> points) {
  std::vector<v1::Pose> plan(points.size());
  for (size_t i = 0; i < points.size(); ++i) SetTestPose(points[i].x, points[i].y, 0, &plan[i]);
  return plan;
}

// Stands still on the road through 5 s; x, y in the ego frame.
void AddStanding(v1::ObjectType type, double x, double y, double size, v1::Scene* scene) {
  v1::Track* track = scene->add_tracks();
  track->set_token("standing");
  track->set_type(type);
  track->set_length(size);
  track->set_width(size);
  for (int k = 0; k <= 10; ++k) {
    v1::TrackState* state = track->add_states();
    state->set_index(k);
    state->set_x(kTestX + x);
    state->set_y(kTestY + y);
  }
}

TEST(Horizons, AtTheTimeAndUpToIt) {
  const PerStep<double> steps = {1, 2, 3, 4, 5, 6, 7, 8};
  EXPECT_THAT(AtTheTime(steps).at, ElementsAre(2, 4, 6, 8));
  EXPECT_EQ(AtTheTime(steps).mean, 4);  // of 1, 2, 3 s: the fourth is not in it
  EXPECT_THAT(UpToTheTime(steps).at, ElementsAre(1.5, 2.5, 3.5, 4.5));
  EXPECT_EQ(UpToTheTime(steps).mean, 2.5);
}

TEST(BevOccupancy, ACarAheadAndTheEgosReach) {
  BevOccupancy grid;
  grid.FillBox(BoxCorners(12.3, 0, 0, 4.6, 1.9));  // 10.0 … 14.6 m, ±0.95 m
  // Rows round(120) … round(129.2), columns round(98.1) … round(101.9).
  EXPECT_EQ(grid.Count(), 10 * 5);
  EXPECT_TRUE(grid.At(120, 98) && grid.At(129, 102));
  EXPECT_FALSE(grid.At(119, 100) || grid.At(130, 100) || grid.At(125, 97) || grid.At(125, 103));
  // The ego's rows are floor(2x + 97 … 104), its columns floor(2y + 98 … 101).
  EXPECT_FALSE(grid.EgoHits({7.99, 0}));
  EXPECT_TRUE(grid.EgoHits({8.0, 0}));
  EXPECT_TRUE(grid.EgoHits({16.49, 0}));
  EXPECT_FALSE(grid.EgoHits({16.5, 0}));
  EXPECT_TRUE(grid.EgoHits({12, 2.49}));
  EXPECT_FALSE(grid.EgoHits({12, 2.5}));
  EXPECT_TRUE(grid.EgoHits({12, -1.5}));
  EXPECT_FALSE(grid.EgoHits({12, -1.51}));
}

TEST(BevOccupancy, TurnedAndThinBoxes) {
  BevOccupancy diamond;  // corners 2 m = 4 cells from the middle: 1 + 3 + … + 9 + … + 3 + 1 cells
  diamond.FillBox(BoxCorners(0, 0, std::numbers::pi / 4, std::sqrt(8.0), std::sqrt(8.0)));
  EXPECT_EQ(diamond.Count(), 41);
  BevOccupancy line;  // without area, yet its outline is there: rows 100 … 106
  line.FillBox({Vec2{0, 0}, Vec2{3, 1}, Vec2{3, 1}, Vec2{0, 0}});
  EXPECT_EQ(line.Count(), 7);
  EXPECT_TRUE(line.At(100, 100) && line.At(103, 101) && line.At(106, 102));
}

TEST(BevOccupancy, NothingIsHitOutsideTheGrid) {
  BevOccupancy grid;
  grid.FillBox(BoxCorners(54, 0, 0, 10, 1.9));  // from 49 m on: rows 198 and 199 are inside
  EXPECT_EQ(grid.Count(), 2 * 5);
  EXPECT_TRUE(grid.EgoHits({48, 0}));
  EXPECT_FALSE(grid.EgoHits({60, 0}));  // pressed back onto the edge it would
  EXPECT_FALSE(grid.EgoHits({1e300, 0}));
  EXPECT_FALSE(grid.EgoHits({kNaN, 0}));
  grid.FillBox(BoxCorners(kNaN, 0, 0, 5, 2));
  grid.FillBox(BoxCorners(1e300, 1e300, 0, 5, 2));
  EXPECT_EQ(grid.Count(), 2 * 5);
}

TEST(ImpromptuAction, Speed) {
  EXPECT_EQ(ImpromptuAction(AtSpeed(8)), (MetaAction{"maintain", "keep"}));
  EXPECT_EQ(ImpromptuAction(AtSpeed(1.9)).longitudinal, "stop");
  EXPECT_EQ(ImpromptuAction(AtSpeed(2)).longitudinal, "maintain");
  // Steps of 2 m are 4 m/s; the fifth decides.
  EXPECT_EQ(ImpromptuAction(Through({{2, 0}, {4, 0}, {6, 0}, {8, 0}, {11.5, 0}})).longitudinal, "accelerate");
  EXPECT_EQ(ImpromptuAction(Through({{2, 0}, {4, 0}, {6, 0}, {8, 0}, {11.49, 0}})).longitudinal, "maintain");
  EXPECT_EQ(ImpromptuAction(Through({{2, 0}, {4, 0}, {6, 0}, {8, 0}, {8.5, 0}})).longitudinal, "decelerate");
  EXPECT_EQ(ImpromptuAction({}), (MetaAction{"stop", "keep"}));
}

TEST(ImpromptuAction, Path) {
  // Third point 1 m off the first step's line; the third step points 14° or 1.4° to the side.
  EXPECT_EQ(ImpromptuAction(Through({{4, 0}, {8, 0}, {12, 0.99}, {16, 3}, {20, 5}})).lateral, "keep");
  EXPECT_EQ(ImpromptuAction(Through({{4, 0}, {8, 0}, {12, 1}, {16, 3}, {20, 5}})).lateral, "turn left");
  EXPECT_EQ(ImpromptuAction(Through({{4, 0}, {8, 0}, {12, -1}, {16, -3}, {20, -5}})).lateral, "turn right");
  EXPECT_EQ(ImpromptuAction(Through({{4, 0}, {8, 0.9}, {12, 1}, {16, 1}, {20, 1}})).lateral, "change left");
  EXPECT_EQ(ImpromptuAction(Through({{4, 0}, {8, -0.9}, {12, -1}, {16, -1}, {20, -1}})).lateral, "change right");
}

// 8 m/s towards a car that stands with its middle 30 m ahead. The good driver brakes to stand after 21.15 m: he is
// k t² behind one who does not brake, k = 8² / (4 · 21.15).
TEST(MeasureOpenLoop, BlindTowardsAStandingCar) {
  const v1::Scene scene = MakeTestScene("s", "lead", 8, 30);
  SWERVE_ASSERT_OK_AND_ASSIGN(const OpenLoopScene m, MeasureOpenLoop(scene, AtSpeed(8)));
  const double k = 64 / 84.6;
  ASSERT_TRUE(m.answered);
  EXPECT_EQ(m.family, "lead");
  for (int i = 0; i < 8; ++i) EXPECT_NEAR(m.l2[i], k * 0.25 * (i + 1) * (i + 1), 1e-9) << i;
  // In the LiDAR's frame the car fills rows 154 … 163; the plan's x reaches them from 25 m on: 28 and 32 m.
  EXPECT_THAT(m.hit_uniad, ElementsAre(false, false, false, false, false, false, true, true));
  EXPECT_EQ(m.hit_st_p3, m.hit_uniad);
  EXPECT_FALSE(m.swerve_speed_ok || m.impromptu_speed_ok);  // keeps its speed where braking was right
  EXPECT_TRUE(m.swerve_path_ok && m.impromptu_path_ok);

  const OpenLoopSummary s = SummariseOpenLoop({m});
  EXPECT_NEAR(s.l2_uniad.at[0], k, 1e-9);
  EXPECT_NEAR(s.l2_uniad.at[3], 16 * k, 1e-9);
  EXPECT_NEAR(s.l2_uniad.mean, k * 14 / 3, 1e-9);
  EXPECT_NEAR(s.l2_st_p3.at[0], k * 1.25 / 2, 1e-9);
  EXPECT_NEAR(s.l2_st_p3.at[2], k * 22.75 / 6, 1e-9);
  EXPECT_NEAR(s.ade, k * 51 / 8, 1e-9);
  EXPECT_NEAR(s.fde, 16 * k, 1e-9);
  EXPECT_THAT(s.collision_uniad.at, ElementsAre(0, 0, 0, 1));
  EXPECT_THAT(s.collision_st_p3.at, ElementsAre(0, 0, 0, 0.25));
  EXPECT_EQ(s.planning_swerve.joint, 0);
  EXPECT_EQ(s.planning_swerve.path, 1);
}

TEST(MeasureOpenLoop, PedestriansAreStP3sAloneAndTwoWheelersBoths) {
  v1::Scene scene = MakeTestScene("s", "free", 8, 0);
  AddStanding(v1::PEDESTRIAN, 20, 0, 0.6, &scene);
  // Rows 138 and 139: hit between 17 and 21.5 m. 10 m/s is there at 2 s, the ground truth (8 m/s) at 2.5 s.
  SWERVE_ASSERT_OK_AND_ASSIGN(const OpenLoopScene m, MeasureOpenLoop(scene, AtSpeed(10)));
  EXPECT_THAT(m.hit_uniad, Each(false));
  EXPECT_THAT(m.hit_st_p3, ElementsAre(false, false, false, true, false, false, false, false));
  const OpenLoopSummary s = SummariseOpenLoop({m});
  EXPECT_THAT(s.collision_st_p3.at, ElementsAre(0, 0.25, 1.0 / 6, 0.125));
  EXPECT_NEAR(s.collision_st_p3.mean, (0.25 + 1.0 / 6) / 3, 1e-12);
  EXPECT_EQ(s.collision_uniad.mean, 0);

  scene.mutable_tracks(0)->set_type(v1::BICYCLE);
  SWERVE_ASSERT_OK_AND_ASSIGN(const OpenLoopScene bicycle, MeasureOpenLoop(scene, AtSpeed(10)));
  EXPECT_TRUE(bicycle.hit_uniad[3] && bicycle.hit_st_p3[3]);
  scene.mutable_tracks(0)->set_type(v1::TRAFFIC_CONE);
  SWERVE_ASSERT_OK_AND_ASSIGN(const OpenLoopScene cone, MeasureOpenLoop(scene, AtSpeed(10)));
  EXPECT_THAT(cone.hit_st_p3, Each(false));
}

TEST(MeasureOpenLoop, WhereTheGroundTruthHitsNothingCounts) {
  v1::Scene scene = MakeTestScene("s", "free", 8, 0);
  AddStanding(v1::VEHICLE, 20, 0, 0.6, &scene);  // the ground truth is there at 2.5 s
  SWERVE_ASSERT_OK_AND_ASSIGN(const OpenLoopScene same, MeasureOpenLoop(scene, AtSpeed(8)));
  EXPECT_THAT(same.hit_uniad, Each(false));
  // 4.5 m/s is there at 4 s (18 m), when the ground truth has passed.
  SWERVE_ASSERT_OK_AND_ASSIGN(const OpenLoopScene slow, MeasureOpenLoop(scene, AtSpeed(4.5)));
  EXPECT_THAT(slow.hit_uniad, ElementsAre(false, false, false, false, false, false, false, true));
}

TEST(MeasureOpenLoop, TheBoxFollowsThePlansHeadingThroughTheLidarsPlace) {
  v1::Scene scene = MakeTestScene("s", "free", 1, 0);
  AddStanding(v1::VEHICLE, 11, 1.4, 0.6, &scene);  // rows 120, 121, columns 102, 103
  std::vector<v1::Pose> plan = AtSpeed(0);
  SetTestPose(10, 0, 0, &plan[0]);  // columns 98 … 101
  SetTestPose(10, 0, std::numbers::pi / 2, &plan[1]);  // the LiDAR 0.94 m further left: 99 … 102
  SWERVE_ASSERT_OK_AND_ASSIGN(const OpenLoopScene m, MeasureOpenLoop(scene, plan));
  EXPECT_FALSE(m.hit_uniad[0]);
  EXPECT_TRUE(m.hit_uniad[1]);
}

TEST(MeasureOpenLoop, PlansThatAreNoneAndScenesWithoutTruth) {
  v1::Scene scene = MakeTestScene("s7", "free", 8, 0);
  std::vector<v1::Pose> broken = AtSpeed(8);
  broken[3].set_heading(kNaN);
  for (const auto& plan : {std::vector<v1::Pose>(), Through({{1, 0}, {2, 0}}), broken}) {
    SWERVE_ASSERT_OK_AND_ASSIGN(const OpenLoopScene m, MeasureOpenLoop(scene, plan));
    EXPECT_FALSE(m.answered || m.swerve_speed_ok || m.impromptu_path_ok);
  }
  scene.mutable_gt()->RemoveLast();
  EXPECT_THAT(MeasureOpenLoop(scene, AtSpeed(8)), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("scene s7 has 7")));
}

OpenLoopScene Measured(const std::string& family, PerStep<double> l2) {
  OpenLoopScene m;
  m.family = family;
  m.answered = true;
  m.l2 = l2;
  return m;
}

TEST(SummariseOpenLoop, DenominatorsAndMissRates) {
  OpenLoopScene near = Measured("a", {1, 1, 1, 1, 1, 1, 1, 1});
  near.hit_uniad[1] = true;
  near.swerve_speed_ok = near.swerve_path_ok = near.impromptu_speed_ok = true;
  const OpenLoopScene early = Measured("b", {3, 0, 0, 0, 0, 0, 0, 0});  // off, and back by the end
  OpenLoopScene silent;
  silent.family = "b";
  const OpenLoopResult r = SummariseOpenLoopByFamily({near, early, silent});
  const OpenLoopSummary& s = r.overall;
  EXPECT_EQ(s.scenes, 3);
  EXPECT_EQ(s.answered, 2);
  EXPECT_DOUBLE_EQ(s.l2_uniad.at[0], 0.5);
  EXPECT_DOUBLE_EQ(s.l2_st_p3.at[0], 1.25);
  EXPECT_DOUBLE_EQ(s.ade, 11.0 / 16);
  EXPECT_DOUBLE_EQ(s.fde, 0.5);
  EXPECT_DOUBLE_EQ(s.miss_nuscenes, 2.0 / 3);
  EXPECT_DOUBLE_EQ(s.miss_argoverse, 1.0 / 3);
  EXPECT_THAT(s.collision_uniad.at, ElementsAre(0.5, 0, 0, 0));
  EXPECT_DOUBLE_EQ(s.collision_uniad.mean, 0.5 / 3);
  EXPECT_DOUBLE_EQ(s.planning_swerve.joint, 1.0 / 3);
  EXPECT_DOUBLE_EQ(s.planning_impromptu.speed, 1.0 / 3);
  EXPECT_EQ(s.planning_impromptu.joint, 0);
  EXPECT_EQ(r.families.at("b").answered, 1);
  EXPECT_EQ(r.families.at("a").fde, 1);
  // Exactly 2 m is no miss.
  EXPECT_EQ(SummariseOpenLoop({Measured("a", {2, 2, 2, 2, 2, 2, 2, 2})}).miss_nuscenes, 0);
  EXPECT_TRUE(std::isnan(SummariseOpenLoop({silent}).ade));
  EXPECT_TRUE(std::isnan(SummariseOpenLoop({}).fde));
}

class OpenLoopEvaluation : public testing::Test {
 protected:
  void SetUp() override {
    const std::string dir = testing::TempDir() + "/open_loop_scenes";
    std::filesystem::remove_all(dir);
    SWERVE_ASSERT_OK_AND_ASSIGN(auto writer, SceneWriter::Create(dir));
    for (int i = 0; i < 3; ++i) {
      scenes_.push_back(MakeTestScene(absl::StrCat("s", i), i < 2 ? "free" : "lead", 8 + 0.1 * i, i < 2 ? 0 : 30));
      ASSERT_OK(writer->Add(scenes_.back()));
    }
    ASSERT_OK(writer->Finish());
    SWERVE_ASSERT_OK_AND_ASSIGN(store_, SceneStore::Open({dir}));
  }

  // What `eval --metrics …` does, but for the engine.
  void Run(FakeEngine::Script script) {
    FakeEngine engine(std::move(script));
    std::vector<OpenLoopScene> measured;
    SWERVE_ASSERT_OK_AND_ASSIGN(const EvalResult eval,
                                Evaluate(engine, *store_, {}, MeasureGreedyAnswers(*store_, &measured)));
    eval_json_ = EvalToJson(eval);
    result_ = SummariseOpenLoopByFamily(measured);
  }
  std::string Truth(const Prompt& prompt) const {
    for (const v1::Scene& s : scenes_) {
      if (BasePromptText(s) == prompt.text) return GtResponseText(s);
    }
    return "";
  }

  std::vector<v1::Scene> scenes_;
  std::unique_ptr<SceneStore> store_;
  std::string eval_json_;
  OpenLoopResult result_;
};

TEST_F(OpenLoopEvaluation, OnlyTheGreedyAnswerOfEachSceneCounts) {
  Run([&](const Prompt& p, uint64_t seed) { return seed == 0 ? Truth(p) : std::string("no answer"); });
  EXPECT_EQ(result_.overall.scenes, 3);
  EXPECT_EQ(result_.overall.answered, 3);
  EXPECT_LT(result_.overall.ade, 0.08);  // an answer's poses are rounded to 0.1 m
  EXPECT_EQ(result_.overall.collision_st_p3.at[3], 0);
  EXPECT_EQ(result_.overall.planning_swerve.joint, 1);
  EXPECT_EQ(result_.families.at("lead").scenes, 1);
}

TEST_F(OpenLoopEvaluation, JsonAddsKeysAndChangesNone) {
  Run([&](const Prompt& p, uint64_t) { return Truth(p); });
  SWERVE_ASSERT_OK_AND_ASSIGN(const OpenLoopMetrics all, OpenLoopMetricsOf({"l2", "collision", "planning"}));
  SWERVE_ASSERT_OK_AND_ASSIGN(const std::string text, AddMetricsToJson(eval_json_, all, &result_, nullptr));
  auto json = nlohmann::json::parse(text);
  const auto& overall = json["open_loop"]["overall"];
  for (const char* protocol : {"uniad", "st_p3"}) {
    for (const char* key : {"1s", "2s", "3s", "4s", "mean_1s_2s_3s"}) {
      EXPECT_TRUE(overall["l2_m"][protocol][key].is_number()) << protocol << key;
      EXPECT_TRUE(overall["collision_rate"][protocol][key].is_number()) << protocol << key;
    }
  }
  EXPECT_EQ(overall["fde_4s_m"], result_.overall.fde);
  EXPECT_EQ(overall["miss_rate_2m"]["argoverse"], 0);
  EXPECT_EQ(overall["planning_accuracy"]["impromptu"]["joint"], 1);
  EXPECT_EQ(json["open_loop"]["families"]["lead"]["scenes"], 1);
  json.erase("open_loop");
  EXPECT_EQ(json, nlohmann::json::parse(eval_json_));
  EXPECT_EQ(json.size(), 2u);
  ASSERT_OK(EvalFromJson(text).status());
  EXPECT_EQ(AddMetricsToJson(eval_json_, {}, nullptr, nullptr).value(), eval_json_);

  SWERVE_ASSERT_OK_AND_ASSIGN(const OpenLoopMetrics planning, OpenLoopMetricsOf({"planning"}));
  SWERVE_ASSERT_OK_AND_ASSIGN(const std::string some, AddMetricsToJson(eval_json_, planning, &result_, nullptr));
  EXPECT_FALSE(nlohmann::json::parse(some)["open_loop"]["overall"].contains("l2_m"));
  EXPECT_THAT(OpenLoopMetricsOf({"l3"}), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("\"l3\"")));
}

TEST_F(OpenLoopEvaluation, ASilentPolicyHasNoDistanceButMissesEverything) {
  Run([](const Prompt&, uint64_t) { return std::string("no answer"); });
  const OpenLoopMetrics all = {true, true, true};
  SWERVE_ASSERT_OK_AND_ASSIGN(const std::string text, AddMetricsToJson(eval_json_, all, &result_, nullptr));
  const auto overall = nlohmann::json::parse(text)["open_loop"]["overall"];
  EXPECT_EQ(overall["answered"], 0);
  EXPECT_TRUE(overall["l2_m"]["uniad"]["3s"].is_null());
  EXPECT_TRUE(overall["collision_rate"]["st_p3"]["3s"].is_null());
  EXPECT_EQ(overall["miss_rate_2m"]["nuscenes"], 1);
  EXPECT_EQ(overall["planning_accuracy"]["swerve"]["joint"], 0);
  const std::string table = OpenLoopTable(result_.overall, all);
  for (const char* name : {"UniAD", "ST-P3", "ADE", "nuScenes", "Argoverse", "Swerve", "Impromptu"}) {
    EXPECT_THAT(table, HasSubstr(name));
  }
  EXPECT_THAT(OpenLoopTable(result_.overall, {.planning = true}), testing::Not(HasSubstr("UniAD")));
}

}  // namespace
}  // namespace swerve
