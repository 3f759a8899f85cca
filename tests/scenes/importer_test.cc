#include "scenes/traffic_log/importer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/files.h"
#include "base/status_matchers.h"
#include "scenes/store.h"
#include "scenes/validate.h"

namespace swerve {
namespace {
using nlohmann::json;
using testing::HasSubstr;
namespace fs = std::filesystem;

json Agent(const std::string& id, bool ego, double x, double y, double v, int steps = 81) {
  json states = json::array();
  for (int k = 0; k < steps; ++k) states.push_back({k, x + v * 0.1 * k, y, 0.0, v, 0.0});
  return {{"id", id}, {"type", "VEHICLE"}, {"ego", ego}, {"length", 4.5}, {"width", 1.9}, {"states", states}};
}

json Lane(const std::string& id, double x0, double x1, double y, const std::vector<std::string>& next) {
  return {{"id", id}, {"type", "LANE"}, {"centerline", {{x0, y}, {x1, y}}}, {"successors", next}, {"speed_limit_mps", 15}};
}

// A straight road of two lanes in two pieces, 8.1 s; 16 frames of window room: t = 1.5 … 3.0 s.
json SmallLog(const std::string& scene = "road-1") {
  return {{"schema", "neutral-1"}, {"source", "womd_test"}, {"scene_id", scene}, {"map", nullptr}, {"dt", 0.1},
          {"steps", 81}, {"origin", {0, 0}},
          {"agents", {Agent("me", true, 0, 0, 10), Agent("lead", false, 40, 0, 10), Agent("beside", false, -20, 3.5, 11)}},
          {"map_features", {{"lanes", {Lane("a", -100, 60, 0, {"b"}), Lane("b", 60, 300, 0, {}), Lane("c", -100, 300, 3.5, {})}}}},
          {"traffic_lights", {{{"lane", "b"}, {"states", std::vector<std::string>(81, "STOP")}}}}};
}

class ImporterTest : public testing::Test {
 protected:
  void SetUp() override {
    dir_ = testing::TempDir() + "/import_" + testing::UnitTest::GetInstance()->current_test_info()->name();
    fs::remove_all(dir_);
    ASSERT_OK(MakeDirectories(dir_));
  }
  std::string Write(const std::string& name, const std::string& text) {
    std::string path = dir_ + "/" + name;
    EXPECT_OK(WriteFileAtomically(path, text));
    return path;
  }
  std::string dir_;
};

TEST_F(ImporterTest, CutsTheWindowsOfTheMarkedEgo) {
  SWERVE_ASSERT_OK_AND_ASSIGN(ImportCounts c, ImportTrafficLogs({Write("a.json", SmallLog().dump())}, dir_ + "/out", {}));
  EXPECT_EQ(c.windows, 4);  // 1.5, 2.0, 2.5, 3.0 s
  EXPECT_EQ(c.scenes, 4);
  SWERVE_ASSERT_OK_AND_ASSIGN(auto store, SceneStore::Open({dir_ + "/out"}));
  ASSERT_EQ(store->ids().size(), 4u);
  EXPECT_EQ(store->ids()[0], "road-1-me-0015");
  SWERVE_ASSERT_OK_AND_ASSIGN(auto s, store->Get("road-1-me-0015"));
  EXPECT_THAT(ValidateScene(*s), testing::IsEmpty());
  EXPECT_NEAR(s->ego().rear_axle().x(), 15 - 1.461, 1e-6);  // box centre minus rear axle → centre
  EXPECT_NEAR(s->ego().vx(), 10, 1e-6);
  EXPECT_NEAR(s->ego().ax(), 0, 1e-6);
  ASSERT_EQ(s->gt_size(), 8);
  for (int i = 0; i < 8; ++i) EXPECT_NEAR(s->gt(i).x(), 5.0 * (i + 1), 1e-6);
  EXPECT_EQ(s->command(), v1::MOVE_FORWARD);
  EXPECT_EQ(s->location(), "womd");
  EXPECT_EQ(s->tracks_size(), 2);  // without the ego's own box
  EXPECT_EQ(s->tracks(0).states_size(), 11);
  EXPECT_EQ(s->past_tracks(0).states_size(), 4);
  EXPECT_TRUE(s->traffic_lights(0).lights(0).red());
  EXPECT_EQ(s->resolved_v1().pdm_reference_size(), 51);
  EXPECT_GE(s->route_roadblock_ids_size(), 2);
}

TEST_F(ImporterTest, ABrokenFileIsNamedAndTheRestLands) {
  json bad = SmallLog("bad");
  bad["agents"][1]["states"][3][1] = "oops";
  std::vector<std::string> files = {Write("broken.json", "{"), Write("a.json", SmallLog().dump()),
                                    Write("bad.json", bad.dump()), dir_ + "/missing.json"};
  SWERVE_ASSERT_OK_AND_ASSIGN(ImportCounts c, ImportTrafficLogs(files, dir_ + "/out", {}));
  EXPECT_EQ(c.scenes, 4);
  EXPECT_EQ(c.files, 1);
  ASSERT_EQ(c.broken.size(), 3u);
  EXPECT_THAT(c.broken[0], HasSubstr("broken.json"));
  EXPECT_THAT(c.broken[1], testing::AllOf(HasSubstr("bad.json"), HasSubstr("agents[1]")));
  EXPECT_THAT(c.broken[2], HasSubstr("missing.json"));
}

TEST_F(ImporterTest, WindowsWithBadGtAreRejectedByReason) {
  json crash = SmallLog("crash");
  crash["agents"][1] = Agent("lead", false, 30, 0, 4);  // driven into after some 4 s
  json off = SmallLog("off");
  for (auto& s : off["agents"][0]["states"]) s[2] = -2.4;  // half of the car beside the road
  json waits = SmallLog("waits");
  waits["agents"][0] = Agent("me", true, 0, 0, 0);
  std::vector<std::string> files = {Write("crash.json", crash.dump()), Write("off.json", off.dump()),
                                    Write("waits.json", waits.dump()), Write("ok.json", SmallLog().dump())};
  ImportOptions options;
  options.waiting_share = 0;
  SWERVE_ASSERT_OK_AND_ASSIGN(ImportCounts c, ImportTrafficLogs(files, dir_ + "/out", options));
  EXPECT_EQ(c.rejected[kCollides] + c.rejected[kLeavesRoad] + c.rejected[kWaits] + c.scenes, c.windows);
  EXPECT_GE(c.rejected[kCollides], 1);
  EXPECT_EQ(c.rejected[kLeavesRoad], 4);
  EXPECT_EQ(c.rejected[kWaits], 4);
}

TEST_F(ImporterTest, AnyVehicleMayBeTheEgoWhereNoneIsMarked) {
  json log = SmallLog();
  for (auto& a : log["agents"]) a["ego"] = false;
  ImportOptions options;
  options.any_stride_s = 10;
  SWERVE_ASSERT_OK_AND_ASSIGN(ImportCounts c, ImportTrafficLogs({Write("a.json", log.dump())}, dir_ + "/out", options));
  EXPECT_EQ(c.scenes, 3);
  SWERVE_ASSERT_OK_AND_ASSIGN(auto store, SceneStore::Open({dir_ + "/out"}));
  for (const std::string& id : store->ids()) {
    SWERVE_ASSERT_OK_AND_ASSIGN(auto s, store->Get(id));
    EXPECT_EQ(s->tracks_size(), 2) << id;
  }
}

TEST_F(ImporterTest, LocationsFilterAndNothingIsAnError) {
  ImportOptions options;
  options.not_locations = {"womd"};
  EXPECT_THAT(ImportTrafficLogs({Write("a.json", SmallLog().dump())}, dir_ + "/out", options),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("no recording")));
  EXPECT_THAT(SceneStore::Open({dir_ + "/out"}), StatusIs(absl::StatusCode::kNotFound, HasSubstr("index")));
}

// Needs the recordings, which are not part of the repository: SWERVE_DATA, else ../shared/data beside the checkout.
TEST_F(ImporterTest, RealRecordings) {
  const char* env = std::getenv("SWERVE_DATA");
  fs::path logs = fs::path(env ? env : SWERVE_SOURCE_DIR "/../shared/data") / "logs";
  if (!fs::exists(logs)) GTEST_SKIP() << "no recordings at " << logs;
  std::vector<std::string> files;
  for (const char* name : {"USA_US101-4_1_T-1", "USA_Lanker-2_4_T-1", "nuscenes_mini_scene-0916", "womd_eb4b91b10ca94ff2",
                           "womd_nocturne_example_scenario"})
    if (fs::exists(logs / (std::string(name) + ".json"))) files.push_back((logs / (std::string(name) + ".json")).string());
  ImportOptions options;
  options.max_per_recording = 6;
  SWERVE_ASSERT_OK_AND_ASSIGN(ImportCounts c, ImportTrafficLogs(files, dir_ + "/out", options));
  EXPECT_THAT(c.broken, testing::IsEmpty());
  EXPECT_GE(c.scenes, 3 * static_cast<int>(files.size()));
  EXPECT_GT(c.gt_pdms_sum / c.scenes, 0.8);
  SWERVE_ASSERT_OK_AND_ASSIGN(auto store, SceneStore::Open({dir_ + "/out"}));
  for (const std::string& id : store->ids()) {
    SWERVE_ASSERT_OK_AND_ASSIGN(auto s, store->Get(id));
    EXPECT_THAT(ValidateScene(*s), testing::IsEmpty()) << id;
  }
}

}  // namespace
}  // namespace swerve
