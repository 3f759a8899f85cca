#include "scenes/raster.h"

#include <gtest/gtest.h>

#include <array>
#include <chrono>

#include "tests/scenes/test_scenes.h"

namespace swerve {
namespace {

using Rgb = std::array<int, 3>;

// Colour at a place of the ego frame.
Rgb At(const Image& image, double x, double y) {
  int row = static_cast<int>((kRasterAhead - x) / (kRasterAhead + kRasterBehind) * image.height);
  int column = static_cast<int>((kRasterSide - y) / (2 * kRasterSide) * image.width);
  const uint8_t* p = &image.rgb[(static_cast<size_t>(row) * image.width + column) * 3];
  return {p[0], p[1], p[2]};
}

TestSceneBuilder Scene() {
  TestSceneBuilder b;
  b.AddObject("car", v1::VEHICLE, 4.5, 1.9, 24, 0, 0, 0);
  b.AddObject("ped", v1::PEDESTRIAN, 0.6, 0.6, 40, 4, 0, 0);
  return b;
}

TEST(Raster, PlacesThingsWhereTheyAre) {
  Image image = Rasterise(Scene().scene);
  ASSERT_EQ(image.rgb.size(), 112u * 112 * 3);
  EXPECT_EQ(At(image, 24, 0), (Rgb{255, 150, 40}));      // car
  EXPECT_EQ(At(image, 40, 4), (Rgb{255, 60, 220}));      // pedestrian, left
  EXPECT_EQ(At(image, 0, 0.8), (Rgb{60, 230, 90}));      // ego
  EXPECT_EQ(At(image, 35, 0), (Rgb{62, 84, 124}));       // route
  EXPECT_EQ(At(image, 35, 3.4), (Rgb{66, 66, 70}));      // left lane
  EXPECT_EQ(At(image, 35, 10), (Rgb{12, 12, 16}));       // off road
  EXPECT_EQ(At(image, 35, -4), (Rgb{12, 12, 16}));
}

TEST(Raster, IsDeterministicAndIndependentOfTheMapFrame) {
  TestSceneBuilder b = Scene();
  EXPECT_EQ(Rasterise(b.scene).rgb, Rasterise(b.scene).rgb);
  EXPECT_NE(Rasterise(b.scene).rgb, Rasterise(TestSceneBuilder().scene).rgb);
  for (int size : {8, 56, 224, 448}) EXPECT_EQ(Rasterise(b.scene, size).rgb.size(), size_t{3} * size * size);
}

TEST(Raster, ShowsNothingOfTheFuture) {
  TestSceneBuilder a, b;
  a.AddObject("car", v1::VEHICLE, 4.5, 1.9, 24, 0, 6, 0);
  b.AddObject("car", v1::VEHICLE, 4.5, 1.9, 24, 0, 6, 0, /*brake=*/4);
  EXPECT_EQ(Rasterise(a.scene).rgb, Rasterise(b.scene).rgb);
}

TEST(Raster, MotionIsVisible) {
  TestSceneBuilder standing, moving;
  standing.AddObject("car", v1::VEHICLE, 4.5, 1.9, 24, 0, 0, 0);
  moving.AddObject("car", v1::VEHICLE, 4.5, 1.9, 24, 0, 8, 0);
  EXPECT_EQ(At(Rasterise(standing.scene, 224), 28, 0), (Rgb{62, 84, 124}));
  EXPECT_EQ(At(Rasterise(moving.scene, 224), 28, 0), (Rgb{255, 255, 255}));
}

TEST(Raster, HostileNumbersDoNotCrash) {
  TestSceneBuilder b = Scene();
  b.scene.mutable_tracks(0)->mutable_states(0)->set_x(1e300);
  b.scene.mutable_tracks(1)->mutable_states(0)->set_y(std::nan(""));
  b.scene.mutable_resolved_v1()->mutable_drivable_map(0)->mutable_exterior()->set_xy(0, INFINITY);
  b.scene.mutable_resolved_v1()->mutable_drivable_map(1)->mutable_exterior()->clear_xy();
  EXPECT_EQ(Rasterise(b.scene).height, 112);
  EXPECT_EQ(Rasterise(v1::Scene()).height, 112);
}

}  // namespace
}  // namespace swerve
