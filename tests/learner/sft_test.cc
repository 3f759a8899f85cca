#include "learner/sft.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "base/files.h"
#include "base/status_matchers.h"
#include "tests/learner/tiny_model.h"

namespace swerve {
namespace {

namespace fs = std::filesystem;

class SftTest : public testing::Test {
 protected:
  void SetUp() override {
    dir_ = testing::TempDir() + "/sft-" + testing::UnitTest::GetInstance()->current_test_info()->name();
    fs::remove_all(dir_);
    ASSERT_OK(testing_learner::MakeTinyModel(dir_ + "/base", 1));
  }
  SftTrainOptions Options(const std::string& out, uint64_t steps) {
    SftTrainOptions o;
    o.model_dir = dir_ + "/base";
    o.out_dir = dir_ + "/" + out;
    o.steps = steps;
    o.batch = 4;
    o.micro_batch = 3;
    o.learning_rate = 0.02;
    return o;
  }
  static absl::StatusOr<SftExample> Example(uint64_t i) {
    if (i % 7 == 6) return absl::InvalidArgumentError("a scene that cannot be used");
    SftExample e;
    auto image = std::make_shared<Image>();
    image->height = image->width = testing_learner::kTinyImage;
    image->rgb.assign(16 * 16 * 3, static_cast<uint8_t>(i % 2 == 0 ? 250 : 5));
    e.image = image;
    e.prompt_text = "light?";
    e.target_text = i % 2 == 0 ? "white" : "black";
    return e;
  }
  std::string Weights(const std::string& out) { return *ReadFile(dir_ + "/" + out + "/model.safetensors"); }
  std::string dir_;
};

TEST_F(SftTest, LearnsAndCountsWhatItLeftOut) {
  SWERVE_ASSERT_OK_AND_ASSIGN(const SftResult r, TrainSft(Options("out", 60), Example));
  EXPECT_LT(r.last_loss, 0.5 * r.first_loss);
  EXPECT_EQ(r.left_out, 240u / 7);
  EXPECT_TRUE(fs::exists(dir_ + "/out/tokenizer.json"));
  EXPECT_FALSE(fs::exists(dir_ + "/out.checkpoints"));
}

TEST_F(SftTest, ResumedGivesTheSameBytesAsUninterrupted) {
  ASSERT_OK(TrainSft(Options("whole", 12), Example).status());
  SftTrainOptions o = Options("parts", 12);
  o.checkpoint_every = 5;
  const auto broken = TrainSft(o, [](uint64_t i) -> absl::StatusOr<SftExample> {
    if (i >= 4 * 7) return absl::DataLossError("disk pulled out");
    return Example(i);
  });
  EXPECT_THAT(broken, StatusIs(absl::StatusCode::kDataLoss, testing::_));
  o.resume = true;
  ASSERT_OK(TrainSft(o, Example).status());
  EXPECT_EQ(Weights("whole"), Weights("parts"));
}

TEST_F(SftTest, MicroBatchesChangeNothingThatMatters) {
  SftTrainOptions o = Options("one", 3);
  o.micro_batch = 4;
  SWERVE_ASSERT_OK_AND_ASSIGN(const SftResult whole, TrainSft(o, Example));
  o.micro_batch = 1;
  SWERVE_ASSERT_OK_AND_ASSIGN(const SftResult cut, TrainSft(o, Example));
  EXPECT_NEAR(whole.last_loss, cut.last_loss, 1e-4);
}

}  // namespace
}  // namespace swerve
