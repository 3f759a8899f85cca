// What no real scene holds and a service still gets: each has a defined score or an error that names its field.
#include <gtest/gtest.h>

#include "base/status_matchers.h"
#include "pdm/resolve.h"
#include "pdm/score.h"
#include "pdm/score_v2.h"
#include "pdm/traffic.h"

namespace swerve::pdm {
namespace {
using ::testing::HasSubstr;

const double kNaN = std::nan(""), kInf = std::numeric_limits<double>::infinity();

v1::MapPolygon* AddArea(v1::MapType type, const std::string& token, std::initializer_list<double> xy, v1::ResolvedScene* r) {
  v1::MapPolygon* p = r->add_drivable_map();
  p->set_type(type);
  p->set_token(token);
  for (double v : xy) p->mutable_exterior()->add_xy(v);
  return p;
}

v1::Track* AddAgent(const std::string& token, double x, double y, v1::ResolvedScene* r, int samples = 41) {
  v1::Track* t = r->add_agents();
  t->set_token(token);
  t->set_type(v1::VEHICLE);
  t->set_length(4);
  t->set_width(2);
  for (int i = 0; i < samples; ++i) {
    v1::TrackState* s = t->add_states();
    s->set_index(i);
    s->set_x(x);
    s->set_y(y);
  }
  return t;
}

// A straight road of 200 x 8 m, the ego at 10 m/s in its right lane, both rules resolved.
v1::Scene Road() {
  v1::Scene s;
  s.set_id("road");
  s.mutable_ego()->mutable_rear_axle();
  s.mutable_ego()->set_vx(10);
  s.mutable_ego()->set_time_us(1000000);
  v1::ResolvedScene* r = s.mutable_resolved_v1();
  AddArea(v1::ROADBLOCK, "b", {-50, -2, 150, -2, 150, 6, -50, 6}, r);
  AddArea(v1::LANE, "l", {-50, -2, 150, -2, 150, 2, -50, 2}, r);
  r->add_route_lane_ids("l");
  for (double x = -50; x <= 150; x += 1) r->add_centerline()->set_x(x);
  for (int i = 0; i <= 50; ++i) r->add_pdm_reference()->set_x(i);
  *s.mutable_resolved_v2() = *r;
  return s;
}

std::vector<Pose2> Straight(double speed = 10) {
  std::vector<Pose2> out;
  for (int i = 1; i <= 8; ++i) out.push_back({0.5 * i * speed, 0, 0});
  return out;
}

Score ScoreOf(const v1::Scene& scene, absl::Span<const Pose2> poses) { return ScoreTrajectory(*Prepare(scene).value(), poses); }

void ExpectDefined(const v1::SubScores& s) {
  for (double v : {s.nc(), s.dac(), s.ddc(), s.ep(), s.ttc(), s.comfort(), s.pdms()}) {
    EXPECT_GE(v, 0);
    EXPECT_LE(v, 1);
  }
}

TEST(Robustness, TheRoadItselfIsFine) {
  EXPECT_NEAR(ScoreOf(Road(), Straight()).scores.pdms(), 1, 1e-2);
  SWERVE_ASSERT_OK_AND_ASSIGN(auto v2, PreparedScene::Create(Road(), Rules::kV2));
  EXPECT_NEAR(ScoreTrajectoryV2(*v2, Straight()).epdms, 1, 1e-2);
}

TEST(Robustness, CandidateThatIsNotFinite) {
  for (double bad : {kNaN, kInf, -kInf}) {
    for (int field = 0; field < 3; ++field) {
      std::vector<Pose2> poses = Straight();
      (field == 0 ? poses[3].x : field == 1 ? poses[7].y : poses[0].heading) = bad;
      const Score s = ScoreOf(Road(), poses);
      EXPECT_EQ(s.invalid, v1::NOT_FINITE);
      EXPECT_EQ(s.scores.pdms(), 0);
    }
  }
  std::vector<Pose2> far = Straight();
  far[4] = {1e300, 1e300, 0};
  EXPECT_EQ(ScoreOf(Road(), far).invalid, v1::DIVERGED);
}

TEST(Robustness, TeleportsAreScored) {
  for (double jump : {100.0, 1e4, 1e6}) {
    std::vector<Pose2> poses = Straight();
    poses[3].y += jump;
    poses[6].heading = 50;
    const Score s = ScoreOf(Road(), poses);
    ASSERT_EQ(s.invalid, v1::INVALID_REASON_UNSPECIFIED);
    ExpectDefined(s.scores);
    EXPECT_EQ(s.scores.dac(), 0);
  }
}

TEST(Robustness, EmptyMapIsOffRoadEverywhere) {
  v1::Scene s = Road();
  s.mutable_resolved_v1()->clear_drivable_map();
  const Score score = ScoreOf(s, Straight());
  EXPECT_EQ(score.scores.dac(), 0);
  EXPECT_EQ(score.scores.pdms(), 0);
  s.mutable_resolved_v1()->clear_centerline();
  EXPECT_THAT(Prepare(s).status(), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("centerline")));
  v1::Scene raw;
  raw.mutable_ego()->mutable_rear_axle();
  EXPECT_THAT(Resolve(&raw), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("route_roadblock_ids")));
}

TEST(Robustness, ZeroAreaPolygonsContainNothing) {
  v1::Scene s = Road();
  const double before = ScoreOf(s, Straight()).scores.pdms();
  AddArea(v1::INTERSECTION, "line", {0, 0, 50, 0, 0, 0}, s.mutable_resolved_v1());
  AddArea(v1::LANE, "point", {5, 0, 5, 0, 5, 0, 5, 0}, s.mutable_resolved_v1());
  EXPECT_EQ(ScoreOf(s, Straight()).scores.pdms(), before);
  AddArea(v1::LANE, "two", {0, 0, 1, 1}, s.mutable_resolved_v1());
  EXPECT_THAT(Prepare(s).status(), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("'two'")));
}

// A bow tie over the road: inside is what an odd number of edges encloses, so its two triangles count and no more.
TEST(Robustness, SelfIntersectingPolygonIsInsideByParity) {
  v1::Scene s = Road();
  s.mutable_resolved_v1()->clear_drivable_map();
  AddArea(v1::ROADBLOCK, "tie", {-50, -20, 150, 20, 150, -20, -50, 20}, s.mutable_resolved_v1());
  EXPECT_EQ(ScoreOf(s, Straight(1)).scores.dac(), 1);  // stays in the left triangle
  std::vector<Pose2> through = Straight(15);           // passes the crossing at x = 50, where it has no width
  EXPECT_EQ(ScoreOf(s, through).scores.dac(), 0);
}

TEST(Robustness, TenThousandAgents) {
  v1::Scene s = Road();
  for (int i = 0; i < 10000; ++i) AddAgent(absl::StrCat("a", i), 300 + i % 100, -50 - i / 100, s.mutable_resolved_v1(), 51);
  const Score clear = ScoreOf(s, Straight());
  EXPECT_EQ(clear.scores.nc(), 1);
  AddAgent("wall", 25, 0, s.mutable_resolved_v1(), 51);
  EXPECT_EQ(ScoreOf(s, Straight()).scores.nc(), 0);
}

TEST(Robustness, DuplicateIdsAreTwoObjects) {
  v1::Scene s = Road();
  AddAgent("same", 25, 30, s.mutable_resolved_v1(), 51);
  AddAgent("same", 25, 0, s.mutable_resolved_v1(), 51);
  EXPECT_EQ(ScoreOf(s, Straight()).scores.nc(), 0);
  AddArea(v1::LANE, "l", {-50, -2, 150, -2, 150, 2, -50, 2}, s.mutable_resolved_v1());
  ExpectDefined(ScoreOf(s, Straight()).scores);
}

TEST(Robustness, SceneThatIsNotFiniteNamesTheField) {
  auto expect = [](v1::Scene s, const char* field) {
    EXPECT_THAT(Prepare(s).status(), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(field)));
  };
  v1::Scene s = Road();
  s.mutable_ego()->set_vx(kNaN);
  expect(s, "ego");
  s = Road();
  s.mutable_ego()->set_time_us(std::numeric_limits<int64_t>::max());
  expect(s, "time_us");
  s = Road();
  s.mutable_resolved_v1()->mutable_pdm_reference(7)->set_y(kInf);
  expect(s, "pdm_reference[7]");
  s = Road();
  s.mutable_resolved_v1()->mutable_drivable_map(0)->mutable_exterior()->set_xy(3, kNaN);
  expect(s, "'b'");
  s = Road();
  AddAgent("ghost", kNaN, 0, s.mutable_resolved_v1());
  expect(s, "'ghost'");
  s = Road();
  AddAgent("flat", 5, 5, s.mutable_resolved_v1())->set_width(0);
  expect(s, "'flat'");
  s = Road();
  AddAgent("back", 5, 5, s.mutable_resolved_v1())->mutable_states(4)->set_index(2);
  expect(s, "'back'");
}

TEST(Robustness, TracksOfManyFramesAndNone) {
  google::protobuf::RepeatedPtrField<v1::Track> tracks;
  v1::Track* empty = tracks.Add();
  empty->set_type(v1::VEHICLE);
  v1::Track* late = tracks.Add();
  late->set_type(v1::VEHICLE);
  late->add_states()->set_index(400);  // outside of the window
  late->add_states()->set_index(-3);
  EXPECT_EQ(ResolveAgents(tracks, 11).size(), 0);
}

// The same under the rules of v2, which have a resolved scene of their own.
absl::StatusOr<std::shared_ptr<const PreparedScene>> PrepareV2(v1::Scene s) {
  *s.mutable_resolved_v2() = s.resolved_v1();
  return PreparedScene::Create(s, Rules::kV2);
}

ScoreV2 ScoreOfV2(const v1::Scene& scene, absl::Span<const Pose2> poses) {
  return ScoreTrajectoryV2(*PrepareV2(scene).value(), poses, nullptr, /*want_facts=*/true);
}

void ExpectDefined(const ScoreV2& s) {
  for (const SubScoresV2* scores : {&s.raw, &s.filtered}) {
    for (double v : {scores->nc, scores->dac, scores->ddc, scores->tlc, scores->ep, scores->ttc, scores->lk, scores->hc}) {
      EXPECT_GE(v, 0);
      EXPECT_LE(v, 1);
    }
  }
  EXPECT_GE(s.epdms, 0);
  EXPECT_LE(s.epdms, 1);
}

TEST(RobustnessV2, CandidatesThatAreNotFiniteOrFarAway) {
  for (double bad : {kNaN, kInf, -kInf}) {
    std::vector<Pose2> poses = Straight();
    poses[3].y = bad;
    const ScoreV2 s = ScoreOfV2(Road(), poses);
    EXPECT_EQ(s.invalid, v1::NOT_FINITE);
    EXPECT_EQ(s.epdms, 0);
  }
  std::vector<Pose2> far = Straight();
  far[4] = {1e300, 1e300, 0};
  EXPECT_EQ(ScoreOfV2(Road(), far).invalid, v1::DIVERGED);
  for (double jump : {100.0, 1e4, 1e6}) {
    std::vector<Pose2> poses = Straight();
    poses[3].y += jump;
    poses[6].heading = 50;
    const ScoreV2 s = ScoreOfV2(Road(), poses);
    ASSERT_EQ(s.invalid, v1::INVALID_REASON_UNSPECIFIED);
    ExpectDefined(s);
    EXPECT_EQ(s.raw.dac, 0);
  }
}

TEST(RobustnessV2, MapsThatAreEmptyFlatOrCrossThemselves) {
  v1::Scene s = Road();
  s.mutable_resolved_v1()->clear_drivable_map();
  EXPECT_EQ(ScoreOfV2(s, Straight()).raw.dac, 0);
  AddArea(v1::ROADBLOCK, "tie", {-50, -20, 150, 20, 150, -20, -50, 20}, s.mutable_resolved_v1());
  EXPECT_EQ(ScoreOfV2(s, Straight(1)).raw.dac, 1);
  EXPECT_EQ(ScoreOfV2(s, Straight(15)).raw.dac, 0);
  s = Road();
  const double before = ScoreOfV2(s, Straight()).epdms;
  AddArea(v1::INTERSECTION, "line", {0, 0, 50, 0, 0, 0}, s.mutable_resolved_v1());
  AddArea(v1::LANE, "point", {5, 0, 5, 0, 5, 0, 5, 0}, s.mutable_resolved_v1());
  EXPECT_EQ(ScoreOfV2(s, Straight()).epdms, before);
  AddArea(v1::LANE, "two", {0, 0, 1, 1}, s.mutable_resolved_v1());
  EXPECT_THAT(PrepareV2(s).status(), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("'two'")));
}

TEST(RobustnessV2, TenThousandAgentsAndTwoOfOneName) {
  v1::Scene s = Road();
  for (int i = 0; i < 10000; ++i) AddAgent(absl::StrCat("a", i), 300 + i % 100, -50 - i / 100, s.mutable_resolved_v1());
  EXPECT_EQ(ScoreOfV2(s, Straight()).raw.nc, 1);
  AddAgent("a0", 25, 0, s.mutable_resolved_v1());
  const ScoreV2 hit = ScoreOfV2(s, Straight());
  EXPECT_EQ(hit.raw.nc, 0);
  ASSERT_GT(hit.facts.collisions_size(), 0);
  EXPECT_EQ(hit.facts.collisions(0).object(), "a0");
}

TEST(RobustnessV2, SceneThatIsNotFiniteNamesTheField) {
  auto expect = [](const v1::Scene& s, const char* field) {
    EXPECT_THAT(PreparedScene::Create(s, Rules::kV2).status(),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(field)));
  };
  v1::Scene s = Road();
  s.mutable_resolved_v2()->mutable_pdm_reference(7)->set_y(kInf);
  expect(s, "pdm_reference[7]");
  s = Road();
  AddAgent("ghost", kNaN, 0, s.mutable_resolved_v2());
  expect(s, "'ghost'");
  s = Road();
  s.add_ego_past()->mutable_rear_axle()->set_x(kNaN);
  expect(s, "ego_past");
}

// More lanes than the look-up tells apart, and coordinates that no map has: every polygon is asked instead.
TEST(Robustness, MapsThatTheLookUpRefusesScoreTheSame) {
  v1::Scene s = Road();
  const double before = ScoreOf(s, Straight()).scores.pdms();
  AddArea(v1::LANE, "far", {1e12, 0, 1e12, 5, 2e12, 5}, s.mutable_resolved_v1());
  ASSERT_TRUE(Prepare(s).value()->map().grid().empty());
  EXPECT_EQ(ScoreOf(s, Straight()).scores.pdms(), before);
  s = Road();
  for (int i = 0; i < 300; ++i) AddArea(v1::LANE, absl::StrCat("n", i), {0, 20, 9, 20, 9, 25}, s.mutable_resolved_v1());
  ASSERT_TRUE(Prepare(s).value()->map().grid().empty());
  EXPECT_EQ(ScoreOf(s, Straight()).scores.pdms(), before);
}

}  // namespace
}  // namespace swerve::pdm
