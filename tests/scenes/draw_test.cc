#include "scenes/draw.h"

#include <gtest/gtest.h>

#include "base/status_matchers.h"
#include "scenes/validate.h"
#include "tests/scenes/test_scenes.h"

namespace swerve {
namespace {
using testing::HasSubstr;

TEST(Draw, SvgStandsAloneAndIsReproducible) {
  TestSceneBuilder b;
  b.AddObject("lead", v1::VEHICLE, 4.5, 1.9, 24, 0.2, 6, 0);
  auto plans = StoredTrajectories(b.scene);
  ASSERT_EQ(plans.size(), 1u);
  EXPECT_EQ(plans[0].label, "GT");
  SWERVE_ASSERT_OK_AND_ASSIGN(std::string svg, DrawSceneSvg(b.scene, plans));
  EXPECT_EQ(svg.rfind("<svg", 0), 0u);
  EXPECT_THAT(svg, HasSubstr("</svg>"));
  SWERVE_ASSERT_OK_AND_ASSIGN(std::string again, DrawSceneSvg(b.scene, plans));
  EXPECT_TRUE(svg == again);
  // Two pictures in one page must not use each other's letters.
  b.scene.set_id("other");
  SWERVE_ASSERT_OK_AND_ASSIGN(std::string other, DrawSceneSvg(b.scene, plans));
  size_t at = svg.find("<symbol");
  std::string id = svg.substr(svg.find("id=", at), 24);
  EXPECT_EQ(other.find(id), std::string::npos) << id;
}

TEST(Draw, PngAndHostileNumbers) {
  TestSceneBuilder b;
  b.AddObject("lead", v1::VEHICLE, 4.5, 1.9, 24, 0.2, 6, 0);
  b.scene.mutable_tracks(0)->mutable_states(0)->set_x(std::nan(""));
  b.scene.mutable_gt(7)->set_x(1e300);
  SWERVE_ASSERT_OK_AND_ASSIGN(std::string png, DrawScenePng(b.scene, StoredTrajectories(b.scene)));
  EXPECT_EQ(png.substr(1, 3), "PNG");
}

TEST(Validate, NamesEveryProblem) {
  TestSceneBuilder b;
  for (int i = 0; i <= 50; ++i) *b.scene.mutable_resolved_v1()->add_pdm_reference() = b.Global(0.8 * i, 0, 0);
  EXPECT_THAT(ValidateScene(b.scene), testing::IsEmpty());
  b.scene.clear_family();
  b.scene.mutable_gt(2)->set_y(std::nan(""));
  b.scene.mutable_ego_past(0)->set_time_us(99999999);
  b.scene.clear_resolved_v1();
  EXPECT_THAT(ValidateScene(b.scene),
              testing::UnorderedElementsAre("family: is empty", "gt[2]: is not finite",
                                            HasSubstr("ego_past[0]"), HasSubstr("ego_past[1]"), HasSubstr("resolved_v1")));
  EXPECT_GT(ValidateScene(v1::Scene()).size(), 5u);
}

}  // namespace
}  // namespace swerve
