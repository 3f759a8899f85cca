#include "pdm/geometry.h"

#include <gtest/gtest.h>

#include "base/random.h"

namespace swerve::pdm {
namespace {

Polygon Square(double x0, double y0, double x1, double y1) {
  return Polygon({{{x0, y0}, {x1, y0}, {x1, y1}, {x0, y1}}});
}

TEST(Boxes, TouchingCountsAndRotationMatters) {
  Box a{{0, 0}, {1, 0}, 2, 1};
  EXPECT_TRUE(Intersects(a, Box{{4, 0}, {1, 0}, 2, 1}));
  EXPECT_FALSE(Intersects(a, Box{{4.001, 0}, {1, 0}, 2, 1}));
  // Bounding boxes overlap, the boxes do not: the corner passes diagonally.
  Vec2 diagonal = Direction(std::numbers::pi / 4);
  EXPECT_FALSE(Intersects(a, Box{{3.2, 2.2}, diagonal, 0.5, 2}));
  EXPECT_TRUE(Intersects(a, Box{{2.2, 1.2}, diagonal, 0.5, 2}));
  EXPECT_TRUE(Intersects(a, Box{{0, 0}, diagonal, 0.1, 0.1}));  // one inside the other
}

TEST(Boxes, SegmentAgainstBox) {
  Box box{{0, 0}, Direction(0.3), 2, 1};
  EXPECT_TRUE(Intersects({-5, 0}, {5, 0}, box));
  EXPECT_TRUE(Intersects({0, 0}, {0.1, 0.1}, box));
  EXPECT_FALSE(Intersects({-5, 3}, {5, 3}, box));
  EXPECT_FALSE(Intersects({3, 0}, {5, 0}, box));
}

TEST(Boxes, AgreesWithSamplingOnRandomPairs) {
  Random random(StreamSeed(1, HashName("boxes")));
  for (int i = 0; i < 2000; ++i) {
    auto box = [&] {
      return Box{{random.Uniform(-3, 3), random.Uniform(-3, 3)}, Direction(random.Uniform(-4, 4)),
                 random.Uniform(0.2, 2), random.Uniform(0.2, 2)};
    };
    Box a = box(), b = box();
    auto c = b.Corners();
    Polygon polygon(std::vector<std::vector<Vec2>>{std::vector<Vec2>(c.begin(), c.end())});
    EXPECT_EQ(Intersects(a, b), polygon.Intersects(a));
    EXPECT_EQ(Intersects(a, b), Distance(a, b) == 0);
  }
}

TEST(Polygons, InsideIsStrict) {
  Polygon p = Square(0, 0, 10, 4);
  EXPECT_TRUE(p.Contains({5, 2}));
  for (Vec2 v : {Vec2{0, 2}, Vec2{10, 2}, Vec2{5, 0}, Vec2{5, 4}, Vec2{0, 0}, Vec2{10, 4}, Vec2{0, 4}, Vec2{10, 0}}) {
    EXPECT_FALSE(p.Contains(v)) << v.x << "," << v.y;
  }
  EXPECT_FALSE(p.Contains({-1, 2}));
  EXPECT_FALSE(p.Contains({5, 4.001}));
}

TEST(Polygons, HolesAndConcavity) {
  Polygon p({{{0, 0}, {10, 0}, {10, 10}, {5, 2}, {0, 10}}, {{1, 1}, {2, 1}, {2, 2}, {1, 2}, {1, 1}}});
  EXPECT_TRUE(p.Contains({0.5, 0.5}));
  EXPECT_FALSE(p.Contains({1.5, 1.5}));  // in the hole
  EXPECT_FALSE(p.Contains({1, 1.5}));    // on the hole's edge
  EXPECT_FALSE(p.Contains({5, 5}));      // in the notch
  EXPECT_NEAR(p.BoundaryDistance({1.5, 1.4}), 0.4, 1e-12);
  EXPECT_FALSE(p.Intersects(Box{{5, 6}, {1, 0}, 0.5, 0.5}));
  EXPECT_FALSE(p.Intersects(Box{{1.5, 1.5}, {1, 0}, 0.2, 0.2}));
  EXPECT_TRUE(p.Intersects(Box{{1.5, 1.5}, {1, 0}, 0.6, 0.2}));
}

TEST(Polygons, SlabsAgreeWithPlainCrossing) {
  Random random(StreamSeed(2, HashName("polygon")));
  for (int corners : {3, 4, 4, 4, 9, 300}) {  // few corners: most slabs are answered without their edges
    std::vector<Vec2> ring;
    const double turn = random.Uniform(0, 2);
    for (int i = 0; i < corners; ++i) {
      double a = 2 * std::numbers::pi * i / corners + turn, r = random.Uniform(5, 10);
      ring.push_back({r * std::cos(a), r * std::sin(a)});
    }
    Polygon p(std::vector<std::vector<Vec2>>{ring});
    for (int i = 0; i < 5000; ++i) {
      Vec2 q{random.Uniform(-11, 11), random.Uniform(-11, 11)};
      bool inside = false;
      for (size_t k = 0; k < ring.size(); ++k) {
        Vec2 a = ring[k], b = ring[(k + 1) % ring.size()];
        if ((a.y > q.y) != (b.y > q.y) && q.x < a.x + (q.y - a.y) / (b.y - a.y) * (b.x - a.x)) inside = !inside;
      }
      ASSERT_EQ(p.Contains(q), inside) << corners << " corners: " << q.x << "," << q.y;
    }
  }
}

TEST(Polygons, DegenerateRingsContainNothing) {
  EXPECT_FALSE(Polygon().Contains({0, 0}));
  EXPECT_FALSE(Polygon({{{1, 1}, {1, 1}, {1, 1}}}).Contains({1, 1}));
  EXPECT_FALSE(Polygon({{{0, 0}, {5, 0}, {9, 0}}}).Contains({5, 0}));
}

TEST(Polylines, ProjectsToTheFirstOfTiesAndSkipsDuplicates) {
  Polyline line({{0, 0}, {10, 0}, {10, 0}, {10, 10}});
  EXPECT_DOUBLE_EQ(line.length(), 20);
  EXPECT_DOUBLE_EQ(line.Project({4, 3}).arc, 4);
  EXPECT_DOUBLE_EQ(line.Project({4, 3}).distance, 3);
  EXPECT_DOUBLE_EQ(line.Project({-3, -4}).distance, 5);
  EXPECT_DOUBLE_EQ(line.Project({11, 12}).arc, 20);
  auto tie = line.Project({9, 1});  // as near to the first as to the last segment
  EXPECT_EQ(tie.segment, 0);
  EXPECT_DOUBLE_EQ(tie.arc, 9);
}

TEST(Polylines, ChunksLoseNothing) {
  Random random(StreamSeed(3, HashName("line")));
  std::vector<Vec2> points;
  for (int i = 0; i < 200; ++i) points.push_back({random.Uniform(-50, 50), random.Uniform(-50, 50)});
  Polyline line(points);
  int hint = 0;
  for (int i = 0; i < 2000; ++i) {
    Vec2 q{random.Uniform(-60, 60), random.Uniform(-60, 60)};
    double best = 1e9;
    for (size_t k = 0; k + 1 < points.size(); ++k) best = std::min(best, DistanceToSegment(q, points[k], points[k + 1]));
    EXPECT_NEAR(line.Project(q).distance, best, 1e-12);
    EXPECT_EQ(line.Within(q, 1.5, &hint), line.Project(q).distance <= 1.5);
  }
}

}  // namespace
}  // namespace swerve::pdm
