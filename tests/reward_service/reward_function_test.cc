// Reward functions against numbers worked out by hand.
#include "reward_service/reward_function.h"

#include <limits>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/config.h"
#include "base/status_matchers.h"
#include "reward_service/reward_rules.h"

namespace swerve {
namespace {

using ::testing::AllOf;
using ::testing::DoubleEq;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;

// Straight on at 10 m/s, `side` metres left of what was recorded.
std::vector<pdm::Pose2> Straight(double side = 0) {
  std::vector<pdm::Pose2> out;
  for (int i = 1; i <= pdm::kPoses; ++i) out.push_back({5.0 * i, side, 0});
  return out;
}

RewardTarget Target(v1::SampleLabel label) {
  v1::Scene scene;
  scene.mutable_ego()->set_vx(10);
  return {.label = label, .gt = Straight(), .actions = MetaActions(scene)};
}

// A group with rewards as a scorer would leave them.
class Group {
 public:
  void Add(const std::string& text, double traj, const std::vector<pdm::Pose2>& poses = Straight()) {
    v1::ScoreCandidate* candidate = request.add_candidates();
    candidate->set_text(text);
    for (const pdm::Pose2& p : poses) {
      v1::Pose* pose = candidate->add_poses();
      pose->set_x(p.x), pose->set_y(p.y), pose->set_heading(p.heading);
    }
    v1::Reward* reward = reply.add_rewards();
    reward->set_traj(traj);
    reward->set_fmt(1);
    reward->set_goal(1);
    if (poses.empty()) reward->set_invalid(v1::UNPARSED), reward->set_goal(0);
  }
  void AddPeer(const std::string& text, double traj) {
    request.add_peers()->set_text(text);
    request.mutable_peers()->rbegin()->set_traj(traj);
  }
  const v1::Reward& reward(int i) const { return reply.rewards(i); }
  std::vector<std::pair<std::string, double>> terms(int i) const {
    std::vector<std::pair<std::string, double>> out;
    for (const v1::RewardTerm& term : reward(i).terms()) out.emplace_back(term.name(), term.value());
    return out;
  }
  std::vector<double> values(const std::string& name) const {
    std::vector<double> out;
    for (const v1::Reward& reward : reply.rewards()) {
      for (const v1::RewardTerm& term : reward.terms()) {
        if (term.name() == name) out.push_back(term.value());
      }
    }
    return out;
  }
  absl::Status Apply(const v1::RewardRules& rules, const RewardTarget& target) {
    SWERVE_ASSIGN_OR_RETURN(const RewardFunctions functions, RewardFunctions::Make(rules));
    SWERVE_RETURN_IF_ERROR(functions.Check(target, request));
    std::vector<v1::Reward*> rewards;
    for (v1::Reward& reward : *reply.mutable_rewards()) rewards.push_back(&reward);
    functions.Apply(target, request, UnitWeights(), rewards);
    return absl::OkStatus();
  }

  v1::ScoreGroupRequest request;
  v1::ScoreGroupReply reply;
};

v1::RewardRules SpanVla() {
  v1::RewardRules rules;
  rules.add_functions("spanvla");
  return rules;
}
v1::RewardRules AdaptiveThink() {
  v1::RewardRules rules;
  rules.add_functions("adaptive_think");
  return rules;
}

TEST(RewardFunctions, ConfigurationKnowsTheSameNames) {
  const std::string all = absl::StrJoin(RewardFunctions::Known(), ", ");
  EXPECT_OK(LoadRunConfig("", {absl::StrCat("reward.rules.functions=[", all, "]")}));
  EXPECT_THAT(LoadRunConfig("", {"reward.rules.functions=[spanvla, spanvl]"}),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("'reward.rules.functions'"), HasSubstr("'spanvl'"), HasSubstr(all))));
  v1::RewardRules rules = SpanVla();
  rules.add_functions("spanvl");
  EXPECT_THAT(RewardFunctions::Make(rules),
              StatusIs(absl::StatusCode::kInvalidArgument, AllOf(HasSubstr("'spanvl'"), HasSubstr(all))));
  rules.set_functions(1, "spanvla");
  EXPECT_THAT(RewardFunctions::Make(rules), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("twice")));
  EXPECT_THAT(LoadRunConfig("", {"reward.rules.functions=[spanvla, spanvla]"}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("twice")));
}

TEST(RewardFunctions, NoneChangesNothing) {
  Group group;
  group.Add("", 0.5);
  group.reply.mutable_rewards(0)->set_total(2.5);
  ASSERT_OK(group.Apply({}, Target(v1::NEGATIVE)));
  EXPECT_EQ(group.reward(0).total(), 2.5);
  EXPECT_THAT(group.terms(0), IsEmpty());
}

TEST(RewardFunctions, ValuesOutOfRangeAreRefusedByBothDoors) {
  const double inf = std::numeric_limits<double>::infinity(), nan = std::nan("");
  const auto refused = [](auto set, const std::string& name) {
    v1::RewardRules rules;
    rules.add_functions("spanvla");
    rules.add_functions("adaptive_think");
    set(&rules);
    EXPECT_THAT(RewardFunctions::Make(rules), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(name))) << name;
    v1::RunConfig config;
    *config.mutable_reward()->mutable_rules() = rules;
    EXPECT_THAT(ValidateRunConfig(config), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(name))) << name;
  };
  refused([](v1::RewardRules* r) { r->mutable_spanvla()->set_w_neg(-1); }, "spanvla.w_neg");
  refused([&](v1::RewardRules* r) { r->mutable_spanvla()->set_w_rec(inf); }, "spanvla.w_rec");
  refused([&](v1::RewardRules* r) { r->mutable_spanvla()->set_lambda_cot(nan); }, "spanvla.lambda_cot");
  refused([](v1::RewardRules* r) { r->mutable_spanvla()->set_similarity_bound(0); }, "spanvla.similarity_bound");
  refused([](v1::RewardRules* r) { r->mutable_spanvla()->set_cot_free(-1); }, "spanvla.cot_free");
  refused([](v1::RewardRules* r) { r->mutable_spanvla()->set_cot_full(400); }, "spanvla.cot_full");
  refused([&](v1::RewardRules* r) { r->mutable_spanvla()->set_contradiction(nan); }, "spanvla.contradiction");
  refused([](v1::RewardRules* r) { r->mutable_adaptive_think()->set_weight(2e6); }, "adaptive_think.weight");
  refused([](v1::RewardRules* r) { r->mutable_adaptive_think()->set_threshold(1.1); }, "adaptive_think.threshold");
}

TEST(SpanVlaTest, NegativeScenesTakeOffTheLikenessAndPayNoGoal) {
  Group group;
  group.Add("", 0.8, Straight());      // what was recorded
  group.Add("", 0.8, Straight(1));     // 1 m beside: 1 - 1/4
  group.Add("", 0.8, Straight(-4));    // at the bound
  group.Add("", 0.8, Straight(100));   // and beyond
  group.Add("", 0.0, {});              // unreadable: as bad as the recording
  ASSERT_OK(group.Apply(SpanVla(), Target(v1::NEGATIVE)));
  EXPECT_THAT(group.values("negative"), ElementsAre(-0.5, -0.375, 0, 0, -0.5));
  EXPECT_THAT(group.values("recovery"), IsEmpty());
  EXPECT_EQ(group.reward(1).goal(), 0);
  EXPECT_THAT(group.reward(1).total(), DoubleEq(0.8 + 1 - 0.375));
  EXPECT_THAT(group.reward(4).total(), DoubleEq(1 - 0.5));
}

TEST(SpanVlaTest, RecoveryScenesAddTheLikenessAndPayTheGoal) {
  v1::RewardRules rules = SpanVla();
  rules.mutable_spanvla()->set_w_rec(2);
  rules.mutable_spanvla()->set_similarity_bound(2);
  Group group;
  group.Add("", 0.8, Straight());
  group.Add("", 0.8, Straight(0.5));  // 1 - 0.5/2
  group.Add("", 0.0, {});
  ASSERT_OK(group.Apply(rules, Target(v1::RECOVERY)));
  EXPECT_THAT(group.values("recovery"), ElementsAre(2, 1.5, 0));
  EXPECT_THAT(group.values("negative"), IsEmpty());
  EXPECT_THAT(group.reward(1).total(), DoubleEq(0.8 + 1 + 1 + 1.5));
}

TEST(SpanVlaTest, PositiveScenesPayForReasoningAlone) {
  Group group;
  group.Add("<think>ok</think>", 0.8);
  ASSERT_OK(group.Apply(SpanVla(), Target(v1::POSITIVE)));
  EXPECT_THAT(group.terms(0), ElementsAre(Pair("reasoning", 0.0)));
  EXPECT_THAT(group.reward(0).total(), DoubleEq(2.8));
}

TEST(SpanVlaTest, ASceneToCompareWithNeedsItsRecording) {
  RewardTarget target = Target(v1::NEGATIVE);
  target.gt.pop_back();
  EXPECT_THAT(Group().Apply(SpanVla(), target), StatusIs(absl::StatusCode::kInvalidArgument, AllOf(HasSubstr("gt"), HasSubstr("NEGATIVE"))));
  target.gt.push_back({std::nan(""), 0, 0});
  EXPECT_THAT(Group().Apply(SpanVla(), target), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("gt")));
  v1::RewardRules rules = SpanVla();
  rules.mutable_spanvla()->set_w_neg(0);
  EXPECT_OK(Group().Apply(rules, target));
  target.label = v1::POSITIVE;
  EXPECT_OK(Group().Apply(SpanVla(), target));
}

TEST(SpanVlaTest, ReasoningCostsByItsLength) {
  v1::RewardRules rules = SpanVla();
  rules.mutable_spanvla()->set_cot_free(10);
  rules.mutable_spanvla()->set_cot_full(30);
  rules.mutable_spanvla()->set_lambda_cot(0.1);
  const auto think = [](int n, const char* letter = "x") {
    std::string text = "<think> ";
    for (int i = 0; i < n; ++i) text += letter;
    return text + "\n</think><answer>[1,2,3]</answer>";
  };
  Group group;
  group.Add(think(10), 1);
  group.Add(think(20), 1);
  group.Add(think(20, "ä"), 1);  // characters, not bytes
  group.Add(think(1000), 1);
  group.Add(think(20), 0, {});  // the text counts whatever became of its trajectory
  group.Add("", 0, {});
  ASSERT_OK(group.Apply(rules, Target(v1::POSITIVE)));
  EXPECT_THAT(group.values("reasoning"), ElementsAre(0, -0.05, -0.05, -0.1, -0.05, 0));
}

TEST(SpanVlaTest, ReasoningThatContradictsTheActionCostsAFixedPrice) {
  v1::RewardRules rules = SpanVla();
  rules.mutable_spanvla()->set_cot_free(0);
  rules.mutable_spanvla()->set_cot_full(100);
  rules.mutable_spanvla()->set_lambda_cot(0.5);
  rules.mutable_spanvla()->set_contradiction(4);
  Group group;
  group.Add("<think>plan maintain, keep.</think>", 1);     // what it drives: 20 characters
  group.Add("<think>plan accelerate, keep.</think>", 1);   // a neighbour: 22 characters
  group.Add("<think>plan stop, keep.</think>", 1);         // not at a steady 10 m/s
  group.Add("<think>plan maintain, turn left.</think>", 1);
  group.Add("<think>plan maintain, turn left.</think>", 0, {});  // drives nothing: 25 characters
  group.Add("<think>plan fly, up.</think>", 1);                  // no plan that could be read: 13 characters
  ASSERT_OK(group.Apply(rules, Target(v1::POSITIVE)));
  EXPECT_THAT(group.values("reasoning"),
              ElementsAre(DoubleEq(-0.5 * 0.20), DoubleEq(-0.5 * 0.22), -2, -2, DoubleEq(-0.5 * 0.25), DoubleEq(-0.5 * 0.13)));
}

TEST(ReasoningTest, ContradictionIsAnotherSideOrNoNeighbour) {
  const auto differ = [](const char* speed, const char* path, const char* driven_speed, const char* driven_path) {
    return Contradicts({speed, path}, {driven_speed, driven_path});
  };
  EXPECT_FALSE(differ("maintain", "keep", "decelerate", "keep"));
  EXPECT_FALSE(differ("stop", "keep", "decelerate", "keep"));
  EXPECT_FALSE(differ("maintain", "change left", "maintain", "turn left"));
  EXPECT_TRUE(differ("maintain", "keep", "maintain", "change left"));
  EXPECT_TRUE(differ("maintain", "turn right", "maintain", "turn left"));
  EXPECT_TRUE(differ("maintain", "keep", "stop", "keep"));
  EXPECT_TRUE(differ("accelerate", "keep", "decelerate", "keep"));
}

TEST(ReasoningTest, IsWhatStandsInItsSection) {
  EXPECT_EQ(ReasoningOf("<think> a b </think><answer>c</answer>"), "a b");
  EXPECT_EQ(ReasoningOf("<think>\n</think><answer>c</answer>"), "");
  EXPECT_EQ(ReasoningOf("<think>a <answer>c</answer>"), "a");
  EXPECT_EQ(ReasoningOf("a <answer>c</answer>"), "a");
  EXPECT_EQ(ReasoningOf("<answer>c</answer>"), "");
  EXPECT_EQ(ReasoningOf("no tags"), "no tags");
  EXPECT_EQ(ReasoningOf(""), "");
}

constexpr char kThinking[] = "<think>a</think><answer>x</answer>", kPlain[] = "<think></think><answer>x</answer>";

TEST(AdaptiveThinkTest, TheBetterModeIsPaid) {
  Group group;
  group.Add(kThinking, 0.95);
  group.Add(kPlain, 0.90);
  group.Add(kThinking, 0.97);  // mean 0.96
  group.Add(kPlain, 0.94);     // mean 0.92
  ASSERT_OK(group.Apply(AdaptiveThink(), Target(v1::POSITIVE)));
  EXPECT_THAT(group.values("adaptive_think"), ElementsAre(1, 0, 1, 0));
  EXPECT_THAT(group.reward(0).total(), DoubleEq(0.95 + 1 + 1 + 1));
}

TEST(AdaptiveThinkTest, OfEqualsTheOneWithoutReasoning) {
  Group group;
  group.Add(kThinking, 1);
  group.Add(kPlain, 1);
  ASSERT_OK(group.Apply(AdaptiveThink(), Target(v1::POSITIVE)));
  EXPECT_THAT(group.values("adaptive_think"), ElementsAre(0, 1));
}

TEST(AdaptiveThinkTest, NobodyIsPaidBelowTheThresholdOrWithoutAComparison) {
  Group low;
  low.Add(kThinking, 0.8);
  low.Add(kPlain, 0.7);
  ASSERT_OK(low.Apply(AdaptiveThink(), Target(v1::POSITIVE)));
  EXPECT_THAT(low.values("adaptive_think"), ElementsAre(0, 0));
  Group again;
  again.Add(kThinking, 0.8);
  again.Add(kPlain, 0.7);
  v1::RewardRules rules = AdaptiveThink();
  rules.mutable_adaptive_think()->set_threshold(0.8);
  rules.mutable_adaptive_think()->set_weight(0.25);
  ASSERT_OK(again.Apply(rules, Target(v1::POSITIVE)));
  EXPECT_THAT(again.values("adaptive_think"), ElementsAre(0.25, 0));
  Group one_mode;
  one_mode.Add(kThinking, 1);
  one_mode.Add(kThinking, 1);
  ASSERT_OK(one_mode.Apply(AdaptiveThink(), Target(v1::POSITIVE)));
  EXPECT_THAT(one_mode.values("adaptive_think"), ElementsAre(0, 0));
}

TEST(AdaptiveThinkTest, WhatCannotBeScoredLowersItsModeAndIsNotPaid) {
  Group group;
  group.Add(kThinking, 1);
  group.Add(kThinking, 0, {});  // mean 0.5
  group.Add(kPlain, 0.95);
  ASSERT_OK(group.Apply(AdaptiveThink(), Target(v1::POSITIVE)));
  EXPECT_THAT(group.values("adaptive_think"), ElementsAre(0, 0, 1));
  Group best;
  for (int i = 0; i < 19; ++i) best.Add(kThinking, 1);
  best.Add(kThinking, 0, {});  // mean 0.95
  best.Add(kPlain, 0.5);
  ASSERT_OK(best.Apply(AdaptiveThink(), Target(v1::POSITIVE)));
  EXPECT_EQ(best.values("adaptive_think")[18], 1);
  EXPECT_EQ(best.values("adaptive_think")[19], 0);
}

// Refinements: what their group says of the modes holds for them, and they change nothing about it.
TEST(AdaptiveThinkTest, PeersDecideInsteadOfTheCandidates) {
  Group group;
  group.Add(kThinking, 1);
  group.Add(kPlain, 0);
  group.Add(kPlain, 0.3, {});
  group.AddPeer(kThinking, 0.9);
  group.AddPeer(kPlain, 0.95);
  ASSERT_OK(group.Apply(AdaptiveThink(), Target(v1::POSITIVE)));
  EXPECT_THAT(group.values("adaptive_think"), ElementsAre(0, 1, 0));
  group.AddPeer(kPlain, 1.5);
  EXPECT_THAT(group.Apply(AdaptiveThink(), Target(v1::POSITIVE)),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("peers[2].traj")));
}

TEST(RewardFunctions, SeveralAddUpInTheirOrder) {
  v1::RewardRules rules = AdaptiveThink();
  rules.add_functions("spanvla");
  Group group;
  group.Add(kThinking, 0.9, Straight(1));
  group.Add(kPlain, 1.0, Straight(2));
  ASSERT_OK(group.Apply(rules, Target(v1::NEGATIVE)));
  EXPECT_THAT(group.terms(1), ElementsAre(Pair("adaptive_think", 1), Pair("negative", -0.25), Pair("reasoning", 0.0)));
  EXPECT_THAT(group.reward(1).total(), DoubleEq(1.0 + 1 + 1 - 0.25));
}

}  // namespace
}  // namespace swerve
