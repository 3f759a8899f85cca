#include "chaos/schedule.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/random.h"

namespace swerve {
namespace {

struct Range {
  double least, most;
};

// Seconds. A stopped worker sleeps through its leases now and then (chaos.yaml: 7 s), so that another does its groups.
Range Duration(const ChaosEvent& event) {
  if (event.target == "redis" && event.kind == "kill") return {0.2, 3};
  if (event.kind == "kill" || event.kind == "cut") return {0, 0};
  if (absl::StartsWith(event.target, "rollout")) return {0.5, 9};
  if (event.kind == "teacher") return {2, 5};
  return {0.5, 4};
}

}  // namespace

std::vector<ChaosEvent> AllFaults(const ScheduleOptions& options) {
  std::vector<std::string> services = {"orchestrator", "reward", "teacher"};
  std::vector<std::string> processes = services;
  processes.insert(processes.end(), {"learner", "train"});
  for (int i = 0; i < options.workers; ++i) processes.push_back(absl::StrCat("rollout-", i));
  std::vector<std::string> lines = services;
  lines.push_back("endpoint");
  if (options.redis) {
    processes.push_back("redis");
    lines.push_back("redis");
  }
  std::vector<ChaosEvent> faults;
  const auto add = [&](const char* kind, const std::vector<std::string>& targets) {
    for (const std::string& target : targets) faults.push_back({0, kind, target, 0, 0});
  };
  add("kill", processes);
  add("stop", processes);
  add("teacher", {"outage", "429", "500", "slow_body", "cut_stream", "wrong_schema", "huge_answer"});
  add("scorer", {"slow", "short", "long", "empty"});
  add("cut", lines);
  add("stall", lines);
  if (options.disk) add("disk", {"full"});
  return faults;
}

std::vector<ChaosEvent> MakeSchedule(const ScheduleOptions& options) {
  Random random(StreamSeed(options.seed, HashName("chaos schedule")));
  const std::vector<ChaosEvent> all = AllFaults(options);
  std::vector<ChaosEvent> round, schedule;
  while (static_cast<int>(schedule.size()) < options.events) {
    if (round.empty()) {
      round = all;
      for (size_t i = round.size(); i > 1; --i) std::swap(round[i - 1], round[random.Below(i)]);
    }
    ChaosEvent event = std::move(round.back());
    round.pop_back();
    event.id = static_cast<int>(schedule.size()) + 1;
    event.gap_s = random.Uniform(0.2, 1.8) * options.mean_gap_s;
    const Range range = Duration(event);
    event.lasts_s = range.most > 0 ? random.Uniform(range.least, range.most) : 0;
    schedule.push_back(std::move(event));
  }
  return schedule;
}

}  // namespace swerve
