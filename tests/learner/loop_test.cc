// The loop's promises: every group is trained on exactly once whatever is killed where, weights are announced only when
// they can be found again, and a resumed run ends where an uninterrupted one does.
#include "learner/loop.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "base/files.h"
#include "base/metrics.h"
#include "base/status_matchers.h"
#include "tests/testing/fake_buffers.h"
#include "tests/testing/make_episode.h"

namespace swerve {
namespace {

namespace fs = std::filesystem;
using testing::_;
using testing::ElementsAre;

// Its weights are the list of groups it was trained on.
class FakeTrainer : public Trainer {
 public:
  absl::StatusOr<std::map<std::string, double>> Train(const Batch& batch, const ObjectivePlan& plan) override {
    for (const BatchGroup& g : batch.groups) weights_ += absl::StrCat(g.group, " ");
    std::map<std::string, double> values = {{"train/loss", 1.0}};
    if (const size_t step = std::count(weights_.begin(), weights_.end(), ' ') / 2; step > 0 && step <= gaps.size()) values[kSameWeightsGap] = gaps[step - 1];
    return values;
  }
  absl::Status SavePolicy(const std::string& dir) override {
    SWERVE_RETURN_IF_ERROR(MakeDirectories(dir));
    return WriteFileAtomically(dir + "/model.safetensors", weights_);
  }
  absl::Status SaveState(const std::string& dir) override { return WriteFileAtomically(dir + "/weights", weights_); }
  absl::Status LoadState(const std::string& dir) override {
    SWERVE_ASSIGN_OR_RETURN(weights_, ReadFile(dir + "/weights"));
    return absl::OkStatus();
  }
  std::string weights_;
  std::vector<double> gaps;  // of the batches of two
};

class FakeLine : public OrchestratorLine {
 public:
  absl::Status Announce(const v1::PolicyManifest& policy) override {
    if (fail_announce_at == policy.step()) {
      fail_announce_at = ~0ull;
      return absl::InternalError("killed");
    }
    announced.push_back(policy);
    return absl::OkStatus();
  }
  absl::StatusOr<bool> Report(const std::map<std::string, double>&, uint64_t step, bool done, const std::string& trouble) override {
    finished = finished || done;
    troubles[step] = trouble;
    return drain;
  }
  absl::StatusOr<v1::PolicyManifest> Newest() override {
    return announced.empty() ? v1::PolicyManifest() : announced.back();
  }
  std::vector<v1::PolicyManifest> announced;
  uint64_t fail_announce_at = ~0ull;
  bool finished = false, drain = false;
  std::map<uint64_t, std::string> troubles;  // by step
};

v1::Sample MakeSample(double traj, int tokens) {
  v1::Sample s;
  s.set_outcome(v1::OK);
  s.mutable_reward()->set_traj(traj);
  for (int t = 0; t < tokens; ++t) {
    s.mutable_response()->add_token_ids(t);
    s.mutable_response()->add_logprobs(-0.5f);
  }
  return s;
}

v1::Episode Usable(uint64_t group) {
  v1::Episode e = MakeEpisode(group);
  *e.mutable_samples(0) = MakeSample(0.5, 3);
  return e;
}

class LoopTest : public testing::Test {
 protected:
  void SetUp() override {
    root_ = testing::TempDir() + "/loop-" + testing::UnitTest::GetInstance()->current_test_info()->name();
    fs::remove_all(root_);
    config_.mutable_learner()->set_steps(3);
    config_.mutable_learner()->set_batch_groups(2);
  }
  void Store(std::initializer_list<uint64_t> groups) {
    for (uint64_t g : groups) ASSERT_OK(store_.Append(Usable(g)));
  }
  // A process: fresh trainer, fresh loop, the same disk, store and orchestrator.
  absl::Status RunOnce() {
    LearnerLoop::Options options;
    options.config = config_;
    options.run = RunDir(root_);
    options.trainer = &(trainer_ = FakeTrainer());
    trainer_.gaps = gaps_;
    options.episodes = &store_;
    options.orchestrator = &line_;
    options.images = [](const std::string&) { return std::shared_ptr<const Image>(); };
    options.check = check_;
    options.stop_within = stop_within_;
    SWERVE_RETURN_IF_ERROR(options.run.Create());
    LearnerLoop loop(options);
    return loop.Run();
  }
  std::vector<int64_t> Versions() const {
    std::vector<int64_t> out;
    for (const auto& p : line_.announced) out.push_back(p.version());
    return out;
  }
  std::string root_;
  v1::RunConfig config_;
  FakeBuffers store_;
  FakeTrainer trainer_;
  std::vector<double> gaps_;
  FakeLine line_;
  RowCheck check_;
  std::function<bool(absl::Duration)> stop_within_ = [](absl::Duration) { return true; };
};

TEST_F(LoopTest, AnEngineWithOtherWeightsThanItSaysIsATroubleTillItHasThem) {
  gaps_ = {6e-7, 0.015, 7e-7};
  Store({0, 1, 2, 3});
  config_.mutable_learner()->set_steps(2);
  ASSERT_OK(RunOnce());
  EXPECT_EQ(line_.troubles[1], "");
  EXPECT_THAT(line_.troubles[2], testing::HasSubstr("differ from the learner's by 0.015 a token"));
  Store({4, 5});
  config_.mutable_learner()->set_steps(3);
  ASSERT_OK(RunOnce());
  EXPECT_EQ(line_.troubles[3], "");
}

TEST_F(LoopTest, WhatAnEarlierLearnerSawOfTheGapIsKept) {
  gaps_ = {6e-7, 0.015};
  Store({0, 1});
  config_.mutable_learner()->set_steps(1);
  ASSERT_OK(RunOnce());
  Store({2, 3});
  config_.mutable_learner()->set_steps(2);
  ASSERT_OK(RunOnce());
  EXPECT_NE(line_.troubles[2], "");
}

TEST_F(LoopTest, WhatATeacherIsWorthIsInTheLogAndAMetricOfItsOwn) {
  config_.mutable_learner()->set_steps(1);
  for (uint64_t group : {0, 1}) {
    v1::Episode e = Usable(group);
    e.mutable_samples(0)->set_feedback_outcome(v1::OK);
    e.mutable_samples(0)->mutable_feedback()->set_teacher("loop-test");
    v1::Refinement* r = e.add_refinements();
    r->mutable_reward()->set_traj(group == 0 ? 0.9 : 0.5);  // the original has 0.5
    ASSERT_OK(store_.Append(e));
  }
  ASSERT_OK(RunOnce());
  SWERVE_ASSERT_OK_AND_ASSIGN(const auto rows, ReadMetrics(root_));
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_DOUBLE_EQ(rows[0].values.at("teacher/loop-test/pdms_gain"), 0.2);
  const metrics::Labels labels = {{"teacher", "loop-test"}};
  EXPECT_DOUBLE_EQ(metrics::Gauge("swerve_learner_teacher_refinement_success_rate",
                                  "By teacher, of the newest step that it had a part in: refinement_success_rate", labels)
                       .Value(),
                   0.5);
  EXPECT_DOUBLE_EQ(metrics::Counter("swerve_learner_teacher_refinement_successes_total",
                                    "Of these, refinements that reach the success threshold", labels)
                       .Value(),
                   1);
  SWERVE_ASSERT_OK_AND_ASSIGN(const auto groups, ReadGroups(root_));
  EXPECT_EQ(groups[0].teachers.at("loop-test").successes, 1);
}

// Whenever the learner dies, a change of the teachers is in the log once, with the step after it.
TEST_F(LoopTest, TellsEveryChangeOfTheTeachersOnce) {
  const auto change = [&](int set, bool append) {
    std::string text = append ? *ReadFile(root_ + "/teacher_changes.jsonl") : "";
    absl::StrAppend(&text, "{\"set\":", set, ",\"cause\":\"file\",\"teachers\":[{\"name\":\"rule\",\"share\":1}]}\n");
    return WriteFileAtomically(root_ + "/teacher_changes.jsonl", text);
  };
  ASSERT_OK(MakeDirectories(root_));
  ASSERT_OK(change(2, false));
  config_.mutable_learner()->set_steps(2);
  Store({0, 1, 2, 3});
  line_.fail_announce_at = 1;  // dies with a checkpoint of step 1 and no line of it
  EXPECT_FALSE(RunOnce().ok());
  ASSERT_OK(change(3, true));
  ASSERT_OK(RunOnce());
  SWERVE_ASSERT_OK_AND_ASSIGN(auto rows, ReadMetrics(root_));
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_THAT(rows[0].events, ElementsAre("teachers: set 2 (file): rule 100 %"));
  EXPECT_THAT(rows[1].events, ElementsAre("teachers: set 3 (file): rule 100 %"));
  // One that was made after the last step belongs to the next.
  ASSERT_OK(change(4, true));
  config_.mutable_learner()->set_steps(3);
  Store({4, 5});
  ASSERT_OK(RunOnce());
  SWERVE_ASSERT_OK_AND_ASSIGN(rows, ReadMetrics(root_));
  ASSERT_EQ(rows.size(), 3u);
  EXPECT_THAT(rows[1].events, ElementsAre("teachers: set 3 (file): rule 100 %"));
  EXPECT_THAT(rows[2].events, ElementsAre("teachers: set 4 (file): rule 100 %"));
}

// Checkpoints are rarer than steps: what a killed learner told after its last checkpoint is told again, once.
TEST_F(LoopTest, AChangeToldAfterTheCheckpointIsToldAgainWithTheStepsThatAreDoneAgain) {
  config_.mutable_learner()->set_steps(3);
  config_.mutable_learner()->set_checkpoint_every(3);
  Store({0, 1, 2, 3, 4, 5});
  ASSERT_OK(MakeDirectories(root_));
  ASSERT_OK(WriteFileAtomically(root_ + "/teacher_changes.jsonl",
                                "{\"set\":2,\"cause\":\"file\",\"teachers\":[{\"name\":\"rule\",\"share\":1}]}\n"));
  line_.fail_announce_at = 2;  // after step 1 was logged, without a checkpoint
  EXPECT_FALSE(RunOnce().ok());
  ASSERT_OK(RunOnce());
  SWERVE_ASSERT_OK_AND_ASSIGN(const auto rows, ReadMetrics(root_));
  size_t told = 0;
  for (const MetricsRow& row : rows) told += row.events.size();
  EXPECT_EQ(told, 1u);
}

TEST_F(LoopTest, TrainsPublishesAcknowledgesAndReportsTheEnd) {
  Store({0, 1, 2, 3, 4, 5, 6});
  ASSERT_OK(RunOnce());
  EXPECT_EQ(trainer_.weights_, "0 1 2 3 4 5 ");
  EXPECT_THAT(Versions(), ElementsAre(1, 2, 3));
  EXPECT_TRUE(line_.finished);
  EXPECT_EQ(store_.Stats()->waiting(), 1u);
  EXPECT_EQ(*ReadFile(line_.announced.back().directory() + "/model.safetensors"), "0 1 2 3 4 5 ");
  EXPECT_EQ(line_.announced.back().checksum().size(), 64u);
  SWERVE_ASSERT_OK_AND_ASSIGN(const auto rows, ReadMetrics(root_));
  ASSERT_EQ(rows.size(), 3u);
  EXPECT_EQ(rows[2].values.at("groups/consumed"), 6);
}

TEST_F(LoopTest, KilledAfterTheCheckpointBeforeTheAnnouncement) {
  Store({0, 1, 2, 3, 4, 5});
  line_.fail_announce_at = 2;
  EXPECT_THAT(RunOnce(), StatusIs(absl::StatusCode::kInternal, _));
  EXPECT_EQ(store_.Stats()->acknowledged, 2u);  // the second batch is in the checkpoint, not acknowledged yet
  ASSERT_OK(RunOnce());
  EXPECT_EQ(trainer_.weights_, "0 1 2 3 4 5 ");
  EXPECT_THAT(Versions(), ElementsAre(1, 2, 3));
  EXPECT_EQ(store_.Stats()->waiting(), 0u);
}

// What the audit of `swerve chaos` asks for: the step's row and the groups' lines must not be lost with the learner.
TEST_F(LoopTest, KilledAfterTheCheckpointTheStepAndItsGroupsAreStillLogged) {
  Store({0, 1, 2, 3, 4, 5});
  line_.fail_announce_at = 2;
  EXPECT_THAT(RunOnce(), StatusIs(absl::StatusCode::kInternal, _));
  EXPECT_EQ(ReadMetrics(root_)->size(), 1u);
  ASSERT_OK(RunOnce());
  SWERVE_ASSERT_OK_AND_ASSIGN(const auto rows, ReadMetrics(root_));
  ASSERT_EQ(rows.size(), 3u);
  for (int step = 1; step <= 3; ++step) {
    EXPECT_EQ(rows[step - 1].step, step);
    EXPECT_EQ(rows[step - 1].values.at("groups/consumed"), 2 * step);
    EXPECT_EQ(rows[step - 1].values.count("groups/dropped_no_spread"), 1u);
  }
  SWERVE_ASSERT_OK_AND_ASSIGN(const auto groups, ReadGroups(root_));
  EXPECT_EQ(groups.size(), 6u);
}

// Found by `swerve chaos`: on a full disk each death of the learner left half of the weights behind.
TEST_F(LoopTest, WeightsThatADeadLearnerBeganAreRemoved) {
  const std::string left = RunDir(root_).weights(2) + ".tmp.77";
  fs::create_directories(left);
  ASSERT_OK(RunOnce());  // stops at once: it makes room before it needs any
  EXPECT_FALSE(fs::exists(left));
}

TEST_F(LoopTest, KilledBetweenCheckpointsVersionsStillGrow) {
  Store({0, 1, 2, 3, 4, 5});
  config_.mutable_learner()->set_checkpoint_every(2);
  line_.fail_announce_at = 1;
  EXPECT_THAT(RunOnce(), StatusIs(absl::StatusCode::kInternal, _));
  v1::PolicyManifest other;  // what a version announced without a checkpoint looks like
  other.set_version(1);
  other.set_checksum("of bytes that are gone");
  line_.announced.push_back(other);
  ASSERT_OK(RunOnce());
  EXPECT_EQ(trainer_.weights_, "0 1 2 3 4 5 ");
  EXPECT_THAT(Versions(), ElementsAre(1, 2, 3, 4, 5));  // 2: the restored weights under a new number
}

TEST_F(LoopTest, StopLeavesACheckpointAndTheNextProcessGoesOn) {
  config_.mutable_learner()->set_checkpoint_every(100);
  Store({0, 1, 2});
  ASSERT_OK(RunOnce());  // one batch, then no data: the stop is seen
  EXPECT_FALSE(line_.finished);
  EXPECT_EQ(store_.Stats()->acknowledged, 2u);
  Store({3, 4, 5});
  ASSERT_OK(RunOnce());
  EXPECT_EQ(trainer_.weights_, "0 1 2 3 4 5 ");
  EXPECT_TRUE(line_.finished);
}

TEST_F(LoopTest, DeterministicBatchesWaitForTheirGroups) {
  config_.set_deterministic(true);
  Store({0, 2, 3, 4});
  bool late = false;
  stop_within_ = [&](absl::Duration) {
    if (late) return true;
    late = true;
    Store({1, 5});
    return false;
  };
  ASSERT_OK(RunOnce());
  EXPECT_EQ(trainer_.weights_, "0 1 2 3 4 5 ");
}

TEST_F(LoopTest, DrainingEndsInOrder) {
  line_.drain = true;
  stop_within_ = [](absl::Duration) { return false; };
  Store({0, 1});
  ASSERT_OK(RunOnce());
  EXPECT_EQ(trainer_.weights_, "0 1 ");
  EXPECT_FALSE(line_.finished);
}

TEST_F(LoopTest, FinishedRunReportsAgainAndTrainsNoMore) {
  Store({0, 1, 2, 3, 4, 5, 6, 7});
  ASSERT_OK(RunOnce());
  line_.finished = false;
  ASSERT_OK(RunOnce());
  EXPECT_TRUE(line_.finished);
  EXPECT_EQ(trainer_.weights_, "0 1 2 3 4 5 ");
}

// What may be wrong with an episode, by the reason it is counted under.
std::map<std::string, std::function<void(v1::Episode*)>> Damages() {
  return {{"no_samples", [](v1::Episode* e) { e->clear_samples(); }},
          {"no_prompt", [](v1::Episode* e) { e->clear_prompt_ids(); }},
          {"no_usable_sample", [](v1::Episode* e) { e->mutable_samples(0)->mutable_response()->clear_token_ids(); }},
          {"no_scene", [](v1::Episode* e) { e->set_scene_id("gone"); }},
          {"not_finite", [](v1::Episode* e) { e->mutable_samples(0)->mutable_response()->set_logprobs(1, NAN); }},
          {"too_long", [](v1::Episode* e) { e->mutable_prompt_ids()->Resize(30, 1); }},
          {"unknown_token", [](v1::Episode* e) { e->mutable_samples(0)->mutable_response()->set_token_ids(1, 100); }},
          {"image_mismatch", [](v1::Episode* e) { e->add_prompt_ids(99); }}};
}

RowCheck SmallModel() {
  ModelConfig model;
  model.text.vocab = 100;
  model.text.max_positions = 20;
  model.has_vision = true;
  model.image_token_id = 99;
  model.processor.tokens_per_tile = 4;
  return ChecksOf(model);
}

absl::StatusOr<std::shared_ptr<const Image>> NoImageBut(const std::string& scene) {
  if (scene == "gone") return absl::NotFoundError("no scene gone");
  return std::shared_ptr<const Image>();
}

TEST(MakeBatchTest, DamagedEpisodesAreLeftOutAndCountedByReason) {
  SWERVE_ASSERT_OK_AND_ASSIGN(const ObjectiveSettings objective, ObjectiveOf(v1::RunConfig()));
  for (const std::string& reason : DropReasons()) {
    v1::Episode good = Usable(0), bad = Usable(1);
    Damages().at(reason)(&bad);
    SWERVE_ASSERT_OK_AND_ASSIGN(const Batch batch, MakeBatch({bad, good, bad}, objective, NoImageBut, 0, SmallModel()));
    ASSERT_EQ(batch.groups.size(), 1u) << reason;
    EXPECT_EQ(batch.groups[0].group, 0u);
    EXPECT_EQ(batch.objective[0].group, 0);
    EXPECT_EQ(batch.metrics.at("train/dropped_by_reason/" + reason), 2) << reason;
    EXPECT_EQ(batch.metrics.at("train/episodes_dropped"), 2);
    ASSERT_OK(ObjectivePlan::Create(*objective.profile, objective.knobs, batch.objective, objective.T).status());
    SWERVE_ASSERT_OK_AND_ASSIGN(const Batch none, MakeBatch({bad}, objective, NoImageBut, 0, SmallModel()));
    SWERVE_ASSERT_OK_AND_ASSIGN(const ObjectivePlan plan,
                                ObjectivePlan::Create(*objective.profile, objective.knobs, none.objective, objective.T));
    EXPECT_TRUE(plan.empty());
  }
}

TEST_F(LoopTest, EpisodesThatDoNotFitThePolicyAreConsumedWithoutTraining) {
  check_ = SmallModel();
  for (uint64_t g = 0; g < 6; ++g) {
    v1::Episode e = Usable(g);
    if (g == 1 || g == 2 || g == 3) Damages().at("unknown_token")(&e);
    ASSERT_OK(store_.Append(e));
  }
  ASSERT_OK(RunOnce());
  EXPECT_EQ(trainer_.weights_, "0 4 5 ");
  EXPECT_TRUE(line_.finished);
  EXPECT_EQ(store_.Stats()->waiting(), 0u);
  SWERVE_ASSERT_OK_AND_ASSIGN(const auto rows, ReadMetrics(root_));
  ASSERT_EQ(rows.size(), 3u);
  EXPECT_EQ(rows[1].values.at("train/dropped_by_reason/unknown_token"), 2);
  EXPECT_EQ(rows[2].values.at("groups/consumed"), 6);
}

void AddTerm(v1::Reward* reward, const std::string& name, double value) {
  v1::RewardTerm* term = reward->add_terms();
  term->set_name(name);
  term->set_value(value);
}

TEST(MakeBatchTest, RowsOfTheLearnersOwnWeightsAreTold) {
  SWERVE_ASSERT_OK_AND_ASSIGN(const ObjectiveSettings objective, ObjectiveOf(v1::RunConfig()));
  v1::Episode e = MakeEpisode(3);
  e.clear_samples();
  for (const std::vector<int64_t>& versions : std::vector<std::vector<int64_t>>{{5}, {4}, {5, 5}, {4, 5}, {}}) {
    v1::Sample* sample = e.add_samples();
    *sample = MakeSample(0.5, 2);
    sample->mutable_response()->mutable_weight_versions()->Assign(versions.begin(), versions.end());
  }
  SWERVE_ASSERT_OK_AND_ASSIGN(const Batch batch, MakeBatch({e}, objective, NoImageBut, 5));
  std::vector<bool> current;
  for (const BatchRow& row : batch.rows) current.push_back(row.current);
  EXPECT_THAT(current, ElementsAre(true, false, true, false, false));
}

TEST(MakeBatchTest, RowsMasksAndRefinements) {
  v1::RunConfig config;
  SWERVE_ASSERT_OK_AND_ASSIGN(ObjectiveSettings objective, ObjectiveOf(config));
  v1::Episode e = MakeEpisode(3);
  e.clear_samples();
  *e.add_samples() = MakeSample(0, 2);
  *e.add_samples() = MakeSample(0.4, 3);
  *e.add_samples() = MakeSample(0.2, 1);
  AddTerm(e.mutable_samples(0)->mutable_reward(), "recovery", 0.5);
  AddTerm(e.mutable_samples(0)->mutable_reward(), "reasoning", -0.125);
  AddTerm(e.mutable_samples(2)->mutable_reward(), "reasoning", -0.375);
  e.mutable_samples(1)->set_outcome(v1::TIMEOUT);               // scoring failed
  *e.add_samples() = MakeSample(0.9, 2);
  e.mutable_samples(3)->mutable_response()->add_token_ids(1);   // a token without log-probability
  for (bool selected : {false, true, true}) {
    v1::Refinement* r = e.add_refinements();
    r->set_selected(selected);
    r->mutable_reward()->set_traj(0.7);
    AddTerm(r->mutable_reward(), "recovery", 0.25);
    r->mutable_response()->add_token_ids(1);
  }
  const ImageSource none = [](const std::string&) { return std::shared_ptr<const Image>(); };
  e.mutable_samples(1)->clear_reward();
  SWERVE_ASSERT_OK_AND_ASSIGN(const Batch batch, MakeBatch({e}, objective, none, 5));
  ASSERT_EQ(batch.rows.size(), 5u);  // four originals, one refinement: k is 1
  std::vector<bool> masked;
  for (const ObjectiveRow& o : batch.objective) masked.push_back(o.masked);
  EXPECT_THAT(masked, ElementsAre(false, true, false, true, false));
  EXPECT_TRUE(batch.objective[4].off_policy);
  EXPECT_TRUE(batch.rows[4].old_lp.empty());
  EXPECT_EQ(batch.metrics.at("staleness"), 5);
  EXPECT_EQ(batch.objective[0].terms, 0.375);
  EXPECT_EQ(batch.objective[4].terms, 0.25);
  EXPECT_EQ(batch.metrics.at("rewards/recovery/mean"), 0.5);     // of the rows that have it
  EXPECT_EQ(batch.metrics.at("rewards/reasoning/mean"), -0.25);
  ASSERT_OK(ObjectivePlan::Create(*objective.profile, objective.knobs, batch.objective, objective.T).status());
  config.mutable_teacher()->set_kind("none");
  EXPECT_EQ(ObjectiveOf(config)->knobs.k, 0);
}

}  // namespace
}  // namespace swerve
