// The trainer on a random policy of a few thousand parameters.
#include "learner/trainer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "absl/strings/match.h"
#include "base/files.h"
#include "base/random.h"
#include "base/status_matchers.h"
#include "learner/gap_watch.h"
#include "tests/learner/tiny_model.h"

namespace swerve {
namespace {

namespace fs = std::filesystem;

class TrainerTest : public testing::Test {
 protected:
  void SetUp() override {
    dir_ = testing::TempDir() + "/trainer-" + testing::UnitTest::GetInstance()->current_test_info()->name();
    fs::remove_all(dir_);
    ASSERT_OK(testing_learner::MakeTinyModel(dir_ + "/model", 1));
    config_.mutable_policy()->set_model(dir_ + "/model");
    v1::LearnerConfig* c = config_.mutable_learner();
    c->set_steps(40);
    c->set_num_iterations(1);
    c->set_learning_rate(5e-3);
    c->set_warmup_ratio(0);
    c->set_micro_batch(3);
  }

  // Two groups of three originals that failed alike but one, and a refinement that did well.
  v1::Episode MakeEpisode(uint64_t group) {
    Random random(StreamSeed(group, HashName("episode")));
    v1::Episode e;
    e.set_group(group);
    e.set_scene_id("s");
    for (int id : {257, 117, 10, 259, 261, 261, 261, 261, 260, 100, 258}) e.add_prompt_ids(id);
    for (int i = 0; i < 3; ++i) {
      v1::Sample* s = e.add_samples();
      s->set_outcome(v1::OK);
      s->mutable_reward()->set_traj(i == 0 ? 0.3 : 0);
      Fill(random, s->mutable_response());
    }
    v1::Refinement* r = e.add_refinements();
    r->set_selected(true);
    r->mutable_reward()->set_traj(0.9);
    Fill(random, r->mutable_response());
    return e;
  }
  static void Fill(Random& random, v1::Response* r) {
    const int length = 3 + static_cast<int>(random.Below(5));
    for (int t = 0; t < length; ++t) {
      r->add_token_ids(static_cast<int>(random.Below(256)));
      r->add_logprobs(static_cast<float>(-std::log(262.0)));
    }
  }
  struct Input {
    Batch batch;
    ObjectivePlan plan;
  };
  Input Make(const std::vector<v1::Episode>& episodes) {
    const ObjectiveSettings objective = *ObjectiveOf(config_);
    const ImageSource images = [](const std::string&) {
      auto image = std::make_shared<Image>();
      image->height = image->width = testing_learner::kTinyImage;
      image->rgb.assign(16 * 16 * 3, 90);
      return std::shared_ptr<const Image>(image);
    };
    Batch batch = *MakeBatch(episodes, objective, images, 0);
    ObjectivePlan plan = *ObjectivePlan::Create(*objective.profile, objective.knobs, batch.objective, objective.T);
    return {std::move(batch), std::move(plan)};
  }
  std::string Weights(Trainer& trainer, const std::string& name) {
    EXPECT_OK(trainer.SavePolicy(dir_ + "/" + name));
    return *ReadFile(dir_ + "/" + name + "/model.safetensors");
  }
  std::string dir_;
  v1::RunConfig config_;
};

TEST_F(TrainerTest, MovesProbabilityTowardsTheRefinement) {
  const Input in = Make({MakeEpisode(0), MakeEpisode(1)});
  SWERVE_ASSERT_OK_AND_ASSIGN(auto trainer, CreateTrainer(config_));
  std::map<std::string, double> first, last;
  for (int step = 0; step < 40; ++step) {
    SWERVE_ASSERT_OK_AND_ASSIGN(last, trainer->Train(in.batch, in.plan));
    if (step == 0) first = last;
  }
  EXPECT_GT(last["off_policy_prob"], 10 * first["off_policy_prob"]);
  EXPECT_LT(last["train/loss"], first["train/loss"]);
  EXPECT_EQ(first["train/kl"], 0);  // the reference is the policy it started from
  EXPECT_GT(last["train/kl"], 0);
  EXPECT_EQ(last["train/off_policy_tokens"], in.batch.rows[3].response_ids.size() + in.batch.rows[7].response_ids.size());
}

// What an engine tells of its own tokens is compared where it had the weights that are here now.
TEST_F(TrainerTest, TheGapOfTheSameWeightsIsOfTheirRowsAlone) {
  v1::Episode e = MakeEpisode(0);
  SWERVE_ASSERT_OK_AND_ASSIGN(auto trainer, CreateTrainer(config_));
  const Input stale = Make({e});
  SWERVE_ASSERT_OK_AND_ASSIGN(auto without, trainer->Train(stale.batch, stale.plan));
  EXPECT_FALSE(without.contains(kSameWeightsGap));
  e.mutable_samples(0)->mutable_response()->add_weight_versions(0);
  e.mutable_samples(1)->mutable_response()->add_weight_versions(-1);
  for (float& logprob : *e.mutable_samples(1)->mutable_response()->mutable_logprobs()) logprob = -30;
  const Input fresh = Make({e});
  SWERVE_ASSERT_OK_AND_ASSIGN(auto anew, CreateTrainer(config_));
  SWERVE_ASSERT_OK_AND_ASSIGN(auto with, anew->Train(fresh.batch, fresh.plan));
  EXPECT_GT(with.at("sampling/sampling_logp_difference/mean"), 5);
  EXPECT_LT(with.at(kSameWeightsGap), 3);
}

TEST_F(TrainerTest, MicroBatchesGiveTheSameGradient) {
  const Input in = Make({MakeEpisode(0), MakeEpisode(1)});
  SWERVE_ASSERT_OK_AND_ASSIGN(auto cut, CreateTrainer(config_));
  config_.mutable_learner()->set_micro_batch(100);
  SWERVE_ASSERT_OK_AND_ASSIGN(auto whole, CreateTrainer(config_));
  SWERVE_ASSERT_OK_AND_ASSIGN(auto a, cut->Train(in.batch, in.plan));
  SWERVE_ASSERT_OK_AND_ASSIGN(auto b, whole->Train(in.batch, in.plan));
  EXPECT_NEAR(a["train/loss"], b["train/loss"], 1e-6);
  EXPECT_NEAR(a["train/grad_norm"], b["train/grad_norm"], 1e-4 * b["train/grad_norm"]);
}

TEST_F(TrainerTest, NothingToLearnFromMakesNoStep) {
  v1::Episode e = MakeEpisode(0);
  for (v1::Sample& s : *e.mutable_samples()) s.mutable_reward()->set_traj(0);
  e.clear_refinements();
  const Input in = Make({e});
  ASSERT_TRUE(in.plan.empty());
  SWERVE_ASSERT_OK_AND_ASSIGN(auto trainer, CreateTrainer(config_));
  const std::string before = Weights(*trainer, "before");
  ASSERT_OK(trainer->Train(in.batch, in.plan).status());
  EXPECT_EQ(before, Weights(*trainer, "after"));
}

// A run that a clock ends cannot know its number of steps; its schedule has to end with it all the same.
TEST_F(TrainerTest, TheScheduleFollowsTheClockWhereThatIsFurtherOn) {
  config_.mutable_learner()->set_steps(100000);
  config_.mutable_learner()->set_lr_scheduler("linear");
  Input in = Make({MakeEpisode(0)});
  SWERVE_ASSERT_OK_AND_ASSIGN(auto trainer, CreateTrainer(config_));
  SWERVE_ASSERT_OK_AND_ASSIGN(auto by_steps, trainer->Train(in.batch, in.plan));
  EXPECT_EQ(by_steps["train/learning_rate"], 5e-3);
  in.batch.clock_share = 0.75;
  SWERVE_ASSERT_OK_AND_ASSIGN(auto by_clock, trainer->Train(in.batch, in.plan));
  EXPECT_NEAR(by_clock["train/learning_rate"], 0.25 * 5e-3, 1e-9);
}

TEST_F(TrainerTest, ResumedGivesTheSameBytesAsUninterrupted) {
  config_.mutable_learner()->set_num_iterations(2);
  const Input one = Make({MakeEpisode(0), MakeEpisode(1)}), two = Make({MakeEpisode(2), MakeEpisode(3)});
  SWERVE_ASSERT_OK_AND_ASSIGN(auto whole, CreateTrainer(config_));
  ASSERT_OK(whole->Train(one.batch, one.plan).status());
  ASSERT_OK(MakeDirectories(dir_ + "/state"));
  ASSERT_OK(whole->SaveState(dir_ + "/state"));
  ASSERT_OK(whole->Train(two.batch, two.plan).status());
  SWERVE_ASSERT_OK_AND_ASSIGN(auto resumed, CreateTrainer(config_));
  ASSERT_OK(resumed->LoadState(dir_ + "/state"));
  fs::remove_all(dir_ + "/state");  // pruned meanwhile: the policy must not need it
  ASSERT_OK(resumed->Train(two.batch, two.plan).status());
  EXPECT_EQ(Weights(*whole, "whole"), Weights(*resumed, "resumed"));
}

TEST_F(TrainerTest, AdaptersAloneAreTrainedAndTheBaseIsTheReference) {
  config_.mutable_learner()->set_lora_rank(2);
  config_.mutable_learner()->set_learning_rate(2e-2);
  config_.mutable_learner()->add_lora_target_modules("v_proj");
  config_.mutable_learner()->add_lora_target_modules("down_proj");
  const Input in = Make({MakeEpisode(0), MakeEpisode(1)});
  for (const char* dtype : {"float32", "bfloat16"}) {
    config_.mutable_policy()->set_dtype(dtype);
    SWERVE_ASSERT_OK_AND_ASSIGN(auto trainer, CreateTrainer(config_));
    std::map<std::string, double> first, last;
    for (int step = 0; step < 40; ++step) {
      SWERVE_ASSERT_OK_AND_ASSIGN(last, trainer->Train(in.batch, in.plan));
      if (step == 0) first = last;
    }
    EXPECT_LT(last["train/loss"], 0.9 * first["train/loss"]) << dtype;
    EXPECT_EQ(first["train/kl"], 0) << dtype;
    EXPECT_GT(last["train/kl"], 0) << dtype;
    // What the engine gets: the base with the adapters merged into their modules and nowhere else; the adapters beside it.
    const std::string out = dir_ + "/merged-" + dtype;
    ASSERT_OK(trainer->SavePolicy(out));
    EXPECT_TRUE(fs::exists(out + "/adapter/adapter_config.json"));
    SWERVE_ASSERT_OK_AND_ASSIGN(const ModelConfig model, LoadModelConfig(out));
    SWERVE_ASSERT_OK_AND_ASSIGN(const TensorMap before, LoadTensors(dir_ + "/model", model));
    SWERVE_ASSERT_OK_AND_ASSIGN(const TensorMap after, LoadTensors(out, model));
    for (const auto& [name, t] : before) {
      double change = 0;
      for (size_t i = 0; i < t.data.size(); ++i) change = std::max<double>(change, std::abs(after.at(name).data[i] - t.data[i]));
      const bool adapted = absl::StrContains(name, "v_proj.weight") || absl::StrContains(name, "down_proj.weight");
      EXPECT_EQ(change > 0.01, adapted && absl::StrContains(name, "language_model")) << dtype << name;
    }
  }
}

// Mixed precision: products in bfloat16, weights and moments in float32, so that small steps add up.
TEST_F(TrainerTest, ProductsInBfloat16TrainFloat32Weights) {
  const Input in = Make({MakeEpisode(0), MakeEpisode(1)});
  std::map<std::string, double> loss;
  for (const char* dtype : {"float32", "bfloat16"}) {
    config_.mutable_policy()->set_dtype(dtype);
    SWERVE_ASSERT_OK_AND_ASSIGN(auto trainer, CreateTrainer(config_));
    std::map<std::string, double> last;
    for (int step = 0; step < 10; ++step) {
      SWERVE_ASSERT_OK_AND_ASSIGN(last, trainer->Train(in.batch, in.plan));
      if (step == 0) {
        EXPECT_EQ(last.at("train/kl"), 0) << dtype << ": the reference computes as the policy does";
      }
    }
    loss[dtype] = last["train/loss"];
    ASSERT_OK(trainer->SavePolicy(dir_ + "/mixed-" + dtype));
  }
  EXPECT_NEAR(loss["bfloat16"], loss["float32"], 0.05 * std::abs(loss["float32"]));
  SWERVE_ASSERT_OK_AND_ASSIGN(const ModelConfig model, LoadModelConfig(dir_ + "/mixed-bfloat16"));
  SWERVE_ASSERT_OK_AND_ASSIGN(const MappedTensors saved, MapTensors(dir_ + "/mixed-bfloat16", model));
  for (const auto& [name, view] : saved.tensors) EXPECT_EQ(view.dtype, DType::kF32) << name;
}

TEST_F(TrainerTest, AdaptersResumeToTheSameBytes) {
  config_.mutable_learner()->set_lora_rank(2);
  const Input one = Make({MakeEpisode(0)}), two = Make({MakeEpisode(1)});
  SWERVE_ASSERT_OK_AND_ASSIGN(auto whole, CreateTrainer(config_));
  ASSERT_OK(whole->Train(one.batch, one.plan).status());
  ASSERT_OK(MakeDirectories(dir_ + "/state"));
  ASSERT_OK(whole->SaveState(dir_ + "/state"));
  EXPECT_FALSE(fs::exists(dir_ + "/state/policy/model.safetensors"));  // adapters alone
  ASSERT_OK(whole->Train(two.batch, two.plan).status());
  SWERVE_ASSERT_OK_AND_ASSIGN(auto resumed, CreateTrainer(config_));
  ASSERT_OK(resumed->LoadState(dir_ + "/state"));
  ASSERT_OK(resumed->Train(two.batch, two.plan).status());
  EXPECT_EQ(Weights(*whole, "whole"), Weights(*resumed, "resumed"));
}

TEST_F(TrainerTest, SettingsThatCannotBeTrainedAreRefused) {
  config_.mutable_policy()->set_dtype("float16");
  EXPECT_THAT(CreateTrainer(config_).status(), StatusIs(absl::StatusCode::kInvalidArgument, testing::HasSubstr("policy.dtype")));
  config_.mutable_policy()->set_dtype("float32");
  config_.mutable_learner()->set_lora_rank(-1);
  EXPECT_THAT(CreateTrainer(config_).status(), StatusIs(absl::StatusCode::kInvalidArgument, testing::HasSubstr("lora_rank")));
  config_.mutable_learner()->set_lora_rank(1);
  config_.mutable_learner()->add_lora_target_modules("lm_head");
  EXPECT_THAT(CreateTrainer(config_).status(), StatusIs(absl::StatusCode::kInvalidArgument, testing::HasSubstr("'lm_head'")));
}

}  // namespace
}  // namespace swerve
