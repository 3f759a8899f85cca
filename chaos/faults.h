// Does to a run what a schedule says, and undoes it. Main thread only.
#ifndef SWERVE_CHAOS_FAULTS_H_
#define SWERVE_CHAOS_FAULTS_H_

#include <sys/types.h>

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "base/status.h"
#include "chaos/faulty_teacher.h"
#include "chaos/lines.h"
#include "chaos/redis_process.h"
#include "chaos/schedule.h"
#include "chaos/small_disk.h"
#include "orchestrator/process.h"

namespace swerve {

class Faults {
 public:
  // What there is to break; all must outlive it. Null: not there.
  struct Parts {
    std::string run_dir;
    Lines* lines = nullptr;
    FaultyTeacher* teacher = nullptr;
    RedisProcess* redis = nullptr;
    SmallDisk* disk = nullptr;
    Process* train = nullptr;
  };
  explicit Faults(Parts parts) : parts_(std::move(parts)) {}

  // Begins it; it heals in Tick once event.lasts_s have passed. Returns what exactly was done. A fault of the same place
  // that still lasts is replaced. UNAVAILABLE: its target does not run at the moment. INVALID_ARGUMENT: no such fault.
  absl::StatusOr<std::string> Begin(const ChaosEvent& event, absl::Time now);

  // Heals what is due; returns those events' ids.
  std::vector<int> Tick(absl::Time now);
  std::vector<int> HealAll() { return Tick(absl::InfiniteFuture()); }
  bool AllHealed() const { return active_.empty(); }

 private:
  struct Active {
    ChaosEvent event;
    absl::Time until;
    pid_t pid = 0;  // stopped
  };
  absl::StatusOr<pid_t> PidOf(const std::string& target) const;
  absl::StatusOr<std::string> KillOne(const ChaosEvent& event);
  absl::Status OnLine(const std::string& target, const std::function<void(TcpProxy*)>& action);
  void Heal(const Active& active);

  const Parts parts_;
  std::map<std::string, Active> active_;  // by the place that is broken
};

}  // namespace swerve

#endif  // SWERVE_CHAOS_FAULTS_H_
