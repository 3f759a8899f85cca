// Each step of the flow with scripted services.
#include <gmock/gmock.h>

#include <cmath>
#include <functional>
#include <limits>
#include <set>

#include "base/status_matchers.h"
#include "policy/fake_engine.h"
#include "rollout_workers/diagnose.h"
#include "rollout_workers/episode.h"
#include "rollout_workers/refine.h"
#include "rollout_workers/rollout.h"
#include "rollout_workers/score.h"
#include "scenes/prompt.h"
#include "tests/testing/fake_services.h"

namespace swerve {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

v1::RunConfig Config(int n = 4) {
  v1::RunConfig config;
  config.set_seed(5);
  config.mutable_rollout()->set_num_generations(n);
  return config;
}

std::shared_ptr<const v1::Scene> AScene() {
  auto scene = std::make_shared<v1::Scene>();
  scene->set_id("s");
  scene->mutable_ego()->set_vx(5);
  scene->mutable_ego()->mutable_rear_axle();
  return scene;
}

v1::Lease ALease(uint64_t group = 7) {
  v1::Lease lease;
  lease.set_scene_id("s");
  lease.set_group(group);
  lease.set_attempt(2);
  return lease;
}

// A sampled group whose sample i says texts[i].
RolloutGroup Sampled(const std::vector<std::string>& texts, const v1::RunConfig& config) {
  size_t next = 0;
  FakeEngine engine([&](const Prompt&, uint64_t) { return texts[next++]; });
  const LeasedGroup leased = Prepare(ALease(), "run", AScene(), 16);
  const GenerateRequest request = RolloutRequest(leased, config);
  auto results = engine.Generate({request});
  v1::PolicyManifest policy;
  policy.set_version(3);
  policy.set_checksum("abc");
  return FinishRollout(leased, config, (*results)[0], policy, 1.5);
}

// r_traj is the number the response consists of.
double Number(const std::string& text) { return text.empty() ? 0 : std::stod(text); }

DiagnosedGroup Diagnosed(const std::vector<std::string>& texts, const v1::RunConfig& config) {
  FakeReward reward(Number);
  FakeTeacher teacher;
  auto scored = Score(Sampled(texts, config), config, reward);
  EXPECT_TRUE(scored.ok()) << scored.status();
  return Diagnose(*std::move(scored), config, teacher);
}

std::vector<std::optional<v1::Response>> Answers(const std::vector<std::string>& texts) {
  std::vector<std::optional<v1::Response>> answers;
  for (const std::string& text : texts) {
    v1::Response& r = answers.emplace_back(std::in_place).value();
    r.set_text(text);
    r.add_token_ids(1);
    r.add_weight_versions(4);
  }
  return answers;
}

TEST(RolloutTest, EverySampleHasItsOwnReproducibleSeed) {
  const v1::RunConfig config = Config();
  const GenerateRequest a = RolloutRequest(Prepare(ALease(), "run", AScene(), 0), config);
  const GenerateRequest b = RolloutRequest(Prepare(ALease(), "other run", AScene(), 0), config);
  EXPECT_EQ(a.seeds, b.seeds);  // whoever samples, whichever attempt
  EXPECT_EQ(std::set<uint64_t>(a.seeds.begin(), a.seeds.end()).size(), 4u);
  EXPECT_NE(a.seeds, RolloutRequest(Prepare(ALease(8), "run", AScene(), 0), config).seeds);
  EXPECT_NE(SampleSeed(5, ALease(), 0, v1::BASE), SampleSeed(5, ALease(), 0, v1::FEEDBACK));
  EXPECT_DOUBLE_EQ(a.temperature, 1.2);
  EXPECT_EQ(a.prompt.text, BasePromptText(*AScene()));
  EXPECT_EQ(a.prompt.image, nullptr);
}

TEST(RolloutTest, PictureHasTheEnginesSize) {
  const LeasedGroup group = Prepare(ALease(), "run", AScene(), 32);
  ASSERT_NE(group.prompt.image, nullptr);
  EXPECT_EQ(group.prompt.image->height, 32);
}

TEST(RolloutTest, CutOffAndMissingResponsesAreMasked) {
  const v1::RunConfig config = Config(3);
  GenerateResult result;
  result.responses.resize(2);
  result.responses[0].add_token_ids(1);
  result.responses[1].add_token_ids(1);
  result.responses[1].set_finish(v1::CANCELLED);
  const RolloutGroup group = FinishRollout(Prepare(ALease(), "run", AScene(), 0), config, result, {}, 0);
  ASSERT_EQ(group.samples.size(), 3u);
  EXPECT_EQ(group.samples[0].outcome(), v1::OK);
  EXPECT_EQ(group.samples[1].outcome(), v1::UNAVAILABLE);
  EXPECT_EQ(group.samples[2].outcome(), v1::INTERNAL);
}

TEST(ScoreTest, AFailingServiceIsAnErrorNotAZero) {
  const v1::RunConfig config = Config();
  FakeReward reward(Number);
  reward.Fail({absl::DeadlineExceededError("slow")});
  EXPECT_THAT(Score(Sampled({"0", "0", "0", "0"}, config), config, reward),
              StatusIs(absl::StatusCode::kDeadlineExceeded, HasSubstr("slow")));
}

TEST(ScoreTest, MaskedSamplesAreNotAskedAboutAndKeepNoReward) {
  const v1::RunConfig config = Config();
  RolloutGroup group = Sampled({"0.1", "0.2", "0.3", "0.4"}, config);
  group.samples[1].set_outcome(v1::UNAVAILABLE);
  FakeReward reward(Number);
  SWERVE_ASSERT_OK_AND_ASSIGN(const ScoredGroup scored, Score(std::move(group), config, reward));
  EXPECT_FALSE(scored.rollout.samples[1].has_reward());
  EXPECT_DOUBLE_EQ(scored.rollout.samples[2].reward().traj(), 0.3);
}

TEST(ScoreTest, ARewardThatIsNotFiniteMasksItsSample) {
  const v1::RunConfig config = Config();
  FakeReward reward([](const std::string& t) { return t == "x" ? std::nan("") : 0.5; });
  SWERVE_ASSERT_OK_AND_ASSIGN(const ScoredGroup scored, Score(Sampled({"x", "1", "1", "1"}, config), config, reward));
  EXPECT_EQ(scored.rollout.samples[0].outcome(), v1::INTERNAL);
  EXPECT_FALSE(scored.rollout.samples[0].has_reward());
  FakeReward broken([](const std::string&) { return std::numeric_limits<double>::infinity(); });
  EXPECT_THAT(Score(Sampled({"1", "1", "1", "1"}, config), config, broken),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("fewer than two")));
}

TEST(ScoreTest, ResponsesAreSentWithTheirPoses) {
  v1::Response response;
  response.set_text("t");
  response.set_parse(v1::REPAIRED);
  for (int i = 0; i < 2; ++i) response.add_poses()->set_x(i + 1), response.mutable_poses(i)->set_heading(-i);
  const v1::ScoreGroupRequest request = ScoreRequest("s", {&response}, v1::RewardConfig());
  ASSERT_EQ(request.candidates_size(), 1);
  EXPECT_THAT(request.candidates(0).flat_poses(), ElementsAre(1, 0, 0, 2, 0, -1));
  EXPECT_EQ(request.candidates(0).text(), "t");
  EXPECT_EQ(request.candidates(0).parse(), v1::REPAIRED);
}

TEST(ScoreTest, WeightsOfTheConfigurationAreSent) {
  v1::RewardConfig config;
  for (double w : {1.0, 0.5, 0.25}) config.add_reward_weights(w);
  EXPECT_DOUBLE_EQ(ScoreRequest("s", {}, config).weights().goal(), 0.25);
  EXPECT_FALSE(ScoreRequest("s", {}, v1::RewardConfig()).has_weights());
}

TEST(DiagnoseTest, AFailingTeacherLeavesRewardsAloneAndSaysWhy) {
  const v1::RunConfig config = Config(2);
  FakeReward reward(Number);
  FakeTeacher teacher;
  teacher.Fail(absl::DeadlineExceededError("slow"));
  SWERVE_ASSERT_OK_AND_ASSIGN(ScoredGroup scored, Score(Sampled({"0.3", "0.9"}, config), config, reward));
  const DiagnosedGroup group = Diagnose(std::move(scored), config, teacher);
  for (const v1::Sample& sample : group.scored.rollout.samples) {
    EXPECT_EQ(sample.outcome(), v1::OK);
    EXPECT_EQ(sample.feedback_outcome(), v1::TIMEOUT);
    EXPECT_FALSE(sample.has_feedback());
  }
  EXPECT_DOUBLE_EQ(group.scored.rollout.samples[0].reward().traj(), 0.3);
  EXPECT_FALSE(WantsRefinement(group, config));
}

TEST(DiagnoseTest, TeacherNoneIsNotAsked) {
  v1::RunConfig config = Config(2);
  config.mutable_teacher()->set_kind("none");
  FakeReward reward(Number);
  FakeTeacher teacher;
  SWERVE_ASSERT_OK_AND_ASSIGN(ScoredGroup scored, Score(Sampled({"0.3", "0.9"}, config), config, reward));
  const DiagnosedGroup group = Diagnose(std::move(scored), config, teacher);
  EXPECT_EQ(teacher.calls(), 0);
  EXPECT_EQ(group.teacher, "none");
  EXPECT_FALSE(WantsRefinement(group, config));
}

// One of several teachers: the gateway says whose group it is, and a file may name some although the kind is none.
class NamedTeacher final : public TeacherClient {
 public:
  absl::StatusOr<v1::DiagnoseReply> Diagnose(const v1::DiagnoseRequest& request) override {
    v1::DiagnoseReply reply;
    for (int i = 0; i < request.items_size(); ++i) reply.add_results()->set_outcome(v1::OK);
    reply.set_teacher("vlm");
    return reply;
  }
};

TEST(DiagnoseTest, TheGroupCarriesTheTeacherThatTheGatewayNames) {
  v1::RunConfig config = Config(2);
  config.mutable_teacher()->set_kind("none");
  config.mutable_teacher()->set_teachers_file("teachers.yaml");
  FakeReward reward(Number);
  NamedTeacher teacher;
  SWERVE_ASSERT_OK_AND_ASSIGN(ScoredGroup scored, Score(Sampled({"0.3", "0.9"}, config), config, reward));
  EXPECT_EQ(Diagnose(std::move(scored), config, teacher).teacher, "vlm");
}

// The first response gets a report after a fallback, the second none at all.
class HalfTeacher final : public TeacherClient {
 public:
  absl::StatusOr<v1::DiagnoseReply> Diagnose(const v1::DiagnoseRequest&) override {
    v1::FailedTeacher asked;
    asked.set_teacher("vlm");
    asked.set_outcome(v1::TIMEOUT);
    asked.mutable_cost()->set_seconds(3);
    asked.mutable_cost()->set_tokens(900);
    v1::DiagnoseReply reply;
    reply.set_set_version(5);
    v1::DiagnoseResult* told = reply.add_results();
    told->set_outcome(v1::OK);
    told->mutable_feedback()->set_teacher("oracle");
    *told->mutable_feedback()->add_fallen_from() = asked;
    v1::DiagnoseResult* silent = reply.add_results();
    silent->set_outcome(v1::TIMEOUT);
    *silent->mutable_cost() = asked.cost();
    *silent->add_failed() = asked;
    return reply;
  }
};

TEST(DiagnoseTest, TheEpisodeSaysWhoWasAskedInVainAndUnderWhichSet) {
  v1::RunConfig config = Config(2);
  FakeReward reward(Number);
  HalfTeacher teacher;
  SWERVE_ASSERT_OK_AND_ASSIGN(ScoredGroup scored, Score(Sampled({"0.3", "0.2"}, config), config, reward));
  const RefinedGroup group{Diagnose(std::move(scored), config, teacher), {}};
  const v1::Episode e = MakeEpisode(group, config, absl::FromUnixSeconds(9));
  EXPECT_EQ(e.teacher_set_version(), 5u);
  EXPECT_EQ(e.samples(0).feedback_failed_size(), 0);  // the report itself says so
  ASSERT_EQ(e.samples(1).feedback_failed_size(), 1);
  EXPECT_EQ(e.samples(1).feedback_failed(0).teacher(), "vlm");
  EXPECT_EQ(e.samples(1).feedback_failed(0).outcome(), v1::TIMEOUT);
  EXPECT_DOUBLE_EQ(e.samples(1).feedback_cost().seconds(), 3);
  config.set_deterministic(true);
  const v1::Episode timeless = MakeEpisode(group, config, absl::FromUnixSeconds(9));
  EXPECT_EQ(timeless.samples(1).feedback_cost().seconds(), 0);
  EXPECT_EQ(timeless.samples(1).feedback_failed(0).cost().seconds(), 0);
  EXPECT_EQ(timeless.samples(1).feedback_cost().tokens(), 900);
}

TEST(RefineTest, AsksOncePerResponseWithItsOwnReport) {
  v1::RunConfig config = Config(2);
  const DiagnosedGroup group = Diagnosed({"0.3", "0.9"}, config);
  const auto requests = RefineRequests(group, config);
  ASSERT_EQ(requests.size(), 2u);
  EXPECT_EQ(requests[0].generate.prompt.text, FeedbackPromptText(*AScene(), "0.3", "better"));
  EXPECT_EQ(requests[1].generate.prompt.text, FeedbackPromptText(*AScene(), "0.9", "right"));
  EXPECT_THAT(requests[0].generate.seeds, ElementsAre(SampleSeed(5, ALease(), 0, v1::FEEDBACK)));
  EXPECT_NE(requests[0].generate.prompt.image, nullptr);
  config.mutable_rollout()->set_refine_correct(false);
  EXPECT_EQ(RefineRequests(group, config).size(), 1u);
}

TEST(SelectTest, OnlyWhatBeatsEveryOriginalCompetes) {
  EXPECT_THAT(SelectRefinements({0.5, 0.9, 0.7}, 0.7, 2, 1, 1), ElementsAre(1));  // equal is not better
  EXPECT_THAT(SelectRefinements({0.5, 0.6}, 0.7, 1, 1, 1), IsEmpty());
  EXPECT_THAT(SelectRefinements({0.8, 0.9}, 0.7, 0, 1, 1), IsEmpty());
  EXPECT_THAT(SelectRefinements({0.8, 0.9, 1.0}, 0.7, 3, 1, 1), ElementsAre(0, 1, 2));
}

TEST(SelectTest, DrawsEachWithTheSameChanceFromTheGroupsOwnStream) {
  std::vector<int> counts(4, 0);
  for (uint64_t group = 0; group < 4000; ++group) {
    const auto chosen = SelectRefinements({0.8, 0.1, 0.9, 1.0}, 0.7, 1, 1, group);
    ASSERT_EQ(chosen.size(), 1u);
    EXPECT_EQ(chosen, SelectRefinements({0.8, 0.1, 0.9, 1.0}, 0.7, 1, 1, group));
    ++counts[chosen[0]];
  }
  EXPECT_EQ(counts[1], 0);
  for (int i : {0, 2, 3}) EXPECT_NEAR(counts[i], 1333, 120);
}

TEST(RefineTest, KeepsAllScoredRefinementsAndMarksTheSelected) {
  const v1::RunConfig config = Config(2);
  DiagnosedGroup group = Diagnosed({"0.3", "0.5"}, config);
  const auto requests = RefineRequests(group, config);
  FakeReward reward(Number);
  FakeEngine engine([](const Prompt&, uint64_t) { return ""; });
  const RefinedGroup refined = FinishRefine(std::move(group), requests, Answers({"0.4", "0.9"}), config, engine, reward);
  ASSERT_EQ(refined.refinements.size(), 2u);
  EXPECT_FALSE(refined.refinements[0].selected());
  EXPECT_TRUE(refined.refinements[1].selected());
  EXPECT_EQ(refined.refinements[1].of_sample(), 1);
}

// Functions of a group judge refinements by the originals that were scored; masked ones belong to no group.
TEST(RefineTest, RewardRulesGoWithTheGroupThatWasSampled) {
  v1::RunConfig config = Config(3);
  config.mutable_reward()->mutable_rules()->add_functions("adaptive_think");
  FakeReward reward(Number);
  FakeTeacher teacher;
  RolloutGroup sampled = Sampled({"0.3", "", "0.5"}, config);
  SWERVE_ASSERT_OK_AND_ASSIGN(ScoredGroup scored, Score(std::move(sampled), config, reward));
  EXPECT_THAT(reward.last().rules().functions(), ElementsAre("adaptive_think"));
  EXPECT_EQ(reward.last().peers_size(), 0);
  DiagnosedGroup group = Diagnose(std::move(scored), config, teacher);
  const int originals = reward.last().candidates_size();
  const auto requests = RefineRequests(group, config);
  FakeEngine engine([](const Prompt&, uint64_t) { return ""; });
  const RefinedGroup refined = FinishRefine(std::move(group), requests, Answers({"0.4", "0.9"}), config, engine, reward);
  const v1::ScoreGroupRequest asked = reward.last();
  EXPECT_THAT(asked.rules().functions(), ElementsAre("adaptive_think"));
  ASSERT_EQ(asked.peers_size(), originals);
  EXPECT_EQ(asked.peers(0).text(), "0.3");
  EXPECT_EQ(asked.peers(0).traj(), 0.3);
  EXPECT_EQ(asked.peers(originals - 1).text(), "0.5");
  EXPECT_EQ(asked.candidates_size(), 2);
  EXPECT_EQ(refined.refinements[0].reward().terms(0).name(), "fake");
}

TEST(RefineTest, WhatWasNotSampledOrScoredIsLeftOut) {
  const v1::RunConfig config = Config(2);
  const auto run = [&](absl::Status scorer, absl::Status* failure) {
    DiagnosedGroup group = Diagnosed({"0.3", "0.5"}, config);
    const auto requests = RefineRequests(group, config);
    auto answers = Answers({"0.4", "0.9"});
    answers[0].reset();
    FakeReward reward(Number);
    reward.Fail({scorer});
    FakeEngine engine([](const Prompt&, uint64_t) { return ""; });
    return FinishRefine(std::move(group), requests, std::move(answers), config, engine, reward, failure).refinements;
  };
  absl::Status failure;
  const auto one = run(absl::OkStatus(), &failure);
  ASSERT_EQ(one.size(), 1u);
  EXPECT_EQ(one[0].of_sample(), 1);
  EXPECT_OK(failure);
  EXPECT_THAT(run(absl::UnavailableError("gone"), &failure), IsEmpty());
  EXPECT_THAT(failure, StatusIs(absl::StatusCode::kUnavailable, HasSubstr("gone")));
}

// A scene whose expert drives straight on at 5 m/s, refined into `answers`, poses as given.
std::vector<bool> Copied(const std::vector<std::function<void(std::vector<v1::Pose>*)>>& edits) {
  const v1::RunConfig config = Config(2);
  auto scene = std::make_shared<v1::Scene>(*AScene());
  std::vector<v1::Pose> rounded;
  for (int i = 1; i <= 8; ++i) {
    scene->add_gt()->set_x(2.54 * i);
    rounded.emplace_back().set_x(std::round(25.4 * i) / 10);
  }
  DiagnosedGroup group = Diagnosed({"0.3", "0.5"}, config);
  group.scored.rollout.leased.scene = scene;
  const auto requests = RefineRequests(group, config);
  auto answers = Answers({"0.4", "0.9"});
  for (size_t i = 0; i < edits.size(); ++i) {
    std::vector<v1::Pose> poses = rounded;
    edits[i](&poses);
    for (const v1::Pose& pose : poses) *answers[i]->add_poses() = pose;
  }
  FakeReward reward(Number);
  FakeEngine engine([](const Prompt&, uint64_t) { return ""; });
  std::vector<bool> copied;
  for (const v1::Refinement& r : FinishRefine(std::move(group), requests, std::move(answers), config, engine, reward).refinements) {
    copied.push_back(r.equals_ground_truth());
  }
  return copied;
}

TEST(RefineTest, MarksWhatDrivesTheGroundTruthAsItIsWritten) {
  const auto same = [](std::vector<v1::Pose>*) {};
  EXPECT_THAT(Copied({same, [](std::vector<v1::Pose>* p) { (*p)[3].set_y(0.1); }}), ElementsAre(true, false));
  EXPECT_THAT(Copied({[](std::vector<v1::Pose>* p) { (*p)[7].set_heading(0.06); },
                      [](std::vector<v1::Pose>* p) { (*p)[7].set_heading(2 * M_PI - 0.04); }}),
              ElementsAre(false, true));
  EXPECT_THAT(Copied({[](std::vector<v1::Pose>* p) { p->pop_back(); },
                      [](std::vector<v1::Pose>* p) { (*p)[0].set_x(std::nan("")); }}),
              ElementsAre(false, false));
}

TEST(RefineTest, AnInjectedAnswerIsTokenisedScoredAndCompetes) {
  const v1::RunConfig config = Config(2);
  DiagnosedGroup group = Diagnosed({"0.3", "0.5"}, config);
  for (v1::Sample& sample : group.scored.rollout.samples) {
    sample.mutable_feedback()->add_injected();
    sample.mutable_feedback()->set_injected_text("1.0");
  }
  EXPECT_THAT(RefineRequests(group, config), IsEmpty());
  EXPECT_TRUE(WantsRefinement(group, config));
  FakeReward reward(Number);
  FakeEngine engine([](const Prompt&, uint64_t) { return ""; });
  const RefinedGroup refined = FinishRefine(std::move(group), {}, {}, config, engine, reward);
  ASSERT_EQ(refined.refinements.size(), 1u);  // once per group, not once per failure
  const v1::Refinement& r = refined.refinements[0];
  EXPECT_THAT(r.response().token_ids(), ElementsAre('1', '.', '0', FakeEngine::kEnd));
  EXPECT_TRUE(r.selected());
  EXPECT_DOUBLE_EQ(r.reward().traj(), 1.0);
}

TEST(EpisodeTest, CarriesEverythingAndTheOldestVersion) {
  v1::RunConfig config = Config(2);
  config.mutable_teacher()->set_kind("oracle");
  DiagnosedGroup group = Diagnosed({"0.3", "0.5"}, config);
  group.scored.rollout.samples[1].mutable_response()->set_weight_versions(0, 2);
  const auto requests = RefineRequests(group, config);
  FakeReward reward(Number);
  FakeEngine engine([](const Prompt&, uint64_t) { return ""; });
  RefinedGroup refined = FinishRefine(std::move(group), requests, Answers({"0.4", "0.9"}), config, engine, reward);
  const v1::Episode e = MakeEpisode(refined, config, absl::FromUnixSeconds(9));
  EXPECT_EQ(e.run_id(), "run");
  EXPECT_EQ(e.scene_id(), "s");
  EXPECT_EQ(e.group(), 7u);
  EXPECT_EQ(e.attempt(), 2u);
  EXPECT_GT(e.prompt_ids_size(), 0);
  EXPECT_EQ(e.samples_size(), 2);
  EXPECT_EQ(e.refinements_size(), 2);
  EXPECT_EQ(e.weight_version(), 0);  // FakeEngine samples as version 0
  EXPECT_EQ(e.policy_checksum(), "abc");
  EXPECT_EQ(e.teacher(), "oracle");
  EXPECT_EQ(e.created_us(), 9000000);
  EXPECT_DOUBLE_EQ(e.generate_seconds(), 1.5);
  config.set_deterministic(true);
  const v1::Episode again = MakeEpisode(refined, config, absl::FromUnixSeconds(10));
  EXPECT_EQ(again.SerializeAsString(), MakeEpisode(refined, config, absl::FromUnixSeconds(11)).SerializeAsString());
}

TEST(EpisodeTest, MaskedSamplesDoNotCountForDifficulty) {
  v1::Episode e;
  for (double r : {0.2, 0.8}) {
    e.add_samples()->set_outcome(v1::OK);
    e.mutable_samples(e.samples_size() - 1)->mutable_reward()->set_traj(r);
  }
  e.add_samples()->set_outcome(v1::UNAVAILABLE);
  EXPECT_THAT(OutcomeOf(e).r_traj, ElementsAre(0.2, 0.8));
}

}  // namespace
}  // namespace swerve
