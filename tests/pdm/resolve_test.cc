// The resolver and the reference planner against what the official code cached (tests/golden/pdms).
#include "pdm/resolve.h"

#include <gtest/gtest.h>

#include <set>

#include "base/status_matchers.h"
#include "tests/pdm/golden_files.h"

namespace swerve::pdm {
namespace {

double MaxDifference(const google::protobuf::RepeatedPtrField<v1::Pose>& a, const google::protobuf::RepeatedPtrField<v1::Pose>& b) {
  if (a.size() != b.size()) return 1e9;
  double worst = 0;
  for (int i = 0; i < a.size(); ++i) {
    worst = std::max({worst, std::abs(a[i].x() - b[i].x()), std::abs(a[i].y() - b[i].y()),
                      std::abs(std::remainder(a[i].heading() - b[i].heading(), 2 * M_PI))});
  }
  return worst;
}

TEST(Resolve, ReferencePlanOfEveryGoldenScene) {
  int same = 0, all = 0;
  for (const v1::Scene& scene : testing::PublicScenes().scenes) {
    SWERVE_ASSERT_OK_AND_ASSIGN(auto plan, ResolveReference(scene));
    const double off = MaxDifference(plan, scene.resolved_v1().pdm_reference());
    ++all;
    if (off < 1e-4) {
      ++same;
    } else {
      printf("%s: reference off by %g\n", scene.id().c_str(), off);
    }
  }
  EXPECT_EQ(same, all);
}

TEST(Resolve, MapRouteCentrelineAndAgentsOfEveryGoldenScene) {
  int routes = 0, lines = 0, all = 0;
  for (const v1::Scene& golden : testing::PublicScenes().scenes) {
    SCOPED_TRACE(golden.id());
    v1::Scene scene = golden;
    scene.clear_resolved_v1();
    ASSERT_OK(Resolve(&scene));
    const v1::ResolvedScene &got = scene.resolved_v1(), &want = golden.resolved_v1();
    ++all;
    routes += std::set<std::string>(got.route_lane_ids().begin(), got.route_lane_ids().end()) ==
              std::set<std::string>(want.route_lane_ids().begin(), want.route_lane_ids().end());
    const bool line = MaxDifference(got.centerline(), want.centerline()) < 1e-9;
    lines += line;
    if (!line) printf("%s: another centreline\n", golden.id().c_str());
    std::set<std::string> tokens, expected;
    for (const auto& p : got.drivable_map()) tokens.insert(p.token());
    for (const auto& p : want.drivable_map()) expected.insert(p.token());
    EXPECT_EQ(tokens, expected);
    ASSERT_EQ(got.agents_size(), want.agents_size());
    for (const v1::Track& track : got.agents()) {
      const auto match = std::find_if(want.agents().begin(), want.agents().end(), [&](const v1::Track& t) { return t.token() == track.token(); });
      ASSERT_NE(match, want.agents().end()) << track.token();
      ASSERT_EQ(track.states_size(), match->states_size()) << track.token();
      for (int i = 0; i < track.states_size(); ++i) {
        const auto &s = track.states(i), &w = match->states(i);
        ASSERT_EQ(s.index(), w.index());
        EXPECT_NEAR(s.x(), w.x(), 1e-7);
        EXPECT_NEAR(s.y(), w.y(), 1e-7);
        EXPECT_NEAR(std::remainder(s.heading() - w.heading(), 2 * M_PI), 0, 1e-9);
        EXPECT_NEAR(s.vx(), w.vx(), 1e-9);
      }
    }
  }
  EXPECT_EQ(routes, all);
  EXPECT_EQ(lines, all);
}

TEST(ResolveV2, ReferenceLightsAndAgentsOfEveryGoldenScene) {
  int same = 0, all = 0;
  for (const v1::Scene& golden : testing::PublicScenes().scenes) {
    SCOPED_TRACE(golden.id());
    v1::Scene scene = golden;
    scene.clear_resolved_v2();
    ASSERT_OK(Resolve(&scene, Rules::kV2));
    EXPECT_TRUE(scene.has_resolved_v1());  // untouched
    const v1::ResolvedScene &got = scene.resolved_v2(), &want = golden.resolved_v2();
    const double off = MaxDifference(got.pdm_reference(), want.pdm_reference());
    ++all;
    same += off < 1e-4;
    if (off >= 1e-4) printf("%s: v2 reference off by %g\n", golden.id().c_str(), off);
    EXPECT_EQ(got.agents_size(), want.agents_size());
    ASSERT_EQ(got.red_lights_size(), want.red_lights_size());
    for (int t = 0; t < got.red_lights_size(); ++t) {
      EXPECT_EQ(got.red_lights(t).SerializeAsString(), want.red_lights(t).SerializeAsString()) << t;
    }
    EXPECT_EQ(got.red_light_polygons_size(), want.red_light_polygons_size());
  }
  EXPECT_EQ(same, all);
}

TEST(Resolve, NamesWhatIsMissing) {
  v1::Scene scene;
  EXPECT_THAT(Resolve(&scene), StatusIs(absl::StatusCode::kInvalidArgument, ::testing::HasSubstr("ego")));
  scene = testing::PublicScenes().scenes[0];
  scene.clear_route_roadblock_ids();
  const absl::Status status = Resolve(&scene);
  EXPECT_NE(status.message().find("route_roadblock_ids"), absl::string_view::npos) << status;
  scene = testing::PublicScenes().scenes[0];
  scene.mutable_map()->mutable_lanes(0)->mutable_baseline(3)->set_x(std::nan(""));
  EXPECT_THAT(Resolve(&scene), StatusIs(absl::StatusCode::kInvalidArgument, ::testing::HasSubstr("baseline")));
  EXPECT_EQ(scene.resolved_v1().SerializeAsString(), testing::PublicScenes().scenes[0].resolved_v1().SerializeAsString());
}

}  // namespace
}  // namespace swerve::pdm
