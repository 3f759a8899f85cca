// What the golden cases leave open: the gradient is the derivative of the loss, rows can be evaluated in any order,
// refusals name their field, and one bad case does not spoil the others.
#include "learner/objective.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/random.h"
#include "base/status_matchers.h"
#include "learner/objective_json.h"

namespace swerve {
namespace {

using nlohmann::json;
using testing::HasSubstr;

struct Batch {
  std::vector<ObjectiveRow> rows;
  std::vector<std::vector<double>> lp, old_lp, ref_lp;
};

// Two groups of four originals and one refinement, one original masked.
Batch MakeBatch(uint64_t seed) {
  Random random(seed);
  Batch b;
  for (int g = 0; g < 2; ++g) {
    for (int i = 0; i < 5; ++i) {
      ObjectiveRow row{.group = g, .off_policy = i == 4, .masked = g == 1 && i == 2,
                       .length = 1 + static_cast<int>(random.Below(6))};
      row.traj = i == 4 ? 0.95 : random.Uniform(0, 0.7);
      row.fmt = 1;
      row.goal = row.reward = random.Uniform();
      b.rows.push_back(row);
      std::vector<double> lp, old_lp, ref_lp;
      for (int t = 0; t < row.length; ++t) {
        lp.push_back(-random.Uniform(0.2, 3));
        old_lp.push_back(lp.back() + random.Uniform(-0.5, 0.19));
        ref_lp.push_back(lp.back() + random.Uniform(-0.5, 0.19));
      }
      b.lp.push_back(lp);
      b.old_lp.push_back(old_lp);
      b.ref_lp.push_back(ref_lp);
    }
  }
  return b;
}

double Loss(const ObjectivePlan& plan, const Batch& b) {
  ObjectiveTotals totals(plan);
  for (size_t i = 0; i < plan.rows(); ++i) totals.Add(*plan.Evaluate(i, {b.lp[i], b.old_lp[i], b.ref_lp[i]}));
  return totals.loss();
}

TEST(Objective, GradientIsTheDerivative) {
  for (const Profile& profile : AllProfiles()) {
    Batch b = MakeBatch(7);
    if (!profile.off_policy) {
      for (ObjectiveRow& row : b.rows) row.off_policy = false;
    }
    Knobs knobs = profile.defaults;
    if (profile.has_kl) knobs.beta = 0.3;
    SWERVE_ASSERT_OK_AND_ASSIGN(const ObjectivePlan plan, ObjectivePlan::Create(profile, knobs, b.rows, 6));
    for (size_t i = 0; i < b.rows.size(); ++i) {
      const RowResult row = *plan.Evaluate(i, {b.lp[i], b.old_lp[i], b.ref_lp[i]});
      for (size_t t = 0; t < b.lp[i].size(); ++t) {
        const double h = 1e-6;
        Batch up = b, down = b;
        up.lp[i][t] += h;
        down.lp[i][t] -= h;
        EXPECT_NEAR(row.grad[t], (Loss(plan, up) - Loss(plan, down)) / (2 * h), 1e-8) << profile.name << " " << i;
      }
    }
  }
}

TEST(Objective, RowsNeedNothingButTheirOwnLogprobsAndThePlan) {
  const Batch b = MakeBatch(3);
  const Profile& elf = **FindProfile("elf");
  SWERVE_ASSERT_OK_AND_ASSIGN(const ObjectivePlan plan, ObjectivePlan::Create(elf, elf.defaults, b.rows));
  EXPECT_FALSE(plan.active(7));  // masked
  const RowResult masked = *plan.Evaluate(7, {});
  for (double g : masked.grad) EXPECT_EQ(g, 0);
  // Without the masked row the numbers are the same.
  Batch without = b;
  for (auto* list : {&without.lp, &without.old_lp, &without.ref_lp}) list->erase(list->begin() + 7);
  without.rows.erase(without.rows.begin() + 7);
  SWERVE_ASSERT_OK_AND_ASSIGN(const ObjectivePlan other, ObjectivePlan::Create(elf, elf.defaults, without.rows));
  EXPECT_EQ(Loss(plan, b), Loss(other, without));
}

TEST(Objective, RatioOneKeepsTheWholeGradient) {
  const Profile& elf = **FindProfile("elf");
  Knobs knobs = elf.defaults;
  knobs.k = 0;
  const std::vector<ObjectiveRow> rows = {{.group = 0, .length = 1, .traj = 1}, {.group = 0, .length = 1, .traj = 0}};
  SWERVE_ASSERT_OK_AND_ASSIGN(const ObjectivePlan plan, ObjectivePlan::Create(elf, knobs, rows));
  const std::vector<double> lp = {-1};
  EXPECT_DOUBLE_EQ(plan.Evaluate(0, {lp, lp, lp})->grad[0], -plan.advantage(0) / 2);
}

TEST(Objective, EqualRewardsGiveExactlyNoAdvantage) {
  const Profile& trl = **FindProfile("grpo_trl");
  const std::vector<ObjectiveRow> rows(3, ObjectiveRow{.group = 0, .length = 1, .reward = 0.1});
  SWERVE_ASSERT_OK_AND_ASSIGN(const ObjectivePlan plan, ObjectivePlan::Create(trl, trl.defaults, rows));
  for (size_t i = 0; i < 3; ++i) EXPECT_EQ(plan.advantage(i), 0);
  const std::vector<double> lp = {-1}, old_lp = {-900};
  EXPECT_EQ(plan.Evaluate(0, {lp, old_lp, {}})->grad[0], 0);
}

// What reward functions add counts in every profile: where the reward is put together from its parts, too.
TEST(Objective, TermsOfRewardFunctionsAreLearntFrom) {
  const Profile& elf = **FindProfile("elf");
  ObjectiveRow row{.traj = 0.5, .fmt = 1, .goal = 0.25, .terms = -0.375, .reward = 9};
  Knobs knobs = elf.defaults;
  knobs.reward_weights = {2, 1, 4};
  EXPECT_DOUBLE_EQ(TotalReward(elf, knobs, row), 2 * 0.5 + 1 + 4 * 0.25 - 0.375);
  const Profile& trl = **FindProfile("grpo_trl");
  EXPECT_EQ(TotalReward(trl, trl.defaults, row), 9);
}

json GoodCase(const std::string& id) {
  return {{"id", id}, {"profile", "elf"}, {"group", {0, 0, 0}}, {"off_policy_rows", {2}}, {"lens", {1, 2, 1}},
          {"r_traj", {0, 0.5, 0.9}}, {"r_fmt", {1, 1, 1}}, {"r_goal", {0, 0, 1}},
          {"lp", {{-1.0}, {-1.0, -2.0}, {-0.5}}}, {"old_lp", {{-1.0}, {-1.0, -2.0}, nullptr}},
          {"ref_lp", {{-1.0}, {-1.0, -2.0}, nullptr}}};
}

std::string ErrorOf(const json& c) {
  auto parsed = ParseObjectiveCase(c);
  if (!parsed.ok()) return std::string(parsed.status().message());
  auto answer = ComputeObjectiveCase(*parsed, 0);
  return answer.ok() ? "computed" : std::string(answer.status().message());
}

TEST(Refusals, NameTheField) {
  EXPECT_EQ(ErrorOf(GoodCase("a")), "computed");
  const std::vector<std::tuple<json::json_pointer, json, std::string>> changes = {
      {"/profile"_json_pointer, "elff", "profile: unknown profile \"elff\""},
      {"/config"_json_pointer, {{"epsilonn", 1}}, "config.epsilonn"},
      {"/config"_json_pointer, {{"delta", 1}}, "config.delta: profile elf has no such knob"},
      {"/config"_json_pointer, {{"epsilon", "0.2"}}, "config.epsilon: is \"0.2\""},
      {"/config"_json_pointer, {{"k", 1.5}}, "config.k: is 1.5; allowed: an integer"},
      {"/config"_json_pointer, {{"fill", true}}, "config.fill"},
      {"/config"_json_pointer, {{"reward_weights", {1, 1}}}, "config.reward_weights"},
      {"/config"_json_pointer, {{"k", 0}}, "off_policy_rows: group 0 has more than k = 0"},
      {"/lens"_json_pointer, {1, 2}, "lens: has 2 entries"},
      {"/lens/1"_json_pointer, 0, "lens[1]: is 0"},
      {"/lens/1"_json_pointer, 3, "lp[1]: has 2 numbers"},
      {"/r_goal/0"_json_pointer, nullptr, "r_goal[0]: is missing"},
      {"/lp/1/1"_json_pointer, 0.1, "lp[1][1]: is 0.1"},
      {"/old_lp/0"_json_pointer, nullptr, "old_lp[0]: is missing"},
      {"/group"_json_pointer, {0, 0, 2}, "group: no row belongs to group 1"},
      {"/off_policy_rows/0"_json_pointer, 3, "off_policy_rows[0]: is 3; allowed: row numbers 0 … 2"},
      {"/masked_rows"_json_pointer, {-1}, "masked_rows[0]"},
      {"/ref_lp"_json_pointer, nullptr, "ref_lp: is missing"},
  };
  for (const auto& [pointer, value, message] : changes) {
    json c = GoodCase("a");
    c[pointer] = value;
    EXPECT_THAT(ErrorOf(c), HasSubstr(message)) << pointer.to_string();
  }
  json dr = {{"id", "t"}, {"profile", "dr_grpo_trl"}, {"group", {0, 0}}, {"lens", {2, 1}}, {"rewards", {0, 1}},
             {"lp", {{-1.0, -1.0}, {-1.0}}}, {"old_lp", {{-1.0, -1.0}, {-1.0}}}};
  EXPECT_THAT(ErrorOf(dr), HasSubstr("T: is missing"));
  dr["T"] = 1;
  EXPECT_THAT(ErrorOf(dr), HasSubstr("T: is 1"));
  dr["T"] = 2;
  EXPECT_EQ(ErrorOf(dr), "computed");
  dr["off_policy_rows"] = {1};
  EXPECT_THAT(ErrorOf(dr), HasSubstr("off_policy_rows: names row 1, but profile dr_grpo_trl has no shaped branch"));
}

TEST(File, BadCasesDoNotSpoilTheOthers) {
  json bad = GoodCase("bad");
  bad["lens"] = "three";
  const json file = {{"cases", {GoodCase("a"), bad, GoodCase("a"), 7, GoodCase("b")}}};
  SWERVE_ASSERT_OK_AND_ASSIGN(const ObjectiveFileAnswer answer, AnswerObjectiveFile(file.dump(), 0));
  const json cases = json::parse(answer.json)["cases"];
  EXPECT_EQ(answer.failed_cases, 3);
  ASSERT_EQ(cases.size(), 5u);
  EXPECT_TRUE(cases[0].contains("loss"));
  EXPECT_THAT(cases[1]["error"].get<std::string>(), HasSubstr("lens"));
  EXPECT_THAT(cases[2]["error"].get<std::string>(), HasSubstr("used twice"));
  EXPECT_TRUE(cases[3].contains("error"));
  EXPECT_EQ(cases[4]["id"], "b");
  EXPECT_EQ(cases[0]["loss"], cases[4]["loss"]);
}

TEST(File, NumbersJsonCannotHold) {
  std::string text = json{{"cases", {GoodCase("a"), GoodCase("b")}}}.dump();
  text.replace(text.find("-2.0"), 4, "NaN");
  SWERVE_ASSERT_OK_AND_ASSIGN(const ObjectiveFileAnswer answer, AnswerObjectiveFile(text, 0));
  const json cases = json::parse(answer.json)["cases"];
  EXPECT_THAT(cases[0]["error"].get<std::string>(), HasSubstr("lp[1][1]"));
  EXPECT_TRUE(cases[1].contains("loss"));
}

TEST(File, NoJsonOrNoCases) {
  EXPECT_THAT(AnswerObjectiveFile("{\"cases\": [", 0), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("no JSON")));
  EXPECT_THAT(AnswerObjectiveFile("{}", 0), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("cases")));
  EXPECT_THAT(AnswerObjectiveFile("", 0), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("no JSON")));
}

}  // namespace
}  // namespace swerve
