// Which faults a chaos run meets, in what order and for how long. Pure: the same options and seed give the same list.
#ifndef SWERVE_CHAOS_SCHEDULE_H_
#define SWERVE_CHAOS_SCHEDULE_H_

#include <cstdint>
#include <string>
#include <vector>

namespace swerve {

// One fault. What `kind` does to `target`:
//   kill     SIGKILL: a role by its name in the run, "train" (the supervisor, with it all roles), "redis"
//   stop     SIGSTOP, SIGCONT when it heals: the same targets
//   teacher  the endpoint: outage, 429, 500, slow_body, cut_stream, wrong_schema, huge_answer (100 MB)
//   scorer   the reward service's answers: slow, short, long, empty (of wrong size)
//   cut      every connection to a role, to "redis" or to the teacher's "endpoint" is reset
//   stall    the same connections stay up and carry nothing
//   disk     the run directory's file system is full
struct ChaosEvent {
  int id = 0;  // 1, 2, …
  std::string kind, target;
  double gap_s = 0;    // after the former event began
  double lasts_s = 0;  // until it heals; 0: done at once
};

struct ScheduleOptions {
  int events = 20;
  uint64_t seed = 0;
  double mean_gap_s = 2;
  int workers = 2;     // rollout roles
  bool redis = false;  // buffers are in a Redis server of the harness
  bool disk = false;   // the run directory can be filled
};

// Every fault there is, in a fixed order; ids, gaps and durations are not set.
std::vector<ChaosEvent> AllFaults(const ScheduleOptions& options);

// All of them in random order, then again in another order, until there are `events`: none is left out by chance.
std::vector<ChaosEvent> MakeSchedule(const ScheduleOptions& options);

}  // namespace swerve

#endif  // SWERVE_CHAOS_SCHEDULE_H_
