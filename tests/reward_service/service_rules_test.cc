// What a group is scored by: the edition of the score, reward functions, peers, scenes by id and inline.
#include "pdm/score_v2.h"
#include "scenes/flat_poses.h"
#include "tests/reward_service/service_fixture.h"

namespace swerve {
namespace {

using ::testing::HasSubstr;

// Every sub-score of v2 to the last bit of the library's, by request and as configured; one cache holds both editions.
TEST_F(RewardServiceTest, ScoresByTheRulesOfV2) {
  const v1::Scene* with_previous = nullptr;
  for (const v1::Scene& s : testing::PublicScenes().scenes) {
    if (s.has_prev() && s.has_resolved_v2() && s.candidates_size() > 2) with_previous = &s;
  }
  ASSERT_NE(with_previous, nullptr);
  *scene_ = *with_previous;
  v1::ScoreGroupRequest request;
  request.set_scene_id("known");
  request.mutable_weights()->set_traj(1);
  for (const v1::Candidate& candidate : scene_->candidates()) {
    v1::ScoreCandidate* c = request.add_candidates();
    *c->mutable_poses() = candidate.poses();
    *c->mutable_prev_poses() = candidate.prev_poses();
  }
  const auto prepared = pdm::PreparedScene::Create(*scene_, pdm::Rules::kV2).value();
  const auto expect_v2 = [&] {
    ASSERT_EQ(reply_.rewards_size(), scene_->candidates_size());
    int with_ec = 0;
    for (int i = 0; i < reply_.rewards_size(); ++i) {
      const v1::Reward& got = reply_.rewards(i);
      const v1::Candidate& c = scene_->candidates(i);
      const auto previous = pdm::SimulatePrevious(*scene_, testing::PosesOf(c.prev_poses()));
      const pdm::ScoreV2 want = pdm::ScoreTrajectoryV2(*prepared, testing::PosesOf(c.poses()),
                                                       previous.has_value() ? &*previous : nullptr, true);
      EXPECT_EQ(got.invalid(), want.invalid);
      if (want.invalid != v1::INVALID_REASON_UNSPECIFIED) continue;
      EXPECT_EQ(got.traj(), want.epdms);
      EXPECT_EQ(got.scores().epdms(), want.epdms);
      EXPECT_EQ(got.scores().lk(), want.raw.lk);
      EXPECT_EQ(got.scores().tlc(), want.raw.tlc);
      EXPECT_EQ(got.scores().comfort(), want.raw.hc);
      EXPECT_EQ(got.scores().has_ec(), want.ec.has_value());
      EXPECT_EQ(got.scores().ec(), want.ec.value_or(0));
      EXPECT_EQ(got.facts().SerializeAsString(), want.facts.SerializeAsString());
      EXPECT_EQ(got.facts().has_lane(), want.raw.lk == 0);
      with_ec += got.scores().has_ec();
    }
    EXPECT_GT(with_ec, 0);
  };
  Start();
  ASSERT_OK(Call(request));  // as configured: v1
  EXPECT_FALSE(reply_.rewards(0).scores().has_epdms());
  EXPECT_EQ(reply_.rewards(0).traj(), reply_.rewards(0).scores().pdms());
  for (int i = 0; i < 2; ++i) {
    request.set_pdm_rules(v1::V2);
    ASSERT_OK(Call(request));
    expect_v2();
    for (v1::ScoreCandidate& c : *request.mutable_candidates()) {  // the second time the same poses flat
      AddFlat(c.poses(), c.mutable_flat_poses());
      AddFlat(c.prev_poses(), c.mutable_flat_prev_poses());
      c.clear_poses();
      c.clear_prev_poses();
    }
  }
  EXPECT_EQ(lookups_, 2);  // once per edition
  request.mutable_candidates(1)->add_flat_poses(1);
  EXPECT_THAT(Call(request), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("candidates[1].flat_poses: 25 numbers")));
  request.mutable_candidates(1)->mutable_flat_poses()->RemoveLast();
  request.set_pdm_rules(static_cast<v1::PdmRules>(9));
  EXPECT_THAT(Call(request), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("pdm_rules: 9")));
  scene_->clear_resolved_v2();
  request.set_pdm_rules(v1::V2);
  request.clear_source();
  *request.mutable_scene() = *scene_;
  EXPECT_THAT(Call(request), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("resolved_v2")));
}

TEST_F(RewardServiceTest, ARunMayBeConfiguredForV2) {
  ScoringOptions options;
  options.pdm_rules = pdm::Rules::kV2;
  Start(options);
  ASSERT_OK(Call(Request()));
  EXPECT_TRUE(reply_.rewards(0).scores().has_epdms());
  EXPECT_EQ(reply_.rewards(0).traj(), reply_.rewards(0).scores().epdms());
}

TEST_F(RewardServiceTest, ScoresAGroupAndPreparesASceneOnce) {
  Start();
  ASSERT_OK(Call(Request()));
  ASSERT_EQ(reply_.rewards_size(), 8);
  EXPECT_GT(reply_.rewards(7).traj(), 0.9);
  ASSERT_OK(Call(Request()));
  EXPECT_EQ(lookups_, 1);
}

TEST_F(RewardServiceTest, InlineScene) {
  Start();
  v1::ScoreGroupRequest request = Request();
  *request.mutable_scene() = *scene_;
  ASSERT_OK(Call(request));
  EXPECT_GT(reply_.rewards(0).traj(), 0.9);
  request.mutable_scene()->clear_ego();
  EXPECT_THAT(Call(request), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("ego")));
}

TEST_F(RewardServiceTest, RulesOfTheRequestElseOfTheConfiguration) {
  scene_->set_label(v1::NEGATIVE);
  ScoringOptions options;
  v1::RewardRules rules;
  rules.add_functions("spanvla");
  options.default_functions = RewardFunctions::Make(rules).value();
  Start(options);
  v1::ScoreGroupRequest request = Request("known", 20);  // more than one thread takes at once
  ASSERT_OK(Call(request));
  for (const v1::Reward& reward : reply_.rewards()) {
    ASSERT_EQ(reward.terms_size(), 2);
    EXPECT_EQ(reward.terms(0).name(), "negative");
    EXPECT_EQ(reward.terms(0).value(), -0.5);  // what was recorded
    EXPECT_EQ(reward.goal(), 0);
    EXPECT_DOUBLE_EQ(reward.total(), reward.traj() + reward.fmt() - 0.5);
  }
  request.mutable_rules();  // none
  ASSERT_OK(Call(request));
  EXPECT_EQ(reply_.rewards(0).terms_size(), 0);
  EXPECT_EQ(reply_.rewards(0).goal(), 1);
  request.mutable_rules()->add_functions("adaptive");
  EXPECT_THAT(Call(request),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("known: spanvla, adaptive_think")));
  scene_ = std::make_shared<v1::Scene>(*scene_);
  scene_->clear_gt();
  request = Request();
  *request.mutable_scene() = *scene_;
  request.mutable_weights()->set_traj(1);
  EXPECT_THAT(Call(request), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("NEGATIVE")));
}

// Refinements get what their mode earned in the group they came from.
TEST_F(RewardServiceTest, RefinementsAreJudgedByTheirPeers) {
  ScoringOptions options;
  options.max_candidates = 4;
  Start(options);
  v1::ScoreGroupRequest request = Request("known", 2);
  request.mutable_candidates(0)->set_text("<think>a</think><answer>x</answer>");
  request.mutable_candidates(1)->set_text("<think></think><answer>x</answer>");
  request.mutable_rules()->add_functions("adaptive_think");
  for (const double traj : {0.95, 0.5}) {
    v1::GroupPeer* peer = request.add_peers();
    peer->set_text(request.candidates(traj > 0.9 ? 0 : 1).text());
    peer->set_traj(traj);
  }
  ASSERT_OK(Call(request));
  ASSERT_EQ(reply_.rewards_size(), 2);
  EXPECT_EQ(reply_.rewards(0).terms(0).value(), 1);
  EXPECT_EQ(reply_.rewards(1).terms(0).value(), 0);
  request.clear_peers();  // the candidates themselves: equally good, and then without reasoning is better
  ASSERT_OK(Call(request));
  EXPECT_EQ(reply_.rewards(0).terms(0).value(), 0);
  EXPECT_EQ(reply_.rewards(1).terms(0).value(), 1);
  for (int i = 0; i < 3; ++i) request.add_peers();
  EXPECT_THAT(Call(request), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("at most 4")));
}

}  // namespace
}  // namespace swerve
