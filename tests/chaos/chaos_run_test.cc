// `swerve chaos` whole, at a small size: real roles, a few of the faults, and the verdict. Needs the whole binary
// ($SWERVE_BINARY) and models/tiny.
#include <sys/mount.h>

#include <nlohmann/json.hpp>

#include "tests/integration/run_fixture.h"

namespace swerve {
namespace {

class ChaosRunTest : public RunFixture {
 protected:
  void TearDown() override {
    if (HasFailure()) std::fprintf(stderr, "%s\n", absl::StrJoin(LogTail(root() + "/chaos.log", 60), "\n").c_str());
    umount2((out() + "/run").c_str(), MNT_DETACH);  // of a harness that was killed
    RunFixture::TearDown();
  }
  std::string out() const { return root() + "/chaos"; }

  // The result of a run that has to be without a violation.
  nlohmann::json Chaos(int events, int steps, const std::string& buffers) {
    std::vector<std::string> argv = {Binary(), "chaos", "--config", std::string(SWERVE_SOURCE_DIR) + "/deploy/chaos.yaml",
                                     "--events", absl::StrCat(events), "--seed", "3", "--gap", "1", "--disk-mb", "300",
                                     "--out", out()};
    for (const std::string& set : {absl::StrCat("scenes.train=[", root(), "/scenes]"), absl::StrCat("policy.model=", Model()),
                                   absl::StrCat("learner.steps=", steps), absl::StrCat("buffers=", buffers)}) {
      argv.insert(argv.end(), {"--set", set});
    }
    auto process = Process::Start(argv, root() + "/chaos.log");
    EXPECT_TRUE(process.ok()) << process.status();
    const auto end = Await(&*process);
    EXPECT_TRUE(end && end->ok()) << (end ? end->ToString() : "it hangs");
    const auto text = ReadFile(out() + "/chaos.json");
    EXPECT_TRUE(text.ok()) << text.status();
    return nlohmann::json::parse(text.value_or("{}"), nullptr, false);
  }
};

TEST_F(ChaosRunTest, FaultsAreSurvivedAndTheAuditSaysSo) {
  const nlohmann::json result = Chaos(/*events=*/12, /*steps=*/6, "sqlite");
  EXPECT_EQ(result.value("violations", nlohmann::json()), nlohmann::json::array());
  size_t skipped = 0;
  for (const auto& targets : result.at("skipped")) {
    for (const auto& count : targets) skipped += count.get<size_t>();
  }
  EXPECT_EQ(result.at("events").get<size_t>() + skipped, 12u);
  EXPECT_GE(result.at("steps").get<int>(), 6);
  EXPECT_EQ(result.at("counts").at("groups_consumed").get<int>(), 2 * result.at("steps").get<int>());
  for (const auto& rule : result.at("rules")) EXPECT_GT(rule.at("checked").get<int>(), 0) << rule;
  EXPECT_TRUE(std::filesystem::exists(out() + "/run/result.json")) << "what lay on the small disk is gone";
}

TEST_F(ChaosRunTest, ItsOwnRedisDiesToo) {
  const nlohmann::json result = Chaos(/*events=*/6, /*steps=*/4, "redis://127.0.0.1:1/0");
  EXPECT_EQ(result.value("violations", nlohmann::json()), nlohmann::json::array());
  EXPECT_EQ(result.at("buffers"), "redis");
}

}  // namespace
}  // namespace swerve
