// Files and stores forged as a run leaves them: what is broken is found, what is whole passes.
#include "chaos/audit_files.h"

#include <gmock/gmock.h>
#include <unistd.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "absl/strings/str_format.h"
#include "base/files.h"
#include "base/sha256.h"
#include "base/status_matchers.h"
#include "chaos/event_log.h"
#include "policy/safetensors.h"
#include "tests/testing/make_episode.h"

namespace swerve {
namespace {

using testing::HasSubstr;

class AuditFilesTest : public testing::Test {
 protected:
  void SetUp() override {
    root_ = absl::StrCat(testing::TempDir(), "/audit", getpid(), "_", testing::UnitTest::GetInstance()->current_test_info()->name());
    std::filesystem::remove_all(root_);
    ASSERT_OK(run().Create());
  }
  void TearDown() override { std::filesystem::remove_all(root_); }
  RunDir run() const { return RunDir(root_); }

  std::string Dir(uint64_t step) const { return absl::StrFormat("%s/step-%08d", run().checkpoints(), step); }

  // As the learner writes it.
  void WriteCheckpoint(uint64_t step, uint64_t groups) {
    const std::string policy = Dir(step) + "/trainer/policy/model.safetensors";
    ASSERT_OK(MakeDirectories(Dir(step) + "/trainer/policy"));
    const std::vector<float> data(6, static_cast<float>(step));
    const NamedTensor tensor{"w", {2, 3}, data.data()};
    ASSERT_OK(WriteSafetensors(policy, {&tensor, 1}));
    const nlohmann::json state = {
        {"step", step},
        {"files", {{"trainer/policy/model.safetensors", std::filesystem::file_size(policy)}}},
        {"state", {{"version", step}, {"consumed", {{0, groups - 1}}}, {"unacknowledged", nlohmann::json::array()}}}};
    ASSERT_OK(WriteFileAtomically(Dir(step) + "/state.json", state.dump()));
  }

  std::string Wrong() const {
    std::string text;
    for (const FileCheck& check : CheckCheckpoints(run(), {}, "now")) text += check.wrong;
    return text;
  }

 private:
  std::string root_;
};

TEST_F(AuditFilesTest, WholeCheckpointIsReadAndPasses) {
  WriteCheckpoint(3, 6);
  EXPECT_EQ(Wrong(), "");
  EXPECT_EQ(CheckCheckpoints(run(), {}, "now").size(), 1u);
  SWERVE_ASSERT_OK_AND_ASSIGN(const CheckpointSeen seen, ReadCheckpoint(Dir(3)));
  EXPECT_EQ(seen.step, 3u);
  EXPECT_EQ(seen.version, 3);
  EXPECT_EQ(seen.consumed.size(), 6u);
}

TEST_F(AuditFilesTest, HalfWrittenCheckpointsAreFound) {
  WriteCheckpoint(3, 6);
  const std::string policy = Dir(3) + "/trainer/policy/model.safetensors";
  const uintmax_t size = std::filesystem::file_size(policy);
  std::filesystem::resize_file(policy, size - 4);
  EXPECT_THAT(Wrong(), HasSubstr("cut short"));
  // As long as it was, but the header is gone: sizes alone would not tell.
  ASSERT_OK(WriteFileAtomically(policy, std::string(size, '\0')));
  EXPECT_NE(Wrong(), "");
  std::filesystem::remove(policy);
  EXPECT_THAT(Wrong(), HasSubstr("is missing"));
  ASSERT_OK(WriteFileAtomically(Dir(3) + "/state.json", "{\"step\": 3, "));
  EXPECT_THAT(Wrong(), HasSubstr("cannot be read"));
  std::filesystem::remove(Dir(3) + "/state.json");
  EXPECT_NE(Wrong(), "");
}

TEST_F(AuditFilesTest, CheckpointOfOtherWeightsThanAnnounced) {
  WriteCheckpoint(3, 6);
  SWERVE_ASSERT_OK_AND_ASSIGN(const std::string sum, Sha256OfFile(Dir(3) + "/trainer/policy/model.safetensors"));
  EXPECT_EQ(CheckCheckpoints(run(), {{3, sum}}, "now")[0].wrong, "");
  EXPECT_THAT(CheckCheckpoints(run(), {{3, "another"}}, "now")[0].wrong, HasSubstr("checksum announced for version 3"));
}

TEST_F(AuditFilesTest, WeightsOfAnotherChecksum) {
  ASSERT_OK(MakeDirectories(run().weights(4)));
  ASSERT_OK(WriteFileAtomically(run().weights(4) + "/model.safetensors", "bytes"));
  v1::PolicyManifest newest;
  newest.set_version(4);
  newest.set_directory(run().weights(4));
  newest.set_checksum(Sha256("bytes"));
  for (const FileCheck& check : CheckWeights(run(), {{3, "gone"}, {4, newest.checksum()}}, newest, "now")) EXPECT_EQ(check.wrong, "");
  const auto wrong = CheckWeights(run(), {{4, "announced"}}, newest, "now");
  EXPECT_THAT(wrong[0].wrong, HasSubstr("not the checksum"));
  newest.set_directory(run().weights(5));
  EXPECT_NE(CheckWeights(run(), {}, newest, "now").back().wrong, "");
}

// From files and store to the verdict.
TEST_F(AuditFilesTest, LoadsARunAndProvesIt) {
  WriteCheckpoint(1, 2);
  v1::LedgerState ledger;
  ledger.set_next_group(3);
  ledger.set_finished(true);
  ledger.mutable_policy()->set_version(1);
  ledger.mutable_policy()->set_directory(Dir(1) + "/trainer/policy");
  SWERVE_ASSERT_OK_AND_ASSIGN(*ledger.mutable_policy()->mutable_checksum(),
                              Sha256OfFile(Dir(1) + "/trainer/policy/model.safetensors"));
  ASSERT_OK(WriteFileAtomically(run().ledger(), ledger.SerializeAsString()));
  SWERVE_ASSERT_OK_AND_ASSIGN(const auto buffers, OpenBuffers("sqlite", run().root(), "run"));
  for (uint64_t g = 0; g < 3; ++g) {
    v1::Episode episode = MakeEpisode(g);
    episode.set_run_id("run");
    ASSERT_OK(buffers->episodes().Append(episode));
  }
  const uint64_t trained[] = {0, 1};
  ASSERT_OK(buffers->episodes().Ack(trained));
  ASSERT_OK(WriteFileAtomically(run().root() + "/metrics.jsonl", "{\"step\":1,\"time\":1,\"groups/kept\":2}\n"));
  std::string groups;
  for (int g = 0; g < 2; ++g) {
    groups += absl::StrFormat("{\"group\":%d,\"scene\":\"s\",\"weight_version\":0,\"originals\":2,\"mean\":0.5,\"total_failure\":false}\n", g);
  }
  ASSERT_OK(WriteFileAtomically(run().root() + "/groups.jsonl", groups));
  const std::string events = run().root() + "/chaos.jsonl";
  {
    SWERVE_ASSERT_OK_AND_ASSIGN(const auto log, EventLog::Open(events));
    log->Write("weights", {{"version", 1}, {"step", 1}, {"checksum", ledger.policy().checksum()}}, "");
    log->Write("ending", {{"wrong", ""}}, "");
  }
  v1::RunConfig config;
  config.mutable_learner()->set_steps(1);
  config.mutable_learner()->set_batch_groups(2);
  SWERVE_ASSERT_OK_AND_ASSIGN(AuditInput in, LoadAudit(run(), config, buffers.get(), events));
  EXPECT_TRUE(Audit(in).ok()) << ToText(Audit(in));

  // A log that says otherwise is believed.
  {
    SWERVE_ASSERT_OK_AND_ASSIGN(const auto log, EventLog::Open(events));
    log->Write("weights", {{"version", 9}, {"step", 9}, {"checksum", "x"}}, "");
    log->Write("file", {{"when", "after #1 kill learner"}, {"path", "step-1"}, {"wrong", "state.json cannot be read"}}, "");
    log->Write("ending", {{"wrong", "the run hangs"}}, "");
  }
  SWERVE_ASSERT_OK_AND_ASSIGN(in, LoadAudit(run(), config, buffers.get(), events));
  std::vector<std::string> rules;
  for (const auto& violation : Audit(in).violations) rules.push_back(violation.rule);
  EXPECT_THAT(rules, testing::ElementsAre("last_step", "weights_grow", "whole_files"));
}

TEST_F(AuditFilesTest, DamagedEventLogProvesNothing) {
  const std::string path = run().root() + "/chaos.jsonl";
  ASSERT_OK(WriteFileAtomically(path, "{\"what\":\"fault\"}\nnonsense\n{\"what\":\"heal\"}\n"));
  EXPECT_THAT(ReadEventLog(path).status(), StatusIs(absl::StatusCode::kDataLoss, HasSubstr(":2:")));
  ASSERT_OK(WriteFileAtomically(path, "{\"what\":\"fault\"}\n{\"what\":\"he"));  // a killed harness
  SWERVE_ASSERT_OK_AND_ASSIGN(const auto events, ReadEventLog(path));
  EXPECT_EQ(events.size(), 1u);
}

}  // namespace
}  // namespace swerve
