// Facts of hand-made situations: a straight road of 8 m, ego at 10 m/s in its middle, heading north-west-ish so that
// frames cannot be mixed up unnoticed.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/status_matchers.h"
#include "pdm/score.h"
#include "pdm/score_v2.h"

namespace swerve::pdm {
namespace {

constexpr double kHeading = 2.1, kX = 665606.5, kY = 3999509.4;

class FactsTest : public ::testing::Test {
 protected:
  FactsTest() {
    scene_.set_id("road");
    v1::EgoState* ego = scene_.mutable_ego();
    ego->set_time_us(1624655289950000);
    *ego->mutable_rear_axle() = Global(0, 0);
    ego->set_vx(10);
    v1::ResolvedScene* r = scene_.mutable_resolved_v1();
    for (v1::MapType type : {v1::ROADBLOCK, v1::LANE}) {
      v1::MapPolygon* p = r->add_drivable_map();
      p->set_type(type);
      p->set_token(type == v1::LANE ? "lane" : "block");
      for (auto [x, y] : {std::pair{-50., -4.}, {200., -4.}, {200., 4.}, {-50., 4.}}) {
        v1::Pose g = Global(x, y);
        p->mutable_exterior()->add_xy(g.x());
        p->mutable_exterior()->add_xy(g.y());
      }
    }
    r->add_route_lane_ids("lane");
    for (double x = -50; x <= 200; x += 10) *r->add_centerline() = Global(x, 0);
    for (int i = 0; i < kReferencePoses; ++i) *r->add_pdm_reference() = Global(i * 1.0, 0);
  }

  static v1::Pose Global(double x, double y) {
    v1::Pose p;
    p.set_x(kX + std::cos(kHeading) * x - std::sin(kHeading) * y);
    p.set_y(kY + std::sin(kHeading) * x + std::cos(kHeading) * y);
    p.set_heading(kHeading);
    return p;
  }

  // An object in the ego frame, with a constant velocity along the ego's axes.
  void AddObject(const std::string& token, v1::ObjectType type, double x, double y, double vx, double vy,
                 double turn = 0) {
    v1::Track* track = scene_.mutable_resolved_v1()->add_agents();
    track->set_token(token);
    track->set_type(type);
    track->set_length(4);
    track->set_width(2);
    for (int t = 0; t < 51; ++t) {
      v1::TrackState* s = track->add_states();
      v1::Pose p = Global(x + 0.1 * t * vx, y + 0.1 * t * vy), v = Global(vx, vy);
      s->set_index(t);
      s->set_x(p.x());
      s->set_y(p.y());
      s->set_heading(kHeading + turn);
      s->set_vx(v.x() - kX);
      s->set_vy(v.y() - kY);
    }
  }

  Score Drive(double speed, double end_left = 0) {
    auto prepared = Prepare(scene_);
    EXPECT_OK(prepared.status());
    return ScoreTrajectory(**prepared, Plan(speed, end_left));
  }
  static std::vector<Pose2> Plan(double speed, double end_left) {
    std::vector<Pose2> poses;
    for (int i = 1; i <= kPoses; ++i) poses.push_back({speed * 0.5 * i, end_left * i / kPoses, 0});
    return poses;
  }

  // The same road under the rules of v2.
  void MakeV2() {
    *scene_.mutable_resolved_v2() = scene_.resolved_v1();
    scene_.clear_resolved_v1();
  }
  ScoreV2 DriveV2(double speed, double end_left = 0) {
    auto prepared = PreparedScene::Create(scene_, Rules::kV2);
    EXPECT_OK(prepared.status());
    return ScoreTrajectoryV2(**prepared, Plan(speed, end_left), nullptr, /*want_facts=*/true);
  }

  v1::Scene scene_;
};

TEST_F(FactsTest, GoodDriveHasNoFaults) {
  Score s = Drive(10);
  EXPECT_EQ(s.scores.pdms(), 1);
  EXPECT_EQ(s.facts.collisions_size(), 0);
  EXPECT_FALSE(s.facts.has_off_road());
  EXPECT_FALSE(s.facts.has_ttc());
  EXPECT_EQ(s.facts.comfort_size(), 0);
  EXPECT_NEAR(s.facts.progress().candidate(), 40, 0.5);
  EXPECT_NEAR(s.facts.progress().reference(), 40, 0.5);
}

TEST_F(FactsTest, RearEndingAStandingCar) {
  AddObject("parked", v1::VEHICLE, 30, 0, 0, 0);
  Score s = Drive(10);
  EXPECT_EQ(s.scores.nc(), 0);
  EXPECT_EQ(s.scores.pdms(), 0);
  ASSERT_EQ(s.facts.collisions_size(), 1);
  const v1::CollisionFact& c = s.facts.collisions(0);
  EXPECT_EQ(c.object(), "parked");
  EXPECT_EQ(c.type(), v1::VEHICLE);
  EXPECT_TRUE(c.at_fault());
  EXPECT_EQ(c.ego_part(), v1::FRONT);
  EXPECT_NEAR(c.closing_speed(), 10, 0.3);
  EXPECT_NEAR(c.time_s(), 2.4, 0.11);  // bumpers meet after 30 - 2 - 4.049 m
  EXPECT_NEAR(c.x(), 30, 1e-6);
  EXPECT_NEAR(c.y(), 0, 1e-6);
  ASSERT_TRUE(s.facts.has_ttc());
  EXPECT_EQ(s.facts.ttc().object(), "parked");
  EXPECT_LT(s.facts.ttc().time_s(), c.time_s());
  EXPECT_GT(s.facts.ttc().lookahead_s(), 0);
}

TEST_F(FactsTest, StaticObjectCostsHalf) {
  AddObject("cone", v1::TRAFFIC_CONE, 30, 0, 0, 0);
  EXPECT_EQ(Drive(10).scores.nc(), 0.5);
}

TEST_F(FactsTest, BeingHitFromBehindIsNotAtFault) {
  AddObject("tailgater", v1::VEHICLE, -12, 0, 16, 0);
  Score s = Drive(10);
  EXPECT_EQ(s.scores.nc(), 1);
  ASSERT_EQ(s.facts.collisions_size(), 1);
  EXPECT_FALSE(s.facts.collisions(0).at_fault());
  EXPECT_EQ(s.facts.collisions(0).ego_part(), v1::REAR);
  EXPECT_GT(s.facts.collisions(0).closing_speed(), 4);
}

TEST_F(FactsTest, AtFaultComesFirst) {
  AddObject("tailgater", v1::VEHICLE, -12, 0, 16, 0);
  AddObject("parked", v1::VEHICLE, 34, 0.5, 0, 0);
  Score s = Drive(10);
  ASSERT_EQ(s.facts.collisions_size(), 2);
  EXPECT_EQ(s.facts.collisions(0).object(), "parked");
  EXPECT_TRUE(s.facts.collisions(0).at_fault());
}

TEST_F(FactsTest, SideImpactNamesTheSide) {
  AddObject("crossing", v1::VEHICLE, 11.5, 12, 0, -8, std::numbers::pi / 2);
  Score s = Drive(10);
  ASSERT_GE(s.facts.collisions_size(), 1);
  EXPECT_EQ(s.facts.collisions(0).ego_part(), v1::LEFT);
}

TEST_F(FactsTest, LeavingTheRoadToTheRight) {
  Score s = Drive(10, -6);
  EXPECT_EQ(s.scores.dac(), 0);
  ASSERT_TRUE(s.facts.has_off_road());
  const v1::OffRoadFact& off = s.facts.off_road();
  EXPECT_EQ(off.side(), v1::RIGHT);
  EXPECT_LT(off.y(), -4);
  EXPECT_GT(off.y(), -4.5);
  EXPECT_GT(off.time_s(), 1);
  EXPECT_LT(off.time_s(), 3.5);
  EXPECT_GT(off.overshoot(), 1.5);
  EXPECT_LT(off.overshoot(), 4);
}

TEST_F(FactsTest, AgainstTheDirection) {
  scene_.mutable_resolved_v1()->set_route_lane_ids(0, "another");
  Score s = Drive(10);
  EXPECT_EQ(s.scores.ddc(), 0);
  ASSERT_TRUE(s.facts.has_direction());
  EXPECT_NEAR(s.facts.direction().distance(), 11, 0.2);  // 11 moves of 0.1 s
  EXPECT_NEAR(s.facts.direction().time_s(), 1.1, 0.3);
  EXPECT_FALSE(s.facts.has_red_light());
  EXPECT_FALSE(s.facts.has_lane());
}

TEST_F(FactsTest, ARedLightThatWasRun) {
  MakeV2();
  v1::ResolvedScene* r = scene_.mutable_resolved_v2();
  v1::MapPolygon* p = r->add_red_light_polygons();
  p->set_token("red_light_17");
  p->set_type(v1::LANE_CONNECTOR);
  for (auto [x, y] : {std::pair{20., -4.}, {30., -4.}, {30., 4.}, {20., 4.}}) {
    v1::Pose g = Global(x, y);
    p->mutable_exterior()->add_xy(g.x());
    p->mutable_exterior()->add_xy(g.y());
  }
  for (int t = 0; t < kSamples; ++t) r->add_red_lights()->add_tokens("red_light_17");
  const ScoreV2 s = DriveV2(10);
  EXPECT_EQ(s.raw.tlc, 0);
  ASSERT_TRUE(s.facts.has_red_light());
  EXPECT_EQ(s.facts.red_light().light(), "red_light_17");
  EXPECT_NEAR(s.facts.red_light().time_s(), 1.6, 0.11);  // its front is 4.05 m ahead of the rear axle
  EXPECT_NEAR(s.facts.red_light().y(), 0, 0.1);
  EXPECT_FALSE(DriveV2(1).facts.has_red_light());  // stops short of it
}

TEST_F(FactsTest, ALaneThatWasNotKept) {
  MakeV2();
  const ScoreV2 s = DriveV2(10, 4);
  EXPECT_EQ(s.raw.lk, 0);
  ASSERT_TRUE(s.facts.has_lane());
  EXPECT_GT(s.facts.lane().time_s(), 2);
  EXPECT_LE(s.facts.lane().time_s(), 4);
  EXPECT_GT(s.facts.lane().offset(), 0.5);
  EXPECT_LT(s.facts.lane().offset(), 3);
  EXPECT_EQ(DriveV2(10).raw.lk, 1);
  EXPECT_FALSE(DriveV2(10).facts.has_lane());
}

TEST_F(FactsTest, ComfortLimitAndByHowMuch) {
  Score s = Drive(1);  // from 10 m/s to a crawl
  EXPECT_EQ(s.scores.comfort(), 0);
  ASSERT_GE(s.facts.comfort_size(), 1);
  EXPECT_EQ(s.facts.comfort(0).limit(), "lon_acc");
  EXPECT_EQ(s.facts.comfort(0).bound(), -4.05);
  EXPECT_LT(s.facts.comfort(0).value(), -4.05);
}

TEST_F(FactsTest, OtherCandidatesDoNotMatterAndSameInputSameBytes) {
  AddObject("parked", v1::VEHICLE, 30, 0, 0, 0);
  auto prepared = Prepare(scene_);
  ASSERT_OK(prepared);
  std::vector<Pose2> poses(kPoses, Pose2{1, 0, 0});
  Score a = ScoreTrajectory(**prepared, poses), b = ScoreTrajectory(**prepared, poses);
  EXPECT_EQ(a.scores.SerializeAsString(), b.scores.SerializeAsString());
  EXPECT_EQ(a.facts.SerializeAsString(), b.facts.SerializeAsString());
}

TEST_F(FactsTest, BrokenScenesAreNamed) {
  auto refused = [](v1::Scene scene, const std::string& word) {
    EXPECT_THAT(Prepare(scene), StatusIs(absl::StatusCode::kInvalidArgument, ::testing::HasSubstr(word)));
  };
  v1::Scene s = scene_;
  s.mutable_ego()->set_vx(std::nan(""));
  refused(s, "ego");
  s = scene_;
  s.mutable_resolved_v1()->clear_centerline();
  refused(s, "centerline");
  s = scene_;
  s.mutable_resolved_v1()->mutable_drivable_map(0)->mutable_exterior()->mutable_xy()->RemoveLast();
  refused(s, "block");
  AddObject("thing", v1::VEHICLE, 0, 9, 0, 0);
  s = scene_;
  s.mutable_resolved_v1()->mutable_agents(0)->set_width(0);
  refused(s, "thing");
  s = scene_;
  s.mutable_resolved_v1()->mutable_agents(0)->mutable_states(3)->set_index(60);
  refused(s, "60");
}

}  // namespace
}  // namespace swerve::pdm
