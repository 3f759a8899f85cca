// Reactive traffic on a straight two-lane road made by hand: lane "l" along y = 0, ego's, and lane "m" along y = 4.
#include "pdm/traffic.h"

#include <gtest/gtest.h>

#include "base/status_matchers.h"
#include "pdm/resolve.h"

namespace swerve::pdm {
namespace {
using ::testing::HasSubstr;

void AddRectangle(const std::string& id, v1::MapType type, double x0, double y0, double x1, double y1, v1::Scene* s) {
  v1::MapPolygon* p = s->mutable_map()->add_polygons();
  p->set_token(id);
  p->set_type(type);
  for (double v : {x0, y0, x1, y0, x1, y1, x0, y1}) p->mutable_exterior()->add_xy(v);
}

void AddLane(const std::string& id, double y, double length, v1::Scene* s) {
  AddRectangle(id, v1::LANE, -100, y - 2, length, y + 2, s);
  v1::Lane* lane = s->mutable_map()->add_lanes();
  lane->set_id(id);
  lane->set_roadblock("block");
  lane->set_speed_limit(15);
  for (double x = -100; x <= length; x += 1) {
    v1::Pose* p = lane->add_baseline();
    p->set_x(x);
    p->set_y(y);
  }
}

v1::Track* AddTrack(const std::string& token, v1::ObjectType type, double x, double y, double speed, v1::Scene* s) {
  v1::Track* t = s->add_tracks();
  t->set_token(token);
  t->set_type(type);
  t->set_length(4);
  t->set_width(2);
  for (int i = 0; i <= 10; ++i) {
    v1::TrackState* state = t->add_states();
    state->set_index(i);
    state->set_x(x + 0.5 * i * speed);
    state->set_y(y);
    state->set_vx(speed);
  }
  return t;
}

v1::Scene Road(double length = 300) {
  v1::Scene s;
  s.set_id("road");
  s.mutable_ego()->mutable_rear_axle();
  s.mutable_ego()->set_vx(10);
  s.mutable_ego()->set_time_us(1000000);
  AddLane("l", 0, length, &s);
  AddLane("m", 4, length, &s);
  AddRectangle("block", v1::ROADBLOCK, -100, -2, length, 6, &s);
  s.mutable_map()->add_roadblocks()->set_id("block");
  s.add_route_roadblock_ids("block");
  return s;
}

// The ego's simulation: constant speed on its lane.
States Straight(double speed) {
  States states;
  for (int t = 0; t < kSamples; ++t) states[t].x = 0.1 * t * speed, states[t].vx = speed;
  return states;
}

// Sample of an object by its token; -1: absent.
const Box* BoxOf(const Observation& o, const std::string& token, int t) {
  for (int i = 0; i < o.size(); ++i) {
    if (o.info(i).token == token && std::isfinite(o.box(i, t).centre.x)) return &o.box(i, t);
  }
  return nullptr;
}

ReactiveTraffic Traffic(v1::Scene scene) {
  EXPECT_OK(Resolve(&scene, Rules::kV2));
  return ReactiveTraffic::Create(scene).value();
}

TEST(ReactiveTraffic, FollowerBrakesForAnEgoThatStopsAndNotForOneThatDrivesOn) {
  v1::Scene scene = Road();
  AddTrack("behind", v1::VEHICLE, -25, 0, 10, &scene);
  const ReactiveTraffic traffic = Traffic(scene);
  States stopped = Straight(10);
  for (int t = 1; t < kSamples; ++t) stopped[t] = stopped[0], stopped[t].vx = 0;
  const Observation halted = traffic.React(stopped), free = traffic.React(Straight(15));
  const Box *a = BoxOf(halted, "behind", 40), *b = BoxOf(free, "behind", 40);
  ASSERT_TRUE(a != nullptr && b != nullptr);
  EXPECT_GT(b->centre.x, a->centre.x + 4);
  EXPECT_GT(b->centre.x, -25 + 38);  // nothing in the way: about 10 m/s throughout
  for (int t = 1; t < kSamples; ++t) {
    const double v0 = BoxOf(halted, "behind", t)->centre.x - BoxOf(halted, "behind", t - 1)->centre.x;
    EXPECT_GE(v0, 0);  // nobody reverses
  }
}

TEST(ReactiveTraffic, QueueKeepsItsOrder) {
  v1::Scene alone = Road();
  AddTrack("second", v1::VEHICLE, 10, 4, 8, &alone);
  const Observation free = Traffic(alone).React(Straight(10));
  v1::Scene scene = Road();
  AddTrack("first", v1::VEHICLE, 40, 4, 5, &scene);
  AddTrack("second", v1::VEHICLE, 10, 4, 8, &scene);
  const Observation o = Traffic(scene).React(Straight(10));
  for (int t = 0; t < kSamples; ++t) {
    const Box *first = BoxOf(o, "first", t), *second = BoxOf(o, "second", t);
    ASSERT_TRUE(first != nullptr && second != nullptr);
    EXPECT_FALSE(Intersects(*first, *second)) << t;
  }
  EXPECT_LT(BoxOf(o, "second", 40)->centre.x, BoxOf(free, "second", 40)->centre.x - 2);
}

TEST(ReactiveTraffic, StopsAtTheEndOfItsLane) {
  v1::Scene scene = Road(/*length=*/60);
  AddTrack("car", v1::VEHICLE, 30, 4, 10, &scene);
  const Observation o = Traffic(scene).React(Straight(0));
  EXPECT_LE(BoxOf(o, "car", 40)->centre.x, 60);
  EXPECT_NEAR(BoxOf(o, "car", 40)->centre.y, 4, 1e-9);
}

TEST(ReactiveTraffic, SnapsToTheBaselineAndKeepsWhatIsParkedOffTheLanes) {
  v1::Scene scene = Road();
  AddTrack("offset", v1::VEHICLE, 50, 4.8, 8, &scene);
  AddTrack("parked", v1::VEHICLE, 30, -8, 0, &scene);
  AddTrack("creeping", v1::VEHICLE, 60, -8, 1, &scene);  // off the lanes, not stationary
  AddTrack("in_ego", v1::VEHICLE, 2, 0, 0, &scene);      // overlaps the ego: cannot be snapped
  const Observation o = Traffic(scene).React(Straight(5));
  EXPECT_NEAR(BoxOf(o, "offset", 0)->centre.y, 4.8, 1e-9);
  EXPECT_NEAR(BoxOf(o, "offset", 1)->centre.y, 4, 1e-9);
  ASSERT_NE(BoxOf(o, "parked", 40), nullptr);
  EXPECT_EQ(BoxOf(o, "parked", 40)->centre.y, -8);
  EXPECT_NE(BoxOf(o, "creeping", 0), nullptr);
  EXPECT_EQ(BoxOf(o, "creeping", 1), nullptr);
  EXPECT_NE(BoxOf(o, "in_ego", 0), nullptr);
  EXPECT_EQ(BoxOf(o, "in_ego", 1), nullptr);
}

TEST(ReactiveTraffic, OthersReplayTheLogAndTheFarLeave) {
  v1::Scene scene = Road();
  AddTrack("walker", v1::PEDESTRIAN, 20, 8, 1, &scene);
  AddTrack("far", v1::VEHICLE, 150, 4, 10, &scene);
  const Observation o = Traffic(scene).React(Straight(5));
  EXPECT_NEAR(BoxOf(o, "walker", 40)->centre.x, 24, 1e-9);
  EXPECT_NE(BoxOf(o, "far", 0), nullptr);
  EXPECT_EQ(BoxOf(o, "far", 1), nullptr);
}

TEST(ReactiveScene, ScoresACandidateInTrafficOfItsOwn) {
  v1::Scene scene = Road();
  AddTrack("ahead", v1::VEHICLE, 60, 0, 10, &scene);
  ASSERT_OK(Resolve(&scene, Rules::kV2));
  SWERVE_ASSERT_OK_AND_ASSIGN(auto prepared, PreparedScene::Create(scene, Rules::kV2));
  SWERVE_ASSERT_OK_AND_ASSIGN(auto reactive, ReactiveScene::Create(scene, prepared));
  std::vector<Pose2> plan;
  for (int i = 1; i <= 8; ++i) plan.push_back({5.0 * i, 0, 0});
  const ScoreV2 a = reactive->Score(plan), b = reactive->Score(plan);
  EXPECT_EQ(a.invalid, v1::INVALID_REASON_UNSPECIFIED);
  EXPECT_EQ(a.raw.nc, 1);
  EXPECT_GT(a.epdms, 0.8);
  EXPECT_EQ(a.epdms, b.epdms);  // no state is carried over
  EXPECT_EQ(reactive->Score({}).invalid, v1::WRONG_SHAPE);
}

TEST(ReactiveScene, NeedsTheLaneGraph) {
  v1::Scene scene = Road();
  ASSERT_OK(Resolve(&scene, Rules::kV2));
  scene.mutable_map()->clear_lanes();
  EXPECT_THAT(ReactiveTraffic::Create(scene).status(), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("map.lanes")));
}

}  // namespace
}  // namespace swerve::pdm
