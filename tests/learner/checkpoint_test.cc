#include "learner/checkpoint.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <set>

#include "base/files.h"
#include "base/status_matchers.h"

namespace swerve {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::_;

class CheckpointTest : public testing::Test {
 protected:
  void SetUp() override {
    dir_ = testing::TempDir() + "/checkpoints-" + testing::UnitTest::GetInstance()->current_test_info()->name();
    fs::remove_all(dir_);
  }
  absl::Status Save(uint64_t step, const std::string& content, int keep = 3) {
    return CheckpointStore(dir_, keep).Save(step, {{"version", step * 10}}, [&](const std::string& dir) {
      return MakeDirectories(dir + "/policy").ok() ? WriteFileAtomically(dir + "/policy/weights", content)
                                                   : absl::InternalError("mkdir");
    });
  }
  std::string dir_;
};

TEST_F(CheckpointTest, NewestComesBackWithItsState) {
  EXPECT_THAT(CheckpointStore(dir_, 3).Newest(), StatusIs(absl::StatusCode::kNotFound, _));
  ASSERT_OK(Save(1, "one"));
  ASSERT_OK(Save(12, "twelve"));
  SWERVE_ASSERT_OK_AND_ASSIGN(const Checkpoint c, CheckpointStore(dir_, 3).Newest());
  EXPECT_EQ(c.step, 12u);
  EXPECT_EQ(c.state["version"], 120);
  EXPECT_EQ(*ReadFile(c.dir + "/policy/weights"), "twelve");
}

TEST_F(CheckpointTest, HalfWrittenOnesArePassedOver) {
  ASSERT_OK(Save(1, "one"));
  ASSERT_OK(Save(2, "two, which is longer"));
  ASSERT_OK(Save(3, "three"));
  ASSERT_OK(Save(4, "four"));
  fs::resize_file(dir_ + "/step-00000004/policy/weights", 2);    // cut short
  fs::remove(dir_ + "/step-00000003/state.json");                // killed before the end
  fs::create_directories(dir_ + "/writing-00000009/policy");     // killed in the middle
  fs::create_directories(dir_ + "/step-00000010");
  SWERVE_ASSERT_OK_AND_ASSIGN(const Checkpoint c, CheckpointStore(dir_, 3).Newest());
  EXPECT_EQ(c.step, 2u);
}

TEST_F(CheckpointTest, KeepsTheNewestAndReplacesTheSameStep) {
  for (uint64_t step = 1; step <= 5; ++step) ASSERT_OK(Save(step, "x", 2));
  EXPECT_FALSE(fs::exists(dir_ + "/step-00000003"));
  EXPECT_TRUE(fs::exists(dir_ + "/step-00000004"));
  ASSERT_OK(Save(5, "again", 2));
  EXPECT_EQ(*ReadFile(dir_ + "/step-00000005/policy/weights"), "again");
}

// A writer that was killed while it removed an old checkpoint must not leave half of it under a checkpoint's name, which
// the audit of `swerve chaos` would call half-written, and what it had begun to write must not stay for ever.
TEST_F(CheckpointTest, WhatAKilledWriterLeftIsRemoved) {
  ASSERT_OK(Save(1, "one"));
  for (const char* left : {"/writing-00000002/policy", "/removing-00000000/policy", "/writing-00000003-old/policy"}) {
    fs::create_directories(dir_ + left);
  }
  ASSERT_OK(Save(2, "two"));
  std::set<std::string> names;
  for (const auto& entry : fs::directory_iterator(dir_)) names.insert(entry.path().filename());
  EXPECT_EQ(names, (std::set<std::string>{"step-00000001", "step-00000002"}));
}

TEST_F(CheckpointTest, AFailedWriteLeavesNothing) {
  ASSERT_OK(Save(1, "one"));
  const absl::Status failed = CheckpointStore(dir_, 3).Save(
      2, json::object(), [](const std::string&) { return absl::ResourceExhaustedError("disk full"); });
  EXPECT_THAT(failed, StatusIs(absl::StatusCode::kResourceExhausted, _));
  EXPECT_EQ(CheckpointStore(dir_, 3).Newest()->step, 1u);
}

}  // namespace
}  // namespace swerve
