// Starts the roles of a run on this machine, starts those that die again, and ends them in flow order. Main thread
// only. Everything it decides about restarts is in RestartPolicy, which is pure.
#ifndef SWERVE_ORCHESTRATOR_SUPERVISOR_H_
#define SWERVE_ORCHESTRATOR_SUPERVISOR_H_

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "base/role_channel.h"
#include "base/role_files.h"
#include "base/status.h"
#include "orchestrator/live_view.h"
#include "orchestrator/process.h"
#include "swerve/v1/config.pb.h"
#include "swerve/v1/orchestrator.pb.h"

namespace swerve {

// One role's deaths: how long to wait before the next start, and when to give up.
class RestartPolicy {
 public:
  explicit RestartPolicy(int max_restarts) : max_restarts_(max_restarts) {}
  // Books a death after `lived`. The pause doubles from 0.2 s to 10 s with each death in a row and begins anew when
  // the role had lived a minute. Negative: no restart is left.
  absl::Duration OnDeath(absl::Duration lived);
  int restarts() const { return restarts_; }

 private:
  const int max_restarts_;
  int restarts_ = 0;
  int in_a_row_ = 0;
};

class Supervisor {
 public:
  // `run` holds config.yaml and run_id. `view` must outlive it. `channel`: for calling the orchestrator as admin.
  Supervisor(RunDir run, v1::RunConfig config, LiveView* view, RoleChannel::Options channel = {});
  ~Supervisor();

  // Runs the roles until the learner has finished (OK), someone asks to stop (CANCELLED, after the drain), or a role
  // cannot be kept alive (the error names it and its last log lines). No child is left behind.
  absl::Status Run();

  // The last status the orchestrator gave.
  const v1::StatusReply& status() const { return status_; }

 private:
  struct Child {
    std::string name;
    std::vector<std::string> argv;
    Process process;
    RestartPolicy restarts;
    absl::Time started;
    absl::Time start_at;  // when not running
    bool done = false;    // ended in order; not started again
    bool ever_served = false;
  };

  void AddRole(const std::string& kind, const std::string& name);
  absl::Status Start(Child* child);
  absl::Status Watch();
  absl::Status OnEnd(Child* child, const ProcessEnd& end);
  void AskStatus(absl::Duration within);
  void Drain();
  // SIGTERMs the named roles and waits until they ended, `until` has passed or a second stop was asked for.
  void EndRoles(const std::function<bool(const std::string&)>& which, absl::Time until);
  bool AllDone() const;

  const RunDir run_;
  const v1::RunConfig config_;
  LiveView* const view_;
  std::vector<std::unique_ptr<Child>> children_;  // in flow order
  std::unique_ptr<RoleChannel> orchestrator_;
  v1::StatusReply status_;
  bool learner_done_ = false;
};

}  // namespace swerve

#endif  // SWERVE_ORCHESTRATOR_SUPERVISOR_H_
