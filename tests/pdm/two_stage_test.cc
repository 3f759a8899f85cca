// EPDMS over two stages against the official aggregation (tests/golden/pdms/two_stage), and its edges.
#include "pdm/two_stage.h"

#include <gtest/gtest.h>

#include "base/status_matchers.h"

namespace swerve::pdm {
namespace {
using ::testing::HasSubstr;

StageRow Row(const std::string& token, double start_time, Vec2 start, Vec2 end, double ep = 1) {
  StageRow row;
  row.token = token;
  row.start_time = start_time;
  row.start_point = start;
  row.end_point = end;
  row.scores = {1, 1, 1, 1, ep, 1, 1, 1};
  return row;
}

// One first-stage pair whose plan ends at x = 10, and two second-stage pairs that start `gap` apart from it.
std::vector<StageRow> Rows(double gap) {
  return {Row("now", 1, {0, 0}, {10, 0}),      Row("prev", 0.5, {0, 0}, {10, 0}),
          Row("a", 5, {10, 0}, {0, 0}, 0.5),   Row("a-", 4.5, {10, 0}, {0, 0}, 0.5),
          Row("b", 5, {10 + gap, 0}, {0, 0}),  Row("b-", 4.5, {10 + gap, 0}, {0, 0})};
}
const std::vector<StageGroup> kGroups = {{"now", "prev", {{"a", "a-"}, {"b", "b-"}}}};

TEST(TwoStage, NearerSecondStagesCountMore) {
  SWERVE_ASSERT_OK_AND_ASSIGN(StageResult r, AggregateTwoStages(Rows(0.5), kGroups));
  const double w = std::exp(-0.25 / 0.2);
  EXPECT_NEAR(r.per_token["a"].weight, 1 / (1 + w), 1e-12);
  EXPECT_NEAR(r.combined[kEP], (0.5 + w) / (1 + w), 1e-12);
  EXPECT_EQ(r.stage_one[kEP], 1);
  EXPECT_EQ(r.per_token["now"].columns[kScore], 1);
  EXPECT_EQ(r.per_token["now"].columns[kEC], 1);
}

TEST(TwoStage, EvenWeightsWhereNoSecondStageIsNear) {
  std::vector<StageRow> rows = Rows(0);
  for (StageRow& row : rows) row.end_point = {500, 0};
  SWERVE_ASSERT_OK_AND_ASSIGN(StageResult r, AggregateTwoStages(rows, kGroups));
  EXPECT_EQ(r.per_token["a"].weight, 0.5);
  EXPECT_EQ(r.combined[kEP], 0.75);
}

TEST(TwoStage, GroupWithoutSecondStageIsLeftOutOfTheMean) {
  std::vector<StageGroup> groups = kGroups;
  groups.push_back({"now", "prev", {}});
  SWERVE_ASSERT_OK_AND_ASSIGN(StageResult r, AggregateTwoStages(Rows(0.5), groups));
  SWERVE_ASSERT_OK_AND_ASSIGN(StageResult one, AggregateTwoStages(Rows(0.5), kGroups));
  EXPECT_EQ(r.combined, one.combined);
  SWERVE_ASSERT_OK_AND_ASSIGN(StageResult none, AggregateTwoStages(Rows(0.5), {groups[1]}));
  EXPECT_TRUE(std::isnan(none.combined[kScore]));
  EXPECT_EQ(none.stage_one[kScore], 1);
}

TEST(TwoStage, NamesTheTokenThatIsWrong) {
  std::vector<StageRow> rows = Rows(0.5);
  rows[5].start_time = 4.4;
  EXPECT_THAT(AggregateTwoStages(rows, kGroups), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("'b-'")));
  rows[5] = rows[4];
  EXPECT_THAT(AggregateTwoStages(rows, kGroups), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("two rows")));
  rows.pop_back();
  EXPECT_THAT(AggregateTwoStages(rows, kGroups), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("'b-' has no")));
}

TEST(TwoStage, PlanEndsInTheGlobalFrame) {
  const Vec2 end = PlanEnd({100, 50, M_PI / 2}, {{1, 0, 0}, {20, 3, 0}});
  EXPECT_NEAR(end.x, 97, 1e-9);
  EXPECT_NEAR(end.y, 70, 1e-9);
}

}  // namespace
}  // namespace swerve::pdm
