// A child process that cannot outlive this one. Not thread-safe: start, poll and signal from the main thread (the
// kernel ties a child's death signal to the thread that made it).
#ifndef SWERVE_ORCHESTRATOR_PROCESS_H_
#define SWERVE_ORCHESTRATOR_PROCESS_H_

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "base/status.h"

namespace swerve {

// How a process ended.
struct ProcessEnd {
  int code = 0;    // exit code, when signal is 0
  int signal = 0;  // that killed it; 0: it exited
  bool ok() const { return signal == 0 && code == 0; }
  std::string ToString() const;  // "exit code 1", "signal 9 (Killed)"
};

class Process {
 public:
  Process() = default;
  // Kills (SIGKILL) and reaps what still runs.
  ~Process();
  Process(Process&& other) noexcept;
  Process& operator=(Process&& other) noexcept;

  // Runs argv[0] with its arguments in a process group of its own (a terminal's Ctrl-C does not reach it), killed when
  // this process dies. Standard output and error are appended to `log`; "": inherited. UNAVAILABLE, NOT_FOUND.
  static absl::StatusOr<Process> Start(const std::vector<std::string>& argv, const std::string& log);

  bool running() const { return pid_ > 0; }
  pid_t pid() const { return pid_; }
  // How it ended, once: nothing while it runs and after it was told.
  std::optional<ProcessEnd> Poll();
  void Signal(int signal) const;

 private:
  pid_t pid_ = 0;
};

// The binary that runs now, for starting its other sub-commands; stays right when the file is replaced meanwhile.
std::string SelfBinary();

// The last `lines` lines of a file, without trailing empty ones; empty when it cannot be read.
std::vector<std::string> LogTail(const std::string& path, size_t lines);

// Runs `swerve <arguments>` to its end. A stop request (base/stop.h) is passed on as SIGTERM, a second as SIGKILL.
// OK: exit code 0. CANCELLED: stopped. Else FAILED_PRECONDITION naming the command and, with `log`, its last lines.
absl::Status RunSelf(const std::vector<std::string>& arguments, const std::string& log);

}  // namespace swerve

#endif  // SWERVE_ORCHESTRATOR_PROCESS_H_
