#include "chaos/schedule.h"

#include <gmock/gmock.h>

#include <set>

namespace swerve {
namespace {

std::string Text(const std::vector<ChaosEvent>& events) {
  std::string text;
  for (const ChaosEvent& e : events) {
    text += e.kind + " " + e.target + " " + std::to_string(e.gap_s) + " " + std::to_string(e.lasts_s) + "\n";
  }
  return text;
}

TEST(ScheduleTest, FollowsTheSeedAlone) {
  ScheduleOptions options;
  options.events = 100;
  options.seed = 7;
  EXPECT_EQ(Text(MakeSchedule(options)), Text(MakeSchedule(options)));
  ScheduleOptions other = options;
  other.seed = 8;
  EXPECT_NE(Text(MakeSchedule(options)), Text(MakeSchedule(other)));
}

TEST(ScheduleTest, NoFaultIsLeftOutByChance) {
  ScheduleOptions options;
  options.redis = options.disk = true;
  const std::vector<ChaosEvent> all = AllFaults(options);
  options.events = static_cast<int>(all.size());
  std::set<std::string> wanted, met;
  for (const ChaosEvent& e : all) wanted.insert(e.kind + " " + e.target);
  for (const ChaosEvent& e : MakeSchedule(options)) met.insert(e.kind + " " + e.target);
  EXPECT_EQ(met, wanted);
  for (const char* fault : {"kill learner", "stop rollout-1", "kill redis", "kill train", "teacher huge_answer",
                            "scorer short", "disk full", "cut redis", "stall reward"}) {
    EXPECT_TRUE(wanted.contains(fault)) << fault;
  }
}

TEST(ScheduleTest, EveryFaultHealsWithinBounds) {
  ScheduleOptions options;
  options.events = 500;
  options.redis = options.disk = true;
  for (const ChaosEvent& e : MakeSchedule(options)) {
    EXPECT_GE(e.gap_s, 0.2 * options.mean_gap_s);
    EXPECT_LE(e.gap_s, 1.8 * options.mean_gap_s);
    EXPECT_LE(e.lasts_s, 9);
    const bool at_once = e.kind == "cut" || (e.kind == "kill" && e.target != "redis");
    EXPECT_EQ(e.lasts_s == 0, at_once) << e.kind << " " << e.target;
  }
}

TEST(ScheduleTest, WithoutRedisOrSmallDiskTheirFaultsAreAbsent) {
  for (const ChaosEvent& e : AllFaults({})) {
    EXPECT_NE(e.target, "redis");
    EXPECT_NE(e.kind, "disk");
  }
}

}  // namespace
}  // namespace swerve
