#include "orchestrator/demo.h"

#include <set>

#include "base/config.h"
#include "base/status_matchers.h"

namespace swerve {
namespace {

TEST(DemoTest, HeldOutScenesAreNeverTrainingScenes) {
  std::set<uint64_t> train, held_out;
  for (uint64_t seed = 0; seed < 100; ++seed) {
    train.insert(DemoTrainSeed(seed));
    held_out.insert(DemoHeldOutSeed(seed));
  }
  for (const uint64_t seed : held_out) EXPECT_EQ(train.count(seed), 0u);
  EXPECT_EQ(train.size() + held_out.size(), 200u);
}

TEST(DemoTest, ItsConfigurationIsValid) {
  EXPECT_OK(LoadRunConfig(std::string(SWERVE_SOURCE_DIR) + "/deploy/demo.yaml"));
}

TEST(DemoTest, TableShowsBeforeAndAfter) {
  const auto eval = [](double pdms, double failures) {
    return absl::StrCat(R"({"overall":{"pdms":)", pdms, R"(,"total_failure_ratio":)", failures,
                        R"(,"nc":1,"dac":1,"ttc":1,"comfort":1,"ep":1,"format_ok":1,"planning_accuracy":0.5}})");
  };
  SWERVE_ASSERT_OK_AND_ASSIGN(const std::string table, DemoTable(eval(0.5, 0.3), eval(0.7, 0.1)));
  EXPECT_THAT(table, testing::ContainsRegex("PDMS +0.500 +0.700"));
  EXPECT_THAT(table, testing::ContainsRegex("total-failure ratio +30.0 % +10.0 %"));
  EXPECT_THAT(DemoTable("{}", "x"), StatusIs(absl::StatusCode::kInvalidArgument, testing::HasSubstr("swerve eval")));
}

}  // namespace
}  // namespace swerve
